"""The hypothesis: frequent tokens are routed with low entropy, so a lookup table could route them.

Three criteria decide; the verdict is SUPPORTED when all three are met.
"""

from dataclasses import dataclass

import pandas as pd

from reports import statistics
from reports.criteria import (
    Criterion,
    correlation_criterion,
    coverage_criterion,
    low_entropy_criterion,
)
from reports.tables import special_by_shape, usable_rows


@dataclass(frozen=True)
class SpecialTokens:
    """Special tokens in the table and their share of the occurrences; all statistics count them."""

    tokens: int
    occurrence_share: float
    recognised_by: str


@dataclass(frozen=True)
class Validation:
    """The tested table: its size, its statistics, and the verdict that follows from them."""

    frequency_threshold: int
    entropy_threshold: float
    tokens: int
    occurrences: int
    excluded_rows: int
    special: SpecialTokens
    zipf: statistics.Zipf
    correlation: statistics.Correlation
    entropy: statistics.EntropyDistribution
    consistency: statistics.Consistency
    fast_path: statistics.FastPath

    @property
    def criteria(self) -> tuple[Criterion, Criterion, Criterion]:
        """Correlation, low-entropy share, coverage."""
        return (
            correlation_criterion(self.correlation),
            low_entropy_criterion(self.entropy),
            coverage_criterion(self.fast_path),
        )

    @property
    def supported(self) -> bool:
        """Whether all three criteria are met."""
        return all(criterion.met for criterion in self.criteria)

    @property
    def verdict(self) -> str:
        """SUPPORTED or NOT SUPPORTED."""
        return "SUPPORTED" if self.supported else "NOT SUPPORTED"


def validate(
    frame: pd.DataFrame,
    *,
    frequency_threshold: int = 50,
    entropy_threshold: float = 0.5,
    excluded_rows: int = 0,
    special_token_ids: set[int] | None = None,
) -> Validation:
    """Test the hypothesis on one MoE layer's per-token statistics.

    Args:
        frame: one row per token, columns of `reports.tables.NEEDED`; rows with impossible
            values are excluded and counted.
        frequency_threshold: occurrences, exclusive.
        entropy_threshold: nats, exclusive.
        excluded_rows: rows that were excluded before, added to those excluded here.
        special_token_ids: the tokenizer's; None recognises them by the shape of `token_str`.

    Raises:
        GatehouseError: fewer than 3 rows are usable.
    """
    usable, excluded = usable_rows(frame)
    frequency = usable["frequency"].to_numpy()
    mean_entropy = usable["mean_entropy"].to_numpy()
    return Validation(
        frequency_threshold=frequency_threshold,
        entropy_threshold=entropy_threshold,
        tokens=len(usable),
        occurrences=int(frequency.sum()),
        excluded_rows=excluded_rows + excluded,
        special=_special_tokens(usable, special_token_ids),
        zipf=statistics.zipf(frequency),
        correlation=statistics.frequency_entropy(frequency, mean_entropy),
        entropy=statistics.entropy_distribution(mean_entropy, entropy_threshold),
        consistency=statistics.consistency(frequency, usable["routing_consistency"].to_numpy()),
        fast_path=statistics.fast_path(
            frequency, mean_entropy, frequency_threshold, entropy_threshold
        ),
    )


def _special_tokens(frame: pd.DataFrame, special_token_ids: set[int] | None) -> SpecialTokens:
    if special_token_ids is None:
        special, recognised_by = special_by_shape(frame["token_str"]), "the shape of token_str"
    else:
        special, recognised_by = frame["token_id"].isin(special_token_ids), "the tokenizer"
    share = frame.loc[special, "frequency"].sum() / frame["frequency"].sum()
    return SpecialTokens(int(special.sum()), float(share), recognised_by)
