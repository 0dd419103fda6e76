"""The rows of per-token statistics that may be tested, and special tokens by their shape."""

import math
import re
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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


@dataclass(frozen=True)
class Excluded:
    """Rows that cannot be tested: how many, and what is known of their tokens.

    A token whose entropy is not a number still occurs in the text: it is in the denominator of
    coverage, in Zipf's curve, and in the consistency if its own is possible.

    `frequency` has the occurrences of those rows where they are possible, `consistency` beside
    them nan where it is not possible.
    """

    rows: int = 0
    frequency: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    consistency: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    @property
    def occurrences(self) -> int:
        """How often the excluded tokens are known to occur."""
        return int(self.frequency.sum())


NOTHING = Excluded()

# <0x0A> is a byte of the text in SentencePiece vocabularies, not a special token
SPECIAL_SHAPE = re.compile(r"<(?!0x[0-9A-F]{2}>)[^<>\s]+>|\[[A-Z][A-Z0-9_]*\]")


def usable_rows(frame: pd.DataFrame, name: str = "the table") -> tuple[pd.DataFrame, Excluded]:
    """Return the rows with possible values, the most frequent first, and what was excluded.

    A row is excluded when its frequency is not a whole number of at least 1, its entropy is
    negative or above ln 2³¹, its confidence or consistency is outside (0, 1], or one of them is
    not finite.

    Raises:
        GatehouseError: fewer than 3 rows are usable.
    """
    frequency, token_id = frame["frequency"], frame["token_id"]
    counted = frequency.between(1, LARGEST_FREQUENCY) & (frequency % 1 == 0)
    usable = counted & token_id.between(0, LARGEST_TOKEN_ID) & (token_id % 1 == 0)
    usable &= frame["mean_entropy"].between(-ROUNDING, LARGEST_ENTROPY + ROUNDING)
    for share in ("mean_confidence", "routing_consistency"):
        usable &= _is_share(frame[share])
    kept = frame[usable].astype({"frequency": "int64", "token_id": "int64"})
    excluded = _excluded(frame[counted & ~usable], len(frame) - len(kept))
    if len(kept) < LEAST_TOKENS:
        raise GatehouseError(
            f"{name} has {len(kept)} usable rows ({excluded.rows:,} excluded): the tests need "
            f"at least {LEAST_TOKENS} distinct tokens; analyze more text"
        )
    order = kept.sort_values(["frequency", "token_id"], ascending=[False, True])
    return order.reset_index(drop=True), excluded


def _is_share(values: pd.Series) -> pd.Series:
    return (values > 0) & (values <= 1 + ROUNDING)


def _excluded(frame: pd.DataFrame, rows: int) -> Excluded:
    consistency = frame["routing_consistency"]
    return Excluded(
        rows,
        frame["frequency"].to_numpy(np.int64),
        consistency.where(_is_share(consistency)).to_numpy(float, na_value=np.nan),
    )


def special_by_shape(token_str: pd.Series) -> pd.Series:
    """Return bool per token: written like <s>, <|endoftext|> or [CLS]."""
    special = [SPECIAL_SHAPE.fullmatch(text.strip()) is not None for text in token_str]
    return pd.Series(special, index=token_str.index, dtype=bool)
