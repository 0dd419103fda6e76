"""What a terminal shows of a run whose every layer was asked for: a row each, then the model."""

from collections.abc import Sequence

from gatehouse.reports.results.report_text import conclusion, data_lines, heading
from gatehouse.reports.verdict.assessment import Assessment
from gatehouse.reports.verdict.criteria import CORRELATION, COVERAGE, LOW_ENTROPY, RHO, p_text

COLUMNS = ("layer", RHO, "p", "low entropy", "coverage", "verdict")
MARKS = {True: "✓", False: "✗"}


def layer_table_text(layers: Sequence[Assessment], model: Assessment, title: str) -> str:
    """Return one table of the layers' criteria and verdicts, then the model's verdict.

    Args:
        layers: one for each MoE layer.
        model: of the average over them.
        title: what was tested.
    """
    rows = [COLUMNS, *map(_row, layers), _row(model)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
    table = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    blocks = [
        heading("VAR Hypothesis Validation"),
        [title, *data_lines(model.validation)],
        table,
        *conclusion(model),
    ]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _row(assessment: Assessment) -> tuple[str, ...]:
    validation = assessment.validation
    rho = validation.correlation.spearman
    met = [MARKS[criterion.met] for criterion in validation.criteria]
    return (
        "model" if assessment.layer is None else str(assessment.layer),
        "undefined" if rho is None else CORRELATION.text(rho),
        f"{p_text(validation.correlation)} {met[0]}",
        f"{LOW_ENTROPY.text(validation.entropy.low_entropy_share)} {met[1]}",
        f"{COVERAGE.text(validation.fast_path.coverage)} {met[2]}",
        validation.verdict,
    )
