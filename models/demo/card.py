"""The model card, written by the training script from what it measured."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from jinja2 import Template

TEMPLATE = Template(
    """\
# The bundled Mixture-of-Experts model

A small Mixtral, trained so that Gatehouse has real routing to show with nothing to download.
It is made for demonstrations and tests, not for generating text.

Reproduce: `python -m models.demo.train` (the same packages at the versions of `constraints.txt`;
floating-point sums differ between machines, so weights agree in kind, not bit for bit).

| | |
|---|---|
| architecture | Mixtral ({{ m.parameters_text }} parameters): 4 layers, all MoE, width 128, 8 experts of width 256, top-2 |
| tokenizer | byte-level BPE, 4,096 tokens, `<s>` before each text; trained on the training split |
| text | {{ m.documents_text }} docstrings of installed packages ({{ packages }}), {{ m.megabytes_text }} MB; docstrings of the standard library excluded by content |
| split | by module, one in {{ held_out_one_in }} held out |
| recipe | {{ m.train_tokens_text }} tokens ({{ epochs }} epoch), windows of {{ window }}, batch {{ batch }}, AdamW (0.9, 0.95), weight decay 0.1, peak rate {{ rate }}, warm-up {{ warmup }} steps then cosine to a tenth, clip 1.0, seed {{ seed }} |
| balance | Switch load-balancing loss per layer, weight {{ balance }} |
| trained on | {{ m.device }}, {{ "%.0f" | format(m.minutes) }} minutes, torch {{ torch }}, transformers {{ transformers }} |
| precision | trained in fp32, stored in bf16; the figures below are of the stored weights |

## Held-out documents ({{ m.held_out_tokens_text }} tokens)

| | nats per token |
|---|---|
| this model | {{ "%.3f" | format(m.held_out_loss) }} |
| unigram baseline (add-one-smoothed training frequencies) | {{ "%.3f" | format(m.unigram_loss) }} |

Load per expert and layer (share of selections; uniform is 0.125; smallest {{ "%.3f" | format(m.load.min()) }}):

| layer |{% for expert in range(m.load.shape[1]) %} {{ expert }} |{% endfor %}

|---|{% for expert in range(m.load.shape[1]) %}---|{% endfor %}

{% for row in m.load -%}
| {{ loop.index0 }} |{% for share in row %} {{ "%.3f" | format(share) }} |{% endfor %}

{% endfor %}
""",
    trim_blocks=True,
)


@dataclass(frozen=True)
class Measurements:
    """What the training script measured; losses in nats, `load` is [layers, experts]."""

    documents: int
    megabytes: float
    train_tokens: int
    held_out_tokens: int
    parameters: int
    minutes: float
    device: str
    held_out_loss: float
    unigram_loss: float
    load: np.ndarray

    def __getattr__(self, name: str) -> str:
        if name.endswith("_text"):
            return f"{getattr(self, name.removesuffix('_text')):,.0f}"
        raise AttributeError(name)


def write_card(path: Path, measurements: Measurements, recipe: dict[str, object]) -> None:
    """Write the card; `recipe` holds the training constants that the text names."""
    text = TEMPLATE.render(
        m=measurements,
        torch=torch.__version__,
        transformers=transformers.__version__,
        **recipe,
    )
    path.write_text(text, encoding="utf-8")
