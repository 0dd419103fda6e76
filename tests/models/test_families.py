"""Every MoE family of the installed transformers: captured exactly, and replayed or refused."""

import copy

import pytest
import torch

from gatehouse.models.capture import RoutingTap
from gatehouse.models.experts.mending import BROKEN, mend
from gatehouse.models.families import FAMILIES
from gatehouse.models.replay.policies import Untouched
from gatehouse.models.replay.replaying import Replay
from gatehouse.models.routers import find_sites
from gatehouse.warehouse.errors import GatehouseError
from tests.models.families.builders import BUILDERS, VARIANTS
from tests.models.families.discovery import moe_families
from tests.models.families.examination import check_everything, hidden_of
from tests.models.families.observation import observe
from tests.models.families.table import PAGE, page, row
from tests.models.families.tiny import tiny_model

NOT_REPLAYED = {"doge", "jetmoe", "llama4", "switch_transformers"}


@pytest.mark.parametrize("family", sorted(moe_families() | BUILDERS.keys()))
def test_the_family_is_captured_exactly_and_replayed_or_refused(family):
    assert family in BUILDERS, (
        f"transformers has an MoE family that nobody has classified: {family}; give it a builder "
        "in tests/models/families, a kind in models/families.py, and write docs/families.md again"
    )
    assert family in FAMILIES, f"models/families.py does not say how {family} scores experts"
    assert row(family) in PAGE.read_text().splitlines(), (
        f"docs/families.md has another row for {family}: run python -m tests.models.families.table"
    )


@pytest.mark.parametrize(
    ("variant", "kind", "sum_to_one"),
    [
        ("cohere2_moe, sigmoid", "sigmoid", True),
        ("deepseek_v2, greedy", "softmax", False),
        ("qwen3_moe, normalised", "softmax", True),
    ],
)
def test_a_config_may_change_how_the_router_scores(variant, kind, sum_to_one):
    observed = observe(variant.split(",")[0], VARIANTS[variant])
    check_everything(observed)
    layers = observed.tap.layers()
    assert set(layers["scoring"].to_pylist()) == {kind}
    assert set(layers["weights_sum_to_one"].to_pylist()) == {sum_to_one}


def test_the_page_is_these_rows_and_nothing_else():
    text = PAGE.read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert [line.split("|")[1].strip() for line in rows] == sorted(FAMILIES)
    assert text == page(rows)


def test_all_families_but_four_are_replayed():
    """`row` replayed each: its own routing changes no bit, a swap acts."""
    rows = [line.split("|") for line in PAGE.read_text().splitlines() if line.endswith("exact |")]
    found = {cells[1].strip(): cells[8].strip() for cells in rows}
    assert {family for family, replayed in found.items() if replayed == "no"} == NOT_REPLAYED
    assert set(found.values()) == {"yes", "with weights", "no"}


def unmended(build=BUILDERS["nllb_moe"]):
    """Return the tiny NLLB-MoE as transformers has it."""
    model_type, changes = build.args
    return tiny_model(model_type, changes, **build.keywords)


def rows_of_experts(block, hidden):
    """Run an NLLB-MoE block; return how many rows each of its experts got."""
    rows = [0] * block.num_experts

    def count(expert):
        def hook(module, inputs):
            rows[expert] += len(inputs[0])

        return hook

    handles = [
        block.experts[f"expert_{expert}"].register_forward_pre_hook(count(expert))
        for expert in range(block.num_experts)
    ]
    with torch.inference_mode():
        block(hidden)
    for handle in handles:
        handle.remove()
    return rows


def test_nllb_runs_other_experts_than_its_router_names_until_it_is_mended():
    """The reason for mending it; when transformers fixes it, that goes."""
    model = unmended()
    block = model.encoder.layers[0].ffn
    hidden = torch.randn(2, 24, model.config.d_model, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        mask, gates, _ = copy.deepcopy(block.router)(hidden.view(-1, hidden.shape[-1]))
    assert sum(rows_of_experts(block, hidden)[2:]) == 0 < mask[:, 2:].sum()
    mend(model)
    assert rows_of_experts(block, hidden) == (gates > 0).sum(dim=0).tolist()


@pytest.mark.parametrize("capacity", [1.0, 0.1])
def test_a_mended_nllb_adds_up_its_experts_by_their_gates(capacity):
    """As transformers 4 did, in which `router_mask` is the gates' `.bool()`."""
    model = unmended()
    block = model.decoder.layers[1].ffn
    block.router.moe_eval_capacity_token_fraction = capacity
    hidden = torch.randn(1, 40, model.config.d_model, generator=torch.Generator().manual_seed(1))
    expected = torch.zeros(40, model.config.d_model)
    with torch.inference_mode():
        _, gates, _ = copy.deepcopy(block.router)(hidden[0])
        for expert in range(block.num_experts):
            output = block.experts[f"expert_{expert}"](hidden[0])
            expected += gates[:, expert, None] * output * (1 - model.config.moe_token_dropout)
        mend(model)
        mend(model)
        found = hidden_of(block(hidden))
    assert ((gates > 0).sum(dim=1) < 2).any() == (capacity < 1)
    torch.testing.assert_close(found, expected)


def test_a_model_that_transformers_breaks_is_refused_until_it_is_mended():
    model = unmended()
    said = "transformers breaks nllb_moe: its experts take one-hot .*; call mend.model. of"
    for read in (RoutingTap, lambda model: Replay(model, Untouched())):
        with pytest.raises(GatehouseError, match=said):
            read(model)
    mend(model)
    assert len(RoutingTap(model).sites) == len(Replay(model, Untouched()).sites) == 4
    assert BROKEN.keys() == {"nllb_moe"}


def test_capacity_and_chance_are_told_by_the_routers_config():
    model = unmended()
    model.encoder.layers[0].ffn.router.moe_eval_capacity_token_fraction = 0.5
    mend(model)
    assert RoutingTap(model).batching == "alone"
    model.decoder.layers[0].ffn.router.second_expert_policy = "sampling"
    with pytest.raises(GatehouseError, match=r"second expert by chance \(sampling\): Gatehouse"):
        find_sites(model)
