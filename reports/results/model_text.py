"""The verdict on a model as text: its MoE layers in a table, what follows, and their average."""

from collections.abc import Sequence

from gatehouse.reports.results.report_text import heading
from gatehouse.reports.verdict.assessment import Assessment
from gatehouse.reports.verdict.criteria import (
    CORRELATION,
    COVERAGE,
    LARGEST_P,
    LARGEST_RHO,
    LEAST_COVERAGE,
    LEAST_LOW_ENTROPY_SHARE,
    LOW_ENTROPY,
    RHO,
    p_text,
)
from gatehouse.reports.verdict.findings import AssessedRun
from gatehouse.reports.verdict.strength import margins

COLUMNS = ("Layer", RHO, "p (Holm)", "Low entropy", "Coverage", "All three")
NEEDED = (
    "needs",
    f"< {LARGEST_RHO:g}",
    f"< {LARGEST_P:g}",
    f"≥ {LEAST_LOW_ENTROPY_SHARE:.0%}",
    f"> {LEAST_COVERAGE:.0%}",
    "",
)


def model_text(assessed: AssessedRun, name: str, measured: Sequence[str] = ()) -> str:
    """Return the model's verdict with a row per MoE layer.

    Args:
        assessed: the run and its layers.
        name: of what was tested.
        measured: sentences on what a lookup table cost the model, where that was replayed.
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
        *(f"  {line}" for line in measured),
        "",
        *_average_lines(assessed),
    ]
    return "\n".join(lines) + "\n"


def _row(assessment: Assessment, supports: bool) -> tuple[str, ...]:
    validation = assessment.validation
    rho = validation.correlation.spearman
    return (
        str(assessment.layer),
        "undefined" if rho is None else CORRELATION.text(rho),
        p_text(assessment.evidence.holm_log10_p),
        LOW_ENTROPY.text(validation.entropy.low_entropy_share),
        COVERAGE.text(validation.fast_path.coverage),
        "yes" if supports else "no",
    )


def _average_lines(assessed: AssessedRun) -> list[str]:
    if assessed.average is None:
        return [f"Average of the layers: none, {assessed.no_average}."]
    lines = ["Each token's values averaged over the layers (a description: no layer routes so):"]
    for each in margins(assessed.average.validation, assessed.average.evidence):
        value = "undefined" if each.value is None else each.demand.text(each.value)
        between = f", 95% interval {each.text}" if each.interval else ""
        lines.append(f"  {each.demand.measure}: {value}{between}")
    return lines
