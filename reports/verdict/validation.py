"""The hypothesis: frequent tokens are routed with low entropy, so a lookup table could route them.

Three criteria decide; the verdict is SUPPORTED when all three are met.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from gatehouse.reports import statistics
from gatehouse.reports.verdict.criteria import Criterion, criteria
from gatehouse.reports.verdict.thresholds import DEFAULT, Thresholds
from gatehouse.reports.verdict.usable import NOTHING, Excluded, special_by_shape


@dataclass(frozen=True)
class SpecialTokens:
    """Special tokens in the table and their share of the occurrences; all statistics count them."""

    tokens: int
    occurrence_share: float
    recognised_by: str


@dataclass(frozen=True)
class Validation:
    """The tested table: its size, its statistics, and the verdict that follows from them.

    `tokens` and `occurrences` are those of the rows that could be tested; coverage, Zipf's curve
    and consistency also count the excluded ones.
    """

    thresholds: Thresholds
    tokens: int
    occurrences: int
    excluded_rows: int
    excluded_occurrences: int
    special: SpecialTokens
    zipf: statistics.Zipf
    correlation: statistics.Correlation
    entropy: statistics.EntropyDistribution
    consistency: statistics.Consistency
    fast_path: statistics.FastPath

    @property
    def all_occurrences(self) -> int:
        """The denominator of coverage."""
        return self.occurrences + self.excluded_occurrences

    @property
    def tested_share(self) -> float:
        """What a share of the tested occurrences is to be multiplied by to be one of all."""
        return self.occurrences / self.all_occurrences

    @property
    def criteria(self) -> tuple[Criterion, Criterion, Criterion]:
        """Correlation, low-entropy share, coverage."""
        return criteria(self.correlation, self.entropy, self.fast_path)

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
    thresholds: Thresholds = DEFAULT,
    *,
    excluded: Excluded = NOTHING,
    special_token_ids: set[int] | None = None,
) -> Validation:
    """Test the hypothesis on one MoE layer's per-token statistics.

    Args:
        frame: usable rows, one per token (`reports.verdict.usable.usable_rows`).
        thresholds: of the fast path.
        excluded: the rows that were not usable.
        special_token_ids: the tokenizer's; None recognises them by the shape of `token_str`.
    """
    frequency = frame["frequency"].to_numpy()
    mean_entropy = frame["mean_entropy"].to_numpy()
    every_frequency = np.concatenate([frequency, excluded.frequency])
    # an entropy that is not known is under no threshold
    every_entropy = np.append(mean_entropy, np.full(excluded.frequency.size, np.nan))
    every_consistency = np.append(frame["routing_consistency"].to_numpy(), excluded.consistency)
    consistent = np.isfinite(every_consistency)
    return Validation(
        thresholds=thresholds,
        tokens=len(frame),
        occurrences=int(frequency.sum()),
        excluded_rows=excluded.rows,
        excluded_occurrences=excluded.occurrences,
        special=_special_tokens(frame, special_token_ids),
        zipf=statistics.zipf(every_frequency),
        correlation=statistics.frequency_entropy(frequency, mean_entropy),
        entropy=statistics.entropy_distribution(mean_entropy, thresholds.entropy),
        consistency=statistics.consistency(
            every_frequency[consistent], every_consistency[consistent]
        ),
        fast_path=statistics.fast_path(
            every_frequency, every_entropy, thresholds.frequency, thresholds.entropy
        ),
    )


def _special_tokens(frame: pd.DataFrame, special_token_ids: set[int] | None) -> SpecialTokens:
    if special_token_ids is None:
        special, recognised_by = special_by_shape(frame["token_str"]), "the shape of token_str"
    else:
        special, recognised_by = frame["token_id"].isin(special_token_ids), "the tokenizer"
    share = frame.loc[special, "frequency"].sum() / frame["frequency"].sum()
    return SpecialTokens(int(special.sum()), float(share), recognised_by)
