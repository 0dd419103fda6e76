"""Every MoE family of the installed transformers: captured exactly, or refused with the reason."""

import pytest
import torch

from gatehouse.models.families import FAMILIES, REFUSED
from gatehouse.models.routers import find_sites
from gatehouse.warehouse.errors import GatehouseError
from tests.models.families.builders import BUILDERS, VARIANTS
from tests.models.families.discovery import moe_families
from tests.models.families.examination import check_everything
from tests.models.families.observation import observe
from tests.models.families.table import PAGE, page, row

CLASSIFIED = FAMILIES.keys() | REFUSED.keys()


@pytest.mark.parametrize("family", sorted(moe_families() | BUILDERS.keys()))
def test_the_family_is_captured_exactly_or_refused(family):
    assert family in BUILDERS, (
        f"transformers has an MoE family that nobody has classified: {family}; give it a builder "
        "in tests/models/families, a kind in models/families.py, and write docs/families.md again"
    )
    assert family in CLASSIFIED, f"models/families.py does not say how {family} scores experts"
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


def test_a_refused_family_says_why():
    with pytest.raises(GatehouseError, match="nllb_moe cannot be captured: its experts take one-"):
        find_sites(BUILDERS["nllb_moe"]())


def test_the_page_is_these_rows_and_nothing_else():
    text = PAGE.read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert [line.split("|")[1].strip() for line in rows] == sorted(CLASSIFIED)
    assert text == page(rows)


def test_nllb_runs_other_experts_than_its_router_names():
    """The refusal's reason; when transformers fixes it, the family can be captured."""
    model = BUILDERS["nllb_moe"]()
    block = model.encoder.layers[0].ffn
    rows = [0] * block.num_experts

    def count(expert):
        def hook(module, inputs):
            rows[expert] += len(inputs[0])

        return hook

    for expert in range(block.num_experts):
        block.experts[f"expert_{expert}"].register_forward_pre_hook(count(expert))
    hidden = torch.randn(2, 24, model.config.d_model, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        mask, _, _ = block.router(hidden.view(-1, hidden.shape[-1]))
        block(hidden)
    assert sum(rows[2:]) == 0 < mask[:, 2:].sum()
