"""The hypothesis: frequent tokens are routed with low entropy, so a lookup table could route them.

Three criteria decide; the verdict is SUPPORTED when all three are met.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from reports import statistics
from reports.criteria import (
    LARGEST_P,
    RHO,
    Criterion,
    correlation_criterion,
    coverage_criterion,
    low_entropy_criterion,
)
from reports.tables import special_by_shape, usable_rows

RULE = "=" * 60
MAJORITY = 0.5
"""Frequent tokens are called highly consistent when their modal expert takes most occurrences."""


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


def report_text(validation: Validation, title: Sequence[str] = ()) -> str:
    """Return the validation report.

    Args:
        validation: the tested table.
        title: lines on what was tested, put under the heading.
    """
    blocks = [
        heading("VAR Hypothesis Validation"),
        [*title, *_data_lines(validation)],
        _frequency_lines(validation),
        _correlation_lines(validation.correlation),
        _entropy_lines(validation.entropy),
        _consistency_lines(validation.consistency),
        _fast_path_lines(validation.fast_path),
        [*heading("Validation Summary"), *_summary_lines(validation)],
        _grade_lines(validation),
    ]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def heading(text: str) -> list[str]:
    """Return the lines of a heading between rules."""
    return [RULE, text, RULE]


def _data_lines(validation: Validation) -> list[str]:
    special = validation.special
    return [
        f"Tokens: {validation.tokens:,} distinct, {validation.occurrences:,} occurrences",
        f"Excluded rows: {validation.excluded_rows:,} (not finite or impossible)",
        f"Special tokens: {special.tokens:,} by {special.recognised_by}, "
        f"{special.occurrence_share:.1%} of occurrences, included in every statistic",
        f"Thresholds: frequency > {validation.frequency_threshold:,}, "
        f"entropy < {validation.entropy_threshold:g} nats",
    ]


def _frequency_lines(validation: Validation) -> list[str]:
    zipf = validation.zipf
    return [
        "1. Analyzing frequency distribution...",
        f"   Zipf R²: {_number(zipf.r_squared, zipf.undefined)}",
        *(f"   Top {top} coverage: {share:.1%}" for top, share in zipf.coverage.items()),
    ]


def _correlation_lines(correlation: statistics.Correlation) -> list[str]:
    rho, p_value = correlation.spearman, correlation.p_value
    no_pearson = correlation.undefined or "the spread is below floating-point precision"
    return [
        "2. Testing frequency-entropy correlation...",
        f"   Spearman {RHO}: {_number(rho, correlation.undefined)}",
        f"   P-value: {correlation.p_text}",
        f"   Significant: {p_value is not None and p_value < LARGEST_P}",
        f"   Negative correlation: {rho is not None and rho < 0}",
        f"   Pearson r of ln(frequency + 1): {_number(correlation.pearson, no_pearson)}",
    ]


def _entropy_lines(entropy: statistics.EntropyDistribution) -> list[str]:
    return [
        "3. Analyzing entropy distribution...",
        f"   Mean entropy: {entropy.mean:.4f}",
        f"   Std entropy: {entropy.std:.4f}",
        f"   Median entropy: {entropy.median:.4f}",
        f"   Tokens with entropy < {entropy.threshold:g}: {entropy.low_entropy_share:.1%}",
    ]


def _consistency_lines(consistency: statistics.Consistency) -> list[str]:
    ranks = statistics.CONSISTENCY_RANKS
    fewer = f" (all {consistency.top_tokens} tokens)" if consistency.top_tokens < ranks else ""
    return [
        "4. Analyzing routing consistency...",
        f"   Mean consistency: {consistency.mean:.4f}",
        f"   Top {ranks} consistency: {consistency.top_mean:.4f}{fewer}",
    ]


def _fast_path_lines(fast_path: statistics.FastPath) -> list[str]:
    return [
        "5. Identifying fast-path eligible tokens...",
        f"   Eligible tokens: {fast_path.eligible_tokens:,} ({fast_path.eligible_share:.1%})",
        f"   Token occurrence coverage: {fast_path.coverage:.1%}",
    ]


def _summary_lines(validation: Validation) -> list[str]:
    if not validation.supported:
        failed = [criterion for criterion in validation.criteria if not criterion.met]
        return [
            "✗ VAR Hypothesis NOT SUPPORTED",
            *(f"  - {each.name}: {each.found}; needs {each.demand}" for each in failed),
        ]
    rho, top_mean = validation.correlation.spearman, validation.consistency.top_mean
    return [
        "✓ VAR Hypothesis SUPPORTED",
        "  - Significant negative correlation between frequency and entropy "
        f"({RHO}={rho:.3f}, p<{LARGEST_P:g})",
        f"  - {validation.entropy.low_entropy_share:.1%} of tokens have low entropy "
        f"(< {validation.entropy_threshold:g})",
        f"  - Fast-path routing can cover {validation.fast_path.coverage:.1%} of token occurrences",
        "  - Top frequent tokens show "
        f"{'high' if top_mean > MAJORITY else 'low'} routing consistency ({top_mean:.3f})",
    ]


def _grade_lines(validation: Validation) -> list[str]:
    return [
        "Grades",
        *(f"  {each.name}: {each.grade} ({each.found})" for each in validation.criteria),
    ]


def _number(value: float | None, undefined: str | None) -> str:
    return f"undefined: {undefined}" if value is None else f"{value:.4f}"
