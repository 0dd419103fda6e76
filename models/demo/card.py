"""The model card, written by the training script from what it measured."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from jinja2 import Template

TEMPLATE = Path(__file__).with_name("card.md.j2")


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
    template = Template(TEMPLATE.read_text(encoding="utf-8"), trim_blocks=True)
    text = template.render(
        m=measurements,
        torch=torch.__version__,
        transformers=transformers.__version__,
        **recipe,
    )
    path.write_text(text, encoding="utf-8")
