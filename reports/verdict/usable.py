"""The rows of per-token statistics that may be tested, and special tokens by their shape."""

import math
import re

import pandas as pd

from gatehouse.reports.statistics import LEAST_TOKENS
from gatehouse.warehouse.errors import GatehouseError

NEEDED = (
    "token_id",
    "token_str",
    "frequency",
    "mean_entropy",
    "mean_confidence",
    "routing_consistency",
)
"""The columns that the tests and figures use; a file from elsewhere may lack the others."""

ROUNDING = 1e-4
"""An entropy this far under 0 or a share this far over 1 is rounding, not an error."""

LARGEST_TOKEN_ID = 2**31 - 1
LARGEST_FREQUENCY = 2**53
LARGEST_ENTROPY = math.log(2**31)
"""Nats; `top_expert` has 32 bits, so no router spreads over more experts than that."""


# <0x0A> is a byte of the text in SentencePiece vocabularies, not a special token
SPECIAL_SHAPE = re.compile(r"<(?!0x[0-9A-F]{2}>)[^<>\s]+>|\[[A-Z][A-Z0-9_]*\]")


def usable_rows(frame: pd.DataFrame, name: str = "the table") -> tuple[pd.DataFrame, int]:
    """Return the rows with possible values, the most frequent first, and how many were excluded.

    A row is excluded when its frequency is not a whole number of at least 1, its entropy is
    negative or above ln 2³¹, its confidence or consistency is outside (0, 1], or one of them is
    not finite.

    Raises:
        GatehouseError: fewer than 3 rows are usable.
    """
    frequency, token_id = frame["frequency"], frame["token_id"]
    usable = frequency.between(1, LARGEST_FREQUENCY) & (frequency % 1 == 0)
    usable &= token_id.between(0, LARGEST_TOKEN_ID) & (token_id % 1 == 0)
    usable &= frame["mean_entropy"].between(-ROUNDING, LARGEST_ENTROPY + ROUNDING)
    for share in ("mean_confidence", "routing_consistency"):
        usable &= (frame[share] > 0) & (frame[share] <= 1 + ROUNDING)
    kept = frame[usable].astype({"frequency": "int64", "token_id": "int64"})
    excluded = len(frame) - len(kept)
    if len(kept) < LEAST_TOKENS:
        raise GatehouseError(
            f"{name} has {len(kept)} usable rows ({excluded:,} excluded): the tests need at least "
            f"{LEAST_TOKENS} distinct tokens; analyze more text"
        )
    order = kept.sort_values(["frequency", "token_id"], ascending=[False, True])
    return order.reset_index(drop=True), excluded


def special_by_shape(token_str: pd.Series) -> pd.Series:
    """Return bool per token: written like <s>, <|endoftext|> or [CLS]."""
    special = [SPECIAL_SHAPE.fullmatch(text.strip()) is not None for text in token_str]
    return pd.Series(special, index=token_str.index, dtype=bool)
