"""The files of a results folder: one function writes one step's, each file whole or not at all.

results/RUN/routing_stats.parquet, routing_stats.csv     tables.write_statistics
results/RUN/analysis_summary.txt                         write_summary
results/RUN/validation_report.txt                        write_validation
results/RUN/figures/frequency_vs_entropy.png …           write_figures
results/RUN/report.html                                  write_page
"""

import io
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from reports.analysis import Analysis
from reports.hypothesis import Validation
from reports.summary import summary_text
from reports.tables import usable_rows
from warehouse.lake import write_atomically

PRINT_DPI = 300
PAGE_WIDTH = 1300
"""Pixels: the page's figures are reduced to this width, a little over its widest column."""


def write_summary(analysis: Analysis, target: Path) -> Path:
    """Write `analysis_summary.txt`; `target` is a folder, or the file's own name (.txt)."""
    return _write_text(_named(target, "analysis_summary.txt"), summary_text(analysis))


def write_validation(text: str, target: Path) -> Path:
    """Write `validation_report.txt`; `target` is a folder, or the file's own name (.txt)."""
    return _write_text(_named(target, "validation_report.txt"), text)


def write_figures(
    frame: pd.DataFrame, validation: Validation, run: str, folder: Path
) -> dict[str, Path]:
    """Draw the four figures into `folder` as PNG of 300 DPI; return stem -> path.

    Args:
        frame: the per-token statistics that were validated.
        validation: of the same table.
        run: names the run and the layer, or the file, in the figures' captions.
        folder: made if it is missing.
    """
    # matplotlib takes a second to import: only those who draw pay for it
    from reports.figures import FIGURES

    usable, _ = usable_rows(frame)
    paths = {stem: folder / f"{stem}.png" for stem in FIGURES}
    for stem, draw in FIGURES.items():
        write_atomically(paths[stem], partial(_save, draw(usable, validation, run)))
    return paths


def write_page(
    analysis: Analysis, validation: Validation, figures: dict[str, Path], target: Path
) -> Path:
    """Write `report.html`; `target` is a folder, or the file's own name (.html).

    Args:
        analysis: what was run.
        validation: of the analysis' own frame.
        figures: what `write_figures` returned for it.
        target: where to write.
    """
    from reports.page import render

    images = {stem: reduced(path) for stem, path in figures.items()}
    return _write_text(_named(target, "report.html"), render(analysis, validation, images))


def reduced(path: Path) -> bytes:
    """Return the PNG file's image as PNG of at most PAGE_WIDTH pixels in width."""
    from PIL import Image

    with Image.open(path) as file:
        image = file.convert("RGB")
        image.thumbnail((PAGE_WIDTH, 10 * PAGE_WIDTH), Image.Resampling.LANCZOS)
        content = io.BytesIO()
        image.save(content, format="PNG")
    return content.getvalue()


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, format="png", dpi=PRINT_DPI)


def _named(target: Path, name: str) -> Path:
    return target if target.suffix == Path(name).suffix else target / name


def _write_text(path: Path, text: str) -> Path:
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return path
