"""Artifacts on the page of a flow run: progress, the layers' verdicts, what was found, links."""

import base64
import io
from pathlib import Path
from typing import cast
from uuid import UUID

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from gatehouse.flows import prefect_settings
from gatehouse.flows.console import clock
from gatehouse.flows.steps.pace.progress import Progress, Told
from gatehouse.reports.results.results import Results
from gatehouse.reports.verdict.assessment import Assessment
from gatehouse.reports.verdict.criteria import CORRELATION, COVERAGE, LOW_ENTROPY, RHO, p_text
from gatehouse.warehouse.paths import Paths, file_address

WIDTH = 900
"""Pixels of the figure in an artifact, which lies in Prefect's database."""

COLOURS = 64


def tellers() -> tuple[Told, ...]:
    """Return what shows on the flow run's page how far its capture is."""
    return (ProgressBar(),) if prefect_settings.somebody_watches() else ()


class ProgressBar:
    """A progress artifact of the flow run: per cent of its shards, tokens a second, time left."""

    def __init__(self) -> None:
        self._artifact: UUID | None = None

    def __call__(self, now: Progress) -> None:
        """Show how far the capture is."""
        landed = now.shards - now.shards_left
        part, words = 100 * landed / now.shards, progress_words(now)
        if self._artifact is None:
            made = create_progress_artifact(part, "gatehouse-capture", words)
            # it is no coroutine where no event loop runs
            self._artifact = cast(UUID, made)
        else:
            update_progress_artifact(self._artifact, part, words)


def progress_words(now: Progress) -> str:
    """Return how far a capture is in one line."""
    words = [f"{now.run_id}: {now.shards - now.shards_left:,} of {now.shards:,} shards"]
    if now.tokens_per_second is not None:
        words.append(f"{now.tokens_per_second:,.0f} tokens/s")
    if now.events_per_second is not None:
        words.append(f"{now.events_per_second:,.0f} events/s")
    if now.shards_left and now.seconds_left is not None:
        words.append(f"{clock(now.seconds_left)} left")
    return ", ".join(words)


def leave_results(results: Results, figures: dict[str, Path], report: Path, paths: Paths) -> None:
    """Leave what was found on the flow run's page: the layers, the verdict, links to the files.

    Args:
        results: what was assessed.
        figures: the run's figures as PNG, by stem.
        report: the page.
        paths: the warehouse.
    """
    if not prefect_settings.somebody_watches():
        return
    run = report.parent.name
    create_table_artifact(
        [_row(each) for each in results.sections], "gatehouse-layers", f"The layers of {run}"
    )
    stem = "layer_overview" if results.of_model else "frequency_vs_entropy"
    figure = figures.get(stem)
    create_markdown_artifact(
        markdown(results, report, paths, figure), "gatehouse-verdict", f"The verdict on {run}"
    )
    create_link_artifact(file_address(report), "Report", "gatehouse-report", f"The report of {run}")
    if paths.lineage_page.exists():
        create_link_artifact(
            file_address(paths.lineage_page),
            "Lineage",
            "gatehouse-lineage",
            "Where every column of the marts comes from",
        )


def markdown(results: Results, report: Path, paths: Paths, figure: Path | None = None) -> str:
    """Return the verdict as Markdown, with a figure in it."""
    picture = [f"![{figure.stem.replace('_', ' ')}]({as_data(figure)})", ""] if figure else []
    parts = [_section_lines(results.title(each), each) for each in results.sections]
    if results.of_model:
        verdict = results.of_model.verdict
        parts.insert(0, [f"## The model: {verdict.verdict}", "", verdict.sentence, ""])
    first, *others = parts
    lines = [*first, *picture, *(line for part in others for line in part)]
    lines += ["Browsers follow no link from a server's page to a file: copy these.", ""]
    lines.append(f"- Report: `{file_address(report)}`")
    lineage = paths.lineage_page
    there = f"`{file_address(lineage)}`" if lineage.exists() else "`gatehouse docs` writes its page"
    return "\n".join([*lines, f"- Lineage: {there}"])


def _section_lines(title: str, section: Assessment) -> list[str]:
    criteria = [
        f"- {'✓' if each.met else '✗'} {each.name}: {each.found}; needs {each.demand}"
        for each in section.validation.criteria
    ]
    return [f"## {title}: {section.validation.verdict}", "", *criteria, "", section.strength, ""]


def as_data(figure: Path) -> str:
    """Return a figure as a data: URI of a small PNG."""
    from PIL import Image

    with Image.open(figure) as image:
        height = max(1, round(image.height * WIDTH / image.width))
        small = image.convert("RGB").resize((WIDTH, height)).quantize(COLOURS)
    buffer = io.BytesIO()
    small.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _row(section: Assessment) -> dict[str, str]:
    validation = section.validation
    rho = validation.correlation.spearman
    return {
        "Layer": str(section.layer),
        "Verdict": validation.verdict,
        RHO: "undefined" if rho is None else CORRELATION.text(rho),
        "p (Holm)": p_text(section.evidence.holm_log10_p),
        "Low entropy": LOW_ENTROPY.text(validation.entropy.low_entropy_share),
        "Coverage": COVERAGE.text(validation.fast_path.coverage),
        "Evidence": section.strength,
    }
