"""`python -m tests.models.families.table`: examine every family and write docs/families.md."""

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from gatehouse.models.families import REFUSED
from tests.models.families import examination
from tests.models.families.builders import BUILDERS
from tests.models.families.observation import observe

PAGE = Path(__file__).resolve().parents[3] / "docs" / "families.md"
HEAD = """# Families

Every text Mixture-of-Experts family of the installed transformers, captured from a tiny random
model of its own config class. Each row was checked: hooks leave the output bit-identical, every
router fires, ids and weights equal what the experts are called with, entropy equals a float64
recomputation, logits equal the model's own `router_logits`, and **noise on one expert's weights
changes exactly the rows that name it with a weight above 0**. `tests/models/test_families.py`
repeats every check; `python -m tests.models.families.table` writes this page.

- **reader**: how the router's output is read, by the default contract of transformers or by a
  reader of `models/dialects.py`.
- **scoring**: how logits become scores. Entropy is computed from the scores' shares over all
  classes, before selection biases and group limits, in nats; entropies of different kinds are not
  pooled.
- **weights sum to 1**: whether each token's weights do, with the family's default config.
- **batches**: what may share a batch without changing the routing: sequences with padding between
  them, sequences of one length, or one sequence alone.
- **router_logits**: whether the model's own output of that name holds the same logits.

A token that Switch drops keeps the expert it was meant for, with weight 0. Zaya's last class skips
the experts and has weight 0; LongCat-Flash's last classes pass the token on unchanged;
`num_experts` counts them. A hash layer (DeepSeek-V4) takes its experts from the token id, so its
entropy says nothing about the choice. Inkling 2 Loop runs some blocks several times, and each time
is an MoE layer of its own. Padding would take up Switch's capacity, shift ties in sparse
attention (indexed keys), and change Doge's routing altogether, hence their batches.

"""
COLUMNS = ("family", "reader", "scoring", "weights sum to 1", "batches", "router_logits", "result")


def row(family: str) -> str:
    """Examine a family and return its row.

    Raises:
        AssertionError: what was captured is not what the model did.
    """
    if family in REFUSED:
        return cells(family, "-", "-", "-", "-", "-", f"refused: {REFUSED[family]}")
    observed = observe(family, BUILDERS[family])
    examination.check_everything(observed)
    layers = observed.tap.layers()
    return cells(
        family,
        examination.contract(family),
        ", ".join(sorted(set(layers["scoring"].to_pylist()))),
        "yes" if all(layers["weights_sum_to_one"].to_pylist()) else "no",
        observed.tap.batching,
        examination.check_output_router_logits(observed),
        "exact",
    )


def cells(*values: str) -> str:
    return f"| {' | '.join(values)} |"


def main() -> None:
    """Write the page."""
    rows = [row(family) for family in sorted(BUILDERS)]
    PAGE.write_text(page(rows))


def page(rows: list[str]) -> str:
    exact = sum(each.endswith("| exact |") for each in rows)
    summary = f"{len(rows)} families: {exact} captured exactly, {len(rows) - exact} refused.\n"
    head = [cells(*COLUMNS), cells(*["---"] * len(COLUMNS))]
    return HEAD + summary + "\n" + "\n".join(head + rows) + "\n"


if __name__ == "__main__":
    main()
