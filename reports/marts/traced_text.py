"""A text with its routing, as one page or a terminal shows it."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from gatehouse.reports.marts.texts import Texts
from gatehouse.reports.marts.untold import ORDER


@dataclass(frozen=True)
class TracedText:
    """A text with its routing, and what is known around it.

    `source` is the run or model, `name` the text's. `layers` has a row per MoE layer: layer,
    moe_index, stack, block, num_experts, top_k. Of a run, `together` are the pairs of experts of
    `reports.page.passages`, `ranks` and `tokens` the rows of `Marts.frequency_rank` and
    `Marts.tokens` that are of the text's tokens; None for a text that no run has.
    """

    source: str
    name: str
    texts: Texts
    layers: pd.DataFrame
    untold: Sequence[str] = ()
    together: pd.DataFrame | None = None
    ranks: pd.DataFrame | None = None
    tokens: pd.DataFrame | None = None

    @property
    def is_ranked(self) -> bool:
        """Whether the first of a token's experts is the one with the greatest weight."""
        return ORDER not in self.untold
