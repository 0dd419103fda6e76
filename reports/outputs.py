"""The files of a results folder: one function per step, each file written whole or not at all.

results/RUN/routing_stats.parquet, routing_stats.csv     tables.write_statistics
results/RUN/analysis_summary.txt                         write_summary
results/RUN/validation_report.txt, validation.json       write_validation
results/RUN/figures/frequency_vs_entropy.png, .pdf …     write_figures, write_run_figures
results/RUN/report.html                                  write_page
"""

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from reports.analysis import Findings, Marts
from reports.assessment import Assessment
from reports.run_page import Links, RunPage
from reports.summary import summary_text
from warehouse.files import write_atomically


def write_summary(
    run: dict[str, Any], layers: pd.DataFrame, section: Assessment, target: Path
) -> Path:
    """Write `analysis_summary.txt`; `target` is a folder, or the file's own name (.txt)."""
    text = summary_text(run, layers, section.frame, section.layer or 0)
    return _write_text(_named(target, "analysis_summary.txt"), text)


def write_validation(text: str, document: str, target: Path) -> list[Path]:
    """Write `validation_report.txt` and, for machines, `validation.json`.

    Args:
        text: the report.
        document: the same as JSON (`reports.findings.document`).
        target: a folder, or the report's own name (.txt); the .json is written beside it.
    """
    report = _named(target, "validation_report.txt")
    beside = "validation.json" if report.name == "validation_report.txt" else f"{report.stem}.json"
    return [_write_text(report, text), _write_text(report.with_name(beside), document)]


def write_figures(section: Assessment, run: str, folder: Path) -> dict[str, Path]:
    """Draw the four figures of a layer into `folder`; return stem -> PNG.

    Args:
        section: what was assessed.
        run: names the run and the layer, or the file, in the figures' captions.
        folder: made if it is missing.
    """
    # matplotlib takes a second to import: only callers that draw should pay for it
    from reports.figures import FIGURES

    bootstrap = section.evidence.bootstrap
    rho = bootstrap.spearman if bootstrap else None
    interval = (rho.low, rho.high) if rho else None
    return {
        stem: _save(draw(section.frame, section.validation, run, interval=interval), folder, stem)
        for stem, draw in FIGURES.items()
    }


def write_run_figures(
    run: dict[str, Any], marts: Marts, findings: Findings, folder: Path
) -> dict[str, Path]:
    """Draw the figures of a whole run into `folder`; return stem -> PNG.

    Args:
        run: the row of `dim_run`.
        marts: the run's frames.
        findings: what the statistics say of it.
        folder: made if it is missing.
    """
    from reports.run_figures import RUN_FIGURES

    return {
        stem: _save(draw(run, marts, findings), folder, stem) for stem, draw in RUN_FIGURES.items()
    }


def write_page(page: RunPage, links: Links, target: Path) -> Path:
    """Write `report.html`; `target` is a folder, or the file's own name (.html).

    Args:
        page: a run and what was found of it.
        links: the page's links, relative to it.
        target: where to write.
    """
    from reports.page import render

    return _write_text(_named(target, "report.html"), render(page, links))


def write_comparison(left: RunPage, right: RunPage, overlap: pd.DataFrame, target: Path) -> Path:
    """Write the page that puts two runs side by side.

    Args:
        left: one run.
        right: the other.
        overlap: their agreement on shared text, a row per MoE layer (`queries.run_overlap`).
        target: the file to write.
    """
    from reports.compare_page import render_comparison

    return _write_text(target, render_comparison(left, right, None if overlap.empty else overlap))


def _save(figure: Any, folder: Path, stem: str) -> Path:
    """Write the figure as PNG for screens and as PDF for print; return the PNG."""
    png = folder / f"{stem}.png"
    # a PDF without its date is the same file every time
    for path, metadata in ((png, {}), (png.with_suffix(".pdf"), {"CreationDate": None})):
        write_atomically(path, partial(_draw, figure, path.suffix[1:], metadata))
    return png


def _draw(figure: Any, kind: str, metadata: dict[str, None], path: Path) -> None:
    from reports.style import PRINT_DPI, style

    # the kind of fonts in a file, and the number of ticks, follow the settings when it is saved
    with style():
        figure.savefig(path, format=kind, dpi=PRINT_DPI, metadata=metadata)


def _named(target: Path, name: str) -> Path:
    return target if target.suffix == Path(name).suffix else target / name


def _write_text(path: Path, text: str) -> Path:
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return path
