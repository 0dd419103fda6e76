"""`python -m tests.models.families.table`: examine every family and write docs/families.md."""

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from tests.models.families import applied, examination
from tests.models.families.builders import BUILDERS
from tests.models.families.observation import observe
from tests.models.families.replaying import replay_of

PAGE = Path(__file__).resolve().parents[3] / "docs" / "families.md"
HEAD = """# Families

Every text Mixture-of-Experts family of the installed transformers, captured from a tiny random
model of its own config class. Each row was checked: hooks leave the output bit-identical, every
router fires, ids and weights equal what the experts are called with, entropy equals a float64
recomputation, logits equal the model's own `router_logits`, doubling the weights doubles the sum of
the experts, and **noise on one expert's weights changes exactly the rows that name it with a weight
above 0**. `tests/models/test_families.py` repeats every check;
`python -m tests.models.families.table` writes this page.

## What a weight is

A weight lands as the block hands it to the experts, rounded to float16. There it multiplies the
expert's output, except in Llama 4, where every expert runs and the score multiplies its input.
Factors that the router multiplies into its weights (most `routed_scaling_factor`s, Gemma 4's scale
per expert, Inkling's global scale) are therefore in them. What the block does later is in no
weight:

- the column **after the experts** says what happens to the sum of the experts' outputs before it
  leaves the block: nothing, a factor (Beam, Laguna, MiniMax M3 VL and Step 3.7 multiply by the
  scaling factor of their config, here 1.5; the OpenAI privacy filter by k, having divided its
  weights by k; Cohere 2 MoE by 1/2 where it averages routed and shared experts), a norm ("not
  linear": A.X K1, Gemma 4, and DiffusionGemma), or a projection out of a narrower space (Muse
  Spark; Nemotron-H if its config has a latent size). JetMoE and Doge, not measured, scale nothing.
  NLLB-MoE's experts multiply their sum by 1 - `moe_token_dropout` themselves;
- what layers do with a block's whole output (residual multipliers of Granite and MiniMax, Beam's
  scale by depth, norms after the block).

All of this is done to the sum, so the shares that the weights give to a token's experts are as
applied. Their size is not: do not compare it between families. Weights that are reconstructed for
a model's own code, from logits alone, do have its block's factor.

**A weight of 0 says that the block did not run the expert for this token, and nothing else.** It
is recorded from the block's own dispatch: a Switch token beyond its expert's capacity keeps the
expert it was meant for, and Zaya's last class skips the experts. An expert that ran is never
dropped, however small its weight: under 2^-25, or where the softmax itself gave 0, 2^-24 lands,
about 6e-8, the smallest float16. So weights that sum to 1 in the block do so here within about
2^-11. LongCat-Flash's last classes pass the token on unchanged, with a weight: they are not
dropped. Where a model's own code runs other rows than its gate names, capture stops instead.

## A family that is mended

The installed transformers runs NLLB-MoE's experts by one-hot of a mask that is one-hot already, so
experts 0 and 1 get every row, whatever the router chose. Gatehouse's loading mends that
(`models/experts/mending.py`): the experts get the ids and weights that their router chose, and the
block adds up the experts' outputs by its gates, as transformers 4 did. Its row is of the mended
model, and hooks leave that bit-identical. A model that was loaded otherwise is refused until
`gatehouse.models.experts.mending.mend(model)` was called.

## The table

- **reader**: how the router's output is read, by the default contract of transformers or by a
  reader of `models/dialects.py`.
- **scoring**: how logits become scores. Entropy is computed from the scores' shares over all
  classes, before selection biases and group limits, in nats; entropies of different kinds are not
  pooled.
- **weights sum to 1**: whether each token's weights do, with the family's default config.
- **after the experts**: what the block does to the sum of its experts, in no weight (above).
- **batches**: what may share a batch without changing the routing: sequences with padding between
  them, sequences of one length, or one sequence alone.
- **router_logits**: whether the model's own output of that name holds the same logits.
- **replay**: whether another routing can take the place of the router's while the model runs.
  "yes": replaying the router's own routing leaves the output bit-identical, other experts for one
  token change that token's output of the block and, but for rounding, no other's, and the router's
  own code says what weights it would give other experts. "with weights": only if the replay brings
  weights of its own, since a router does not choose by top-k (PhiMoE's sparsemixer, DeepSeek-V4's
  hash layers). "no": refused, because no module gets ids and weights that could be replaced.

An encoder-decoder model reads the same tokens in both stacks, in replays as in captures. A policy
is asked for the encoder's layers and the decoder's alike, with the same tokens, and a table has
entries for the layers of both. The decoder's start token is no token of the text, and keeps its
routing. The loss is the decoder's: what it says of each token, given the tokens before it and the
whole text in the encoder.

`num_experts` counts Zaya's skip class and LongCat-Flash's classes that pass the token on. A hash
layer (DeepSeek-V4) takes its experts from the token id, so its entropy says nothing about the
choice. Inkling 2 Loop runs some blocks several times, and each time is an MoE layer of its own.
Padding would take up Switch's capacity (NLLB-MoE's too, where a config leaves it less than a place
for each token), shift ties in sparse attention (indexed keys), and change
Doge's routing altogether, hence their batches.

"""
COLUMNS = (
    "family",
    "reader",
    "scoring",
    "weights sum to 1",
    "after the experts",
    "batches",
    "router_logits",
    "replay",
    "result",
)


def row(family: str) -> str:
    """Examine a family and return its row.

    Raises:
        AssertionError: what was captured is not what the model did.
    """
    observed = observe(family, BUILDERS[family])
    examination.check_everything(observed)
    layers = observed.tap.layers()
    return cells(
        family,
        examination.contract(family),
        ", ".join(sorted(set(layers["scoring"].to_pylist()))),
        "yes" if all(layers["weights_sum_to_one"].to_pylist()) else "no",
        applied.after_the_experts(observed),
        observed.tap.batching,
        examination.check_output_router_logits(observed),
        replay_of(observed),
        "exact",
    )


def cells(*values: str) -> str:
    return f"| {' | '.join(values)} |"


def main() -> None:
    """Write the page."""
    rows = [row(family) for family in sorted(BUILDERS)]
    PAGE.write_text(page(rows))


def page(rows: list[str]) -> str:
    replayed = len(rows) - sum(each.endswith("| no | exact |") for each in rows)
    summary = f"{len(rows)} families, all captured exactly; {replayed} can be replayed.\n"
    head = [cells(*COLUMNS), cells(*["---"] * len(COLUMNS))]
    return HEAD + summary + "\n" + "\n".join(head + rows) + "\n"


if __name__ == "__main__":
    main()
