"""The noun of a report: one MoE layer of one run, as the marts have it."""

from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Analysis:
    """A run, its MoE layers, and the per-token statistics of one of them.

    `run` is the row of `dim_run`; `layers` has one row per MoE layer (`queries.layers`); `frame`
    one row per token, the most frequent first (`queries.routing_statistics`); `layer` is the
    index of its layer among the MoE layers; `special_token_ids` are the tokenizer's.
    """

    run: dict[str, Any]
    layers: pd.DataFrame
    frame: pd.DataFrame
    layer: int
    special_token_ids: set[int]

    @property
    def name(self) -> str:
        """The run and the layer, for captions and headings."""
        return f"{self.run['run_id']}, MoE layer {self.layer}"
