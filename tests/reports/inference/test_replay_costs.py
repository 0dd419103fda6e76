"""What replays cost: sums, paired intervals, which policies pass, and the words for it."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gatehouse.reports.inference.cache_curve import LEAST_DOCUMENTS, REPLICATES
from gatehouse.reports.inference.replay_costs import (
    TARGET,
    best_table,
    of_thresholds,
    policy_of,
    replay_costs,
    same_text,
)
from gatehouse.reports.inference.replay_curves import TARGET_NATS, in_order, panels
from gatehouse.reports.inference.replay_sentences import QUESTIONS, advice, verdict
from gatehouse.warehouse import replays
from gatehouse.warehouse.replays import ReplayPolicy
from tests.reports.made_up_replay import COSTS, DROP, ENTROPY, MASK, SHARE, replay_frames

LOOSER = replace(SHARE, min_share=0.7)


def costs_of(costs: dict, documents: int = 20, spread: float = 0.3):
    frames = replay_frames(3, 2, costs, documents, spread)
    return replay_costs(frames["replays"], frames["replay_documents"])


def one(policy: ReplayPolicy, coverage: float, cost: float, **options):
    (found,) = costs_of({"one": (policy, coverage, cost)}, **options)
    return found


@pytest.fixture(scope="module")
def frames():
    return replay_frames(3, 2)


@pytest.fixture(scope="module")
def costs(frames):
    return replay_costs(frames["replays"], frames["replay_documents"])


def test_measures_are_ratios_of_sums(frames, costs):
    sums = frames["replay_documents"].groupby("policy_id").sum(numeric_only=True)
    assert len(costs) == len(COSTS)
    for cost in costs:
        row = sums.loc[cost.policy.policy_id]
        assert cost.tokens == row["tokens"]
        assert cost.delta_nll.value == pytest.approx(row["delta_nll"] / row["tokens"])
        assert cost.kl.value == pytest.approx(row["kl"] / row["tokens"])
        assert cost.same_top.value == pytest.approx(row["same_top"] / row["tokens"])
        assert cost.untouched_nll == pytest.approx(row["untouched_nll"] / row["tokens"])
        assert cost.coverage.value == pytest.approx(row["covered"] / row["token_layers"])
        assert cost.experts.value == pytest.approx(row["experts_run"] / row["token_layers"])
        assert cost.set_agreement.value == pytest.approx(row["agreed"] / row["covered"])
        assert cost.perplexity_ratio.value == pytest.approx(math.exp(cost.delta_nll.value))


def test_intervals_are_quantiles_over_documents_drawn_with_repetition(frames, costs):
    """The same draws, one by one, each document of a draw counted as often as it was drawn."""
    random = np.random.default_rng(0)
    draws = random.multinomial(20, np.full(20, 1 / 20), REPLICATES)
    for cost in costs:
        rows = frames["replay_documents"]
        rows = rows[rows["policy_id"] == cost.policy.policy_id].sort_values("document")
        values = []
        for draw in draws:
            drawn = rows.loc[rows.index.repeat(draw)]
            values.append(drawn["delta_nll"].sum() / drawn["tokens"].sum())
        low, high = np.percentile(values, [2.5, 97.5])
        assert (cost.delta_nll.low, cost.delta_nll.high) == pytest.approx((low, high))
        ratio = cost.perplexity_ratio
        assert (ratio.low, ratio.high) == pytest.approx((math.exp(low), math.exp(high)))


def test_the_interval_is_about_as_wide_as_the_spread_of_documents_says():
    found = one(SHARE, 0.25, 0.1, documents=100, spread=0.3).delta_nll
    # uniform to both sides: the deviation is 0.3 x 0.1 / sqrt(3), more where lengths differ
    assert found.high - found.low == pytest.approx(4 * 0.03 / math.sqrt(3) / 10, rel=0.35)


def test_documents_in_any_order_are_the_same(frames, costs):
    shuffled = frames["replay_documents"].sample(frac=1, random_state=3)
    assert replay_costs(frames["replays"], shuffled) == costs


def test_few_documents_have_no_interval():
    for documents in (1, LEAST_DOCUMENTS - 1):
        found = one(SHARE, 0.25, 0.1, documents=documents)
        for each in (found.delta_nll, found.perplexity_ratio, found.coverage, found.set_agreement):
            assert (each.low, each.high) == (None, None)
        assert found.stays_under is None
    assert one(SHARE, 0.25, 0.1, documents=LEAST_DOCUMENTS).delta_nll.low is not None


def test_a_table_in_few_documents_has_the_agreement_of_the_draws_that_hold_one(frames):
    rows = frames["replay_documents"]
    rows = rows[rows["policy_id"] == SHARE.policy_id].copy()
    rows.loc[rows["document"] != "d003", ["covered", "agreed"]] = 0
    (cost,) = replay_costs(frames["replays"].head(1), rows)
    # of one document, drawn or not
    agreement = cost.set_agreement
    assert agreement.low == pytest.approx(agreement.value) == agreement.high
    rows[["covered", "agreed"]] = 0
    (cost,) = replay_costs(frames["replays"].head(1), rows)
    assert cost.set_agreement is None
    assert cost.coverage.value == 0


def test_policies_that_predicted_nothing_are_left_out(frames):
    none = frames["replay_documents"].assign(tokens=0)
    assert replay_costs(frames["replays"], none) == []
    assert replay_costs(frames["replays"].head(0), frames["replay_documents"].head(0)) == []


def test_policies_are_what_the_marts_say(frames):
    for row, (policy, *_) in zip(frames["replays"].to_dict("records"), COSTS.values()):
        assert policy_of(row) == policy
        assert policy_of(row).policy_id == row["policy_id"]
    other = replace(SHARE, ids_only=True, moe_indices=(0, 2))
    marts = pd.DataFrame(
        [vars(other) | {"moe_indices": np.array([0, 2], np.int16)}, vars(replace(ENTROPY))]
    )
    assert policy_of(marts.to_dict("records")[0]) == other


def test_controls_come_last_and_are_never_chosen():
    found = costs_of(COSTS)
    flags = [cost.policy.is_control for cost in found]
    assert flags == sorted(flags)
    assert [cost.policy.is_control for cost in in_order(found)] == flags
    free = {"own": (ReplayPolicy(replays.OWN), 1.0, 0.0), "table": (SHARE, 0.25, 0.001)}
    assert best_table(costs_of(free)).policy == SHARE


def test_the_best_table_covers_most_of_those_whose_interval_ends_under_the_target():
    assert best_table(costs_of(COSTS)).policy == LOOSER
    # its mean is under the target, and its interval reaches over it
    close = costs_of({"a": (SHARE, 0.2, 0.001), "b": (LOOSER, 0.9, 0.008)}, spread=1.0)
    assert close[1].delta_nll.value < TARGET_NATS < close[1].delta_nll.high
    assert close[1].stays_under is None
    assert best_table(close).policy == SHARE
    assert best_table(costs_of({"a": (SHARE, 0.2, 0.05)})) is None
    assert best_table(costs_of({"a": (SHARE, 0.0, 0.0)})) is None
    assert best_table(costs_of({"a": (SHARE, 0.2, 0.001)}, documents=3)) is None


def test_the_rule_of_thresholds_is_found_by_them(costs):
    assert of_thresholds(costs, 50, 0.5).policy == ENTROPY
    assert of_thresholds(costs, 50, 0.1 + 0.4).policy == ENTROPY
    assert of_thresholds(costs, 20, 0.5) is None
    for other in (replace(ENTROPY, ids_only=True), replace(ENTROPY, moe_indices=(1,))):
        assert of_thresholds([one(other, 0.2, 0.01)], 50, 0.5) is None


def test_other_documents_are_noticed(frames, costs):
    assert same_text(costs)
    rows = frames["replay_documents"]
    fewer = rows.drop(rows[rows["policy_id"] == SHARE.policy_id].index[:3])
    assert not same_text(replay_costs(frames["replays"], fewer))


def numbers_in(sentence: str, cost) -> bool:
    ratio = cost.perplexity_ratio
    return (
        f"{cost.coverage.value:.1%} of the routers' decisions" in sentence
        and f"{ratio.value:.4f} (95% {ratio.low:.4f} to {ratio.high:.4f})" in sentence
    )


def test_the_words_name_the_table_that_goes_furthest():
    found = costs_of(COSTS)
    said = verdict(found)
    best = best_table(found)
    assert said.startswith(f"“{best.words}” stays under +1 % perplexity and goes furthest: ")
    assert numbers_in(said, best)
    under = sum(cost.is_table and cost.perplexity_ratio.high <= TARGET for cost in found)
    assert said.endswith(f"Of 8 tables, {under} are sure to.")


def test_one_table_alone_is_not_compared():
    cheap = one(SHARE, 0.25, 0.001)
    assert verdict([cheap]).startswith("“one” stays under +1 % perplexity: 25.0%")
    assert "Of " not in verdict([cheap])
    costly = one(SHARE, 0.25, 0.5)
    assert verdict([costly]).startswith("“one” does not stay under +1 % perplexity: 25.0%")
    close = one(SHARE, 0.25, 0.0095, spread=1.0)
    assert verdict([close]).startswith("Whether “one” stays under +1 % perplexity cannot be told")


def test_a_wider_table_that_may_stay_under_is_said():
    close = costs_of({"a": (SHARE, 0.2, 0.001), "b": (LOOSER, 0.9, 0.0095)}, spread=1.0)
    said = verdict(close)
    assert "Of 2 tables, it alone is sure to. Whether “b” does cannot be told: 90.0%" in said
    narrower = costs_of({"a": (SHARE, 0.9, 0.001), "b": (LOOSER, 0.2, 0.0095)}, spread=1.0)
    assert "cannot be told" not in verdict(narrower)


def test_none_under_the_target_is_said_only_if_all_are_surely_over():
    over = costs_of({"a": (SHARE, 0.2, 0.05), "b": (LOOSER, 0.9, 0.09)})
    assert verdict(over).startswith(
        "Not one of 2 tables stays under +1 % perplexity; the cheapest is “a”: 20.0%"
    )
    close = costs_of({"a": (SHARE, 0.2, 0.0095), "b": (LOOSER, 0.9, 0.09)}, spread=1.0)
    assert verdict(close).startswith("Not one of 2 tables is sure to stay under +1 % perplexity")


def test_no_coverage_is_no_test():
    nothing = {"a": (SHARE, 0.0, 0.0), "b": (LOOSER, 0.0, 0.0)}
    assert verdict(costs_of(nothing)) == "Not one of 2 tables ever applied to this text."
    assert verdict([one(SHARE, 0.0, 0.0)]) == "“one” never applied to this text."
    # and is none of those that were tried
    both = costs_of({"a": (SHARE, 0.0, 0.0), "b": (LOOSER, 0.3, 0.001)})
    assert verdict(both).startswith("“b” stays under")
    assert "Of " not in verdict(both)


def test_few_documents_tell_nothing_beyond_themselves():
    few = costs_of({"a": (SHARE, 0.2, 0.001), "b": (LOOSER, 0.9, 0.09)}, documents=1)
    said = verdict(few)
    assert said.startswith("With fewer than 8 documents it cannot be told what stays under")
    assert "in these “a” does: 20.0%" in said
    assert "95%" not in said
    assert verdict([one(SHARE, 0.2, 0.5, documents=1)]).endswith("in these no table does.")


def test_a_lower_loss_is_under_the_target():
    found = one(SHARE, 0.25, -0.004)
    assert found.perplexity_ratio.high < 1
    assert verdict([found]).startswith("“one” stays under +1 % perplexity")
    (panel,) = panels([found])
    assert panel.least == found.delta_nll.low < 0


def test_every_kind_has_its_own_sentence():
    said = advice(costs_of(COSTS))
    of_drops, of_masks = said[1:3]
    assert "“experts below 0.2 dropped” stays under" in of_drops
    assert "1.81 experts a token and layer" in of_drops
    assert "Not one of 3 masks stays under" in of_masks
    assert "1 expert of each layer off" in of_masks
    assert said[3] == "The router's own routing, replayed, changed nothing, as it must."
    assert "known before the token runs, by its id, or by that and the one before" in said[4]
    assert "No speed is claimed" in said[4]


@pytest.mark.parametrize(
    ("policy", "known"),
    [
        (SHARE, "by its id:"),
        (
            ReplayPolicy(replays.BIGRAMS, min_share=0.9, min_frequency=2),
            "by its id and the one before:",
        ),
        (DROP, None),
        (MASK, None),
        (ReplayPolicy(replays.ROUTING_OF, routing_of="other"), None),
    ],
)
def test_only_tables_are_known_before_the_token_runs(policy, known):
    said = " ".join(advice([one(policy, 0.5, 0.001)]))
    assert ("before the token runs" in said) == (known is not None)
    assert known is None or known in said
    assert "No speed is claimed" in said


def test_own_routing_that_changes_something_is_the_noise():
    own = one(ReplayPolicy(replays.OWN), 1.0, 0.0004)
    assert advice([own])[0].startswith(
        "The router's own routing, replayed, changed the loss by +0.000"
    )
    assert "differences of that size say nothing" in advice([own])[0]


def test_every_kind_of_policy_is_asked_of_once():
    kinds = [kind for question in QUESTIONS for kind in question.kinds]
    assert len(kinds) == len(set(kinds))
    every = {
        value
        for name, value in vars(replays).items()
        if name.isupper() and isinstance(value, str) and name != "TABLE"
    }
    assert set(kinds) == every - set(replays.CONTROLS)


def test_curves_hold_every_policy_once(costs):
    drawn = [cost for panel in panels(costs) for curve in panel.curves for cost in curve.costs]
    assert sorted(cost.policy.policy_id for cost in drawn) == sorted(
        cost.policy.policy_id for cost in costs
    )
    for panel in panels(costs):
        for curve in panel.curves:
            places = [panel.place(cost) for cost in curve.costs]
            assert places == sorted(places)
            assert len({cost.policy.is_control for cost in curve.costs}) == 1


def test_the_scale_shows_every_policy_and_the_target(costs):
    for panel in panels(costs):
        shown = [cost for curve in panel.curves for cost in curve.costs]
        chosen = [cost for cost in shown if not cost.policy.is_control]
        assert all(cost.delta_nll.high <= panel.most for cost in chosen)
        assert panel.most > TARGET_NATS
        assert all(cost.policy.is_control for cost in panel.beyond)
    tables = panels(costs)[0]
    assert [cost.words.split(",")[0] for cost in tables.beyond] == [
        "random experts",
        "another token's entry",
    ]


def test_controls_alone_are_not_drawn():
    assert panels(costs_of({"own": (ReplayPolicy(replays.OWN), 1.0, 0.0)})) == []


def test_policies_of_other_layers_and_weights_are_curves_of_their_own():
    parts = {
        "a": (SHARE, 0.2, 0.001),
        "b": (LOOSER, 0.4, 0.003),
        "c": (replace(SHARE, ids_only=True), 0.2, 0.001),
        "d, MoE layer 0": (replace(SHARE, moe_indices=(0,)), 0.1, 0.001),
        "e": (replace(SHARE, moe_indices=(0, 2)), 0.1, 0.001),
    }
    panel, of_one_layer = panels(costs_of(parts))
    assert {curve.name: len(curve.costs) for curve in panel.curves} == {
        "tokens by share of a set": 2,
        "tokens by share of a set, router's weights": 1,
        "tokens by share of a set, layers 0, 2": 1,
    }
    assert [curve.name for curve in of_one_layer.curves] == ["d"]
