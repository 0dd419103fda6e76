"""The validation report as text: the specification's lines, the evidence below each of them."""

from collections.abc import Sequence

from gatehouse.reports import statistics
from gatehouse.reports.results import evidence_text
from gatehouse.reports.verdict.assessment import Assessment
from gatehouse.reports.verdict.criteria import (
    CORRELATION,
    COVERAGE,
    LARGEST_P,
    LOW_ENTROPY,
    RHO,
    is_significant,
    p_text,
)
from gatehouse.reports.verdict.validation import Validation

RULE = "=" * 60
MAJORITY = 0.5
"""Frequent tokens are called highly consistent when their modal expert takes most occurrences."""


def report_text(
    assessment: Assessment, title: Sequence[str] = (), measured: Sequence[str] = ()
) -> str:
    """Return the validation report.

    Args:
        assessment: of one MoE layer, a table, or the average of all layers.
        title: lines on what was tested, put under the heading.
        measured: sentences on what a lookup table cost the model, where that was replayed.
    """
    validation, evidence = assessment.validation, assessment.evidence
    blocks = [
        heading("VAR Hypothesis Validation"),
        [*title, *_data_lines(validation)],
        [*_frequency_lines(validation), *evidence_text.frequencies(assessment.zipf)],
        [*_correlation_lines(validation.correlation), *evidence_text.correlation(evidence)],
        [*_entropy_lines(validation.entropy), *evidence_text.low_entropy(evidence)],
        [*_consistency_lines(validation.consistency), *evidence_text.consistency(evidence)],
        [
            *_fast_path_lines(validation.fast_path),
            *evidence_text.fast_path(evidence),
            *(f"   {line}" for line in measured),
        ],
        [*heading("Validation Summary"), *_summary_lines(validation)],
        _grade_lines(validation),
        ["Evidence", f"  {assessment.strength}"],
    ]
    if assessment.advice:
        blocks.append(["What to try", *(f"  - {line}" for line in assessment.advice)])
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def heading(text: str) -> list[str]:
    """Return the lines of a heading between rules."""
    return [RULE, text, RULE]


def _data_lines(validation: Validation) -> list[str]:
    special = validation.special
    excluded = ""
    if validation.excluded_occurrences:
        share = validation.excluded_occurrences / validation.all_occurrences
        excluded = (
            f"; they hold {validation.excluded_occurrences:,} occurrences, {share:.1%} of all, "
            "which count in Zipf, consistency and coverage"
        )
    return [
        f"Tokens: {validation.tokens:,} distinct, {validation.occurrences:,} occurrences",
        f"Excluded rows: {validation.excluded_rows:,} (not finite or impossible){excluded}",
        f"Special tokens: {special.tokens:,} by {special.recognised_by}, "
        f"{special.occurrence_share:.1%} of occurrences, included in every statistic",
        f"Thresholds: frequency > {validation.thresholds.frequency:,}, "
        f"entropy < {validation.thresholds.entropy:g} nats",
    ]


def _frequency_lines(validation: Validation) -> list[str]:
    zipf = validation.zipf
    return [
        "1. Analyzing frequency distribution...",
        f"   Zipf R²: {_number(zipf.r_squared, zipf.undefined)}",
        *(f"   Top {top} coverage: {share:.1%}" for top, share in zipf.coverage.items()),
    ]


def _correlation_lines(correlation: statistics.Correlation) -> list[str]:
    rho, log10_p = correlation.spearman, correlation.log10_p
    no_pearson = correlation.undefined or "the spread is below floating-point precision"
    return [
        "2. Testing frequency-entropy correlation...",
        f"   Spearman {RHO}: {_number(rho, correlation.undefined)}",
        f"   P-value: {p_text(log10_p) if log10_p is not None else correlation.p_text}",
        f"   Significant: {log10_p is not None and bool(is_significant(log10_p))}",
        f"   Negative correlation: {rho is not None and rho < 0}",
        f"   Pearson r of ln(frequency + 1): {_number(correlation.pearson, no_pearson)}",
    ]


def _entropy_lines(entropy: statistics.EntropyDistribution) -> list[str]:
    return [
        "3. Analyzing entropy distribution...",
        f"   Mean entropy: {entropy.mean:.4f}",
        f"   Std entropy: {entropy.std:.4f}",
        f"   Median entropy: {entropy.median:.4f}",
        f"   Tokens with entropy < {entropy.threshold:g}: "
        f"{LOW_ENTROPY.text(entropy.low_entropy_share)}",
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
        f"   Token occurrence coverage: {COVERAGE.text(fast_path.coverage)}",
    ]


def _summary_lines(validation: Validation) -> list[str]:
    if not validation.supported:
        failed = [criterion for criterion in validation.criteria if not criterion.met]
        return [
            "✗ VAR Hypothesis NOT SUPPORTED",
            *(f"  - {each.name}: {each.found}; needs {each.demand}" for each in failed),
        ]
    rho, top_mean = validation.correlation.spearman, validation.consistency.top_mean
    assert rho is not None, "an undefined rho supports nothing"
    return [
        "✓ VAR Hypothesis SUPPORTED",
        "  - Significant negative correlation between frequency and entropy "
        f"({RHO}={CORRELATION.text(rho)}, p<{LARGEST_P:g})",
        f"  - {LOW_ENTROPY.text(validation.entropy.low_entropy_share)} of tokens have low entropy "
        f"(< {validation.thresholds.entropy:g})",
        f"  - Fast-path routing can cover {COVERAGE.text(validation.fast_path.coverage)} of "
        "token occurrences",
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
