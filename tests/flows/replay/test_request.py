"""What a replay is asked for: which policies it makes, and what it refuses."""

import math

import pytest

from gatehouse.flows.replay.request import ReplayRequest, controls, usual, words
from gatehouse.warehouse import replays
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.replays import ReplayPolicy

EVERYTHING = {
    "table": ("tokens", "bigrams"),
    "min_share": (0.9, 0.7),
    "entropy_threshold": (1.5,),
    "most_frequent": (64,),
    "drop_below": (0.2, 0.3),
    "drop_entropy": (1.0,),
    "mask": ("load:1", "gate-mass:2", "reap:2"),
    "routing_of": ("other",),
}


def made(**options) -> list[ReplayPolicy]:
    return ReplayRequest(**options).policies(8, {"other": "other-run"})


def kinds(policies: list[ReplayPolicy]) -> set[str]:
    return {policy.kind for policy in policies}


def test_without_a_policy_the_usual_ones_are_replayed_beside_their_controls():
    found = made()
    chosen = [each for each in found if not each.is_control]
    assert chosen == usual(8) and len(chosen) == 10
    assert kinds(found) - kinds(chosen) == {replays.OWN, replays.RANDOM, replays.ANOTHER_TOKEN}


@pytest.mark.parametrize("num_experts", [2, 8, 64, 512])
def test_the_usual_thresholds_on_entropy_are_within_what_a_router_can_have(num_experts):
    thresholds = [each.entropy_threshold for each in usual(num_experts) if each.entropy_threshold]
    assert thresholds[0] == 0.5
    assert all(0 < each < math.log(num_experts) for each in thresholds[1:])


def test_every_value_makes_a_policy_and_each_has_its_own_id_and_words():
    found = made(**EVERYTHING)
    chosen = [each for each in found if not each.is_control]
    # tokens: 2 shares, 1 entropy, 1 size; bigrams: 2 shares; 2 + 1 drops; 3 masks; 1 run
    assert len(chosen) == 4 + 2 + 3 + 3 + 1
    for names in ([each.policy_id for each in found], [words(each) for each in found]):
        assert len(set(names)) == len(found)
    assert [each.is_control for each in found] == sorted(each.is_control for each in found)


def test_what_drops_and_masks_has_a_control_that_drops_and_masks_as_much():
    found = made(**EVERYTHING)
    dropping = [each for each in found if each.kind in (replays.DROP_BELOW, replays.DROP_ENTROPY)]
    at_random = [each for each in found if each.kind == replays.RANDOM_DROP]
    assert [each.controls for each in at_random] == [each.policy_id for each in dropping]
    masked = [each.masked_experts for each in found if each.kind == replays.RANDOM_MASK]
    assert masked == [1, 2]


def test_the_control_of_another_token_is_of_the_widest_table():
    (found,) = (each for each in controls(usual(8)) if each.kind == replays.ANOTHER_TOKEN)
    assert (found.min_share, found.min_frequency) == (0.0, 1)


def test_layers_hold_for_policies_and_controls():
    assert {each.moe_indices for each in made(table=("tokens",), layer="2, 0,2")} == {(0, 2)}
    assert {each.moe_indices for each in made(layer="all")} == {None}


def test_a_policy_is_known_by_all_that_it_is():
    first, *_ = made(table=("tokens",), min_share=(0.9,), layer="0")
    assert first.policy_id == made(table=("tokens",), min_share=(0.9,), layer="0")[0].policy_id
    for changed in ({"layer": "1"}, {"min_frequency": 51}, {"ids_only": True}):
        options = {"table": ("tokens",), "min_share": (0.9,), "layer": "0"} | changed
        assert made(**options)[0].policy_id != first.policy_id


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_samples": 0}, "--num-samples must be 1 or more"),
        ({"batch_size": 0}, "--batch-size must be 1 or more"),
        ({"table": ("words",)}, "--table must be tokens or bigrams"),
        ({"table": ("tokens",), "min_share": (90,)}, "--min-share must be a share"),
        ({"table": ("tokens",), "min_share": (math.nan,)}, "--min-share must be a share"),
        ({"table": ("tokens",), "min_frequency": 0}, "--min-frequency must be 1 or more"),
        ({"table": ("tokens",), "most_frequent": (0,)}, "--most-frequent must be 1 or more"),
        ({"table": ("tokens",), "entropy_threshold": (0,)}, "--entropy-threshold must be more"),
        ({"table": ("bigrams",), "most_frequent": (9,)}, "add --table tokens"),
        ({"table": ("tokens",), "frequency_threshold": 9}, "add --entropy-threshold"),
        ({"drop_below": (1.5,)}, "--drop-below must be a share"),
        ({"drop_entropy": (math.inf,)}, "--drop-entropy must be more than 0 nats"),
        ({"min_share": (0.9,)}, "add --table tokens"),
        ({"ids_only": True}, "--ids-only says how a table is used"),
        ({"table": ("tokens",), "most_frequent": (10**20,)}, "--most-frequent must be 1 or more"),
        ({"table": ("tokens",), "min_frequency": 2**63}, "--min-frequency must be 1 or more"),
        ({"num_samples": 10**20}, "--num-samples must be 1 or more"),
        (
            {"table": ("tokens",), "min_frequency": 5, "entropy_threshold": (1.0,)},
            "--min-frequency goes with --min-share",
        ),
        ({"layer": "first"}, "--layer first"),
        ({"layer": "0,"}, "--layer 0,"),
        ({"mask": ("load",)}, "--mask load"),
        ({"mask": ("luck:2",)}, "--mask luck:2"),
        ({"mask": ("load:0",)}, "--mask load:0"),
        ({"mask": ("load:-1",)}, "--mask load:-1"),
    ],
)
def test_what_cannot_be_is_refused_with_a_way_out(options, said):
    with pytest.raises(GatehouseError, match=said):
        ReplayRequest(**options)
