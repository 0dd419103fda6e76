"""The verdict on a model as text: its MoE layers in a table, what follows, and their average."""

from gatehouse.reports.results.report_text import heading
from gatehouse.reports.statistics import Interval, p_text
from gatehouse.reports.verdict.assessment import Assessment
from gatehouse.reports.verdict.criteria import (
    CORRELATION,
    COVERAGE,
    DEMANDS,
    LARGEST_P,
    LARGEST_RHO,
    LEAST_COVERAGE,
    LEAST_LOW_ENTROPY_SHARE,
    LOW_ENTROPY,
    RHO,
)
from gatehouse.reports.verdict.findings import AssessedRun

COLUMNS = ("Layer", RHO, "p (Holm)", "Low entropy", "Coverage", "All three")
NEEDED = (
    "needs",
    f"< {LARGEST_RHO:g}",
    f"< {LARGEST_P:g}",
    f"≥ {LEAST_LOW_ENTROPY_SHARE:.0%}",
    f"> {LEAST_COVERAGE:.0%}",
    "",
)


def model_text(assessed: AssessedRun, name: str) -> str:
    """Return the model's verdict with a row per MoE layer.

    Args:
        assessed: the run and its layers.
        name: of what was tested.
    """
    verdict, thresholds = assessed.verdict, assessed.layers[0].validation.thresholds
    rows = [
        _row(each, supports)
        for each, supports in zip(assessed.layers, verdict.supporting, strict=True)
    ]
    widths = [max(map(len, column)) for column in zip(COLUMNS, NEEDED, *rows, strict=True)]
    table = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (COLUMNS, NEEDED, *rows)
    ]
    mark = "✓" if verdict.supported else "✗"
    lines = [
        *heading("All MoE layers"),
        name,
        f"Thresholds: frequency > {thresholds.frequency:,}, entropy < {thresholds.entropy:g} nats",
        "",
        *table,
        "",
        f"{mark} VAR Hypothesis {verdict.verdict} for the model",
        f"  {verdict.sentence}",
        "",
        *_average_lines(assessed),
    ]
    return "\n".join(lines) + "\n"


def _row(assessment: Assessment, supports: bool) -> tuple[str, ...]:
    validation, corrected = assessment.validation, assessment.evidence.holm_log10_p
    rho = validation.correlation.spearman
    return (
        str(assessment.layer),
        "undefined" if rho is None else CORRELATION.text(rho),
        "undefined" if corrected is None else p_text(corrected),
        LOW_ENTROPY.text(validation.entropy.low_entropy_share),
        COVERAGE.text(validation.fast_path.coverage),
        "yes" if supports else "no",
    )


def _average_lines(assessed: AssessedRun) -> list[str]:
    if assessed.average is None:
        return [f"Average of the layers: none, {assessed.no_average}."]
    validation, found = assessed.average.validation, assessed.average.evidence.bootstrap
    values = (
        validation.correlation.spearman,
        validation.entropy.low_entropy_share,
        validation.fast_path.coverage,
    )
    intervals: tuple[Interval | None, ...] = (
        (found.spearman, found.low_entropy_share, found.coverage) if found else (None, None, None)
    )
    lines = ["Each token's values averaged over the layers (a description: no layer routes so):"]
    for demand, value, interval in zip(DEMANDS, values, intervals, strict=True):
        text = "undefined" if value is None else demand.text(value)
        between = (
            f", 95% interval {demand.text(interval.low)} to {demand.text(interval.high)}"
            if interval
            else ""
        )
        lines.append(f"  {demand.measure}: {text}{between}")
    return lines
