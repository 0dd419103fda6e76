"""The files of a results folder: one function writes one step's, each file whole or not at all.

results/RUN/routing_stats.parquet, .csv, analysis_summary.txt     write_tables
results/RUN/validation_report.txt, validation.json                write_validation
results/RUN/figures/frequency_vs_entropy.png, .pdf …              write_figures
results/RUN/report.html                                           write_page
results/RUN-and-RUN.html                                          write_comparison

Where several layers are asked for, the figures of each are in results/RUN/layer-N.
"""

import os
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gatehouse.reports.marts import Pair, routing_statistics
from gatehouse.reports.marts.untold import has_none, nothing_to_validate
from gatehouse.reports.results.beside import files_beside, layer_figures
from gatehouse.reports.results.document import document
from gatehouse.reports.results.replay_text import measured_rows
from gatehouse.reports.results.results import Results
from gatehouse.reports.results.routing_stats import write_statistics
from gatehouse.reports.results.summary import summary_text
from gatehouse.reports.results.texts import texts_of
from gatehouse.reports.verdict.assessment import Assessment
from gatehouse.reports.verdict.findings import AssessedRun
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import remove_folder, write_atomically
from gatehouse.warehouse.paths import Paths

PAGE = "report.html"


@contextmanager
def _gone_with_its_run(results: Results) -> Iterator[None]:
    """Let results go if their run was removed while they were written in the block.

    Whichever comes last of the removal and this, the run's own folder is gone.

    Raises:
        GatehouseError: the run was removed.
    """
    try:
        yield
    finally:
        if not results.kept():
            remove_folder(results.folder)
            raise GatehouseError(
                f"{results.folder.name} was removed meanwhile, and its results with it: capture it "
                "again, or name another run"
            )


def write_tables(results: Results, paths: Paths, *, spreadsheet_safe: bool = False) -> list[Path]:
    """Write routing_stats .parquet and .csv, and analysis_summary.txt, of a run.

    Args:
        results: what was assessed.
        paths: the warehouse.
        spreadsheet_safe: write the CSV for a spreadsheet (`write_statistics`).
    """
    assert results.of_run is not None, "a file has its table already"
    run, first = results.of_run.run, results.sections[0]
    layer = first.layer if len(results.sections) == 1 else None
    with closing(connect(paths)) as connection:
        statistics = routing_statistics(connection, run["run_id"], layer)
    text = summary_text(run, results.of_run.marts.layers, first.frame, first.layer or 0)
    with _gone_with_its_run(results):
        summary = _write_text(results.folder / "analysis_summary.txt", text)
        written = write_statistics(statistics, results.table, spreadsheet_safe=spreadsheet_safe)
    return [*written, summary]


def write_validation(results: Results, output: Path | None = None) -> list[Path]:
    """Write validation_report.txt and, for machines, validation.json.

    Args:
        results: what was assessed; of a file nothing is written unless `output` says where.
        output: a folder, or the report's own name (.txt), beside which lies a .json.

    Raises:
        GatehouseError: the run's source does not tell what a verdict needs.
    """
    if results.of_run and not results.sections:
        raise GatehouseError(nothing_to_validate(results.of_run.run, results.of_run.untold))
    if output is None and results.of_run is None:
        return []
    source = results.of_run.run if results.of_run else {"file": str(results.table)}
    replays = measured_rows(results.of_run.marts) if results.of_run else []
    content = document(results.sections, results.of_model, source, replays)
    report = _named(output or results.folder, "validation_report.txt")
    beside = "validation.json" if report.name == "validation_report.txt" else f"{report.stem}.json"
    with _gone_with_its_run(results):
        return [
            _write_text(report, results.report_text),
            _write_text(report.with_name(beside), content),
        ]


def write_figures(results: Results, folder: Path | None = None) -> dict[str, Path]:
    """Draw the run's figures and every section's; return name -> PNG of those in one folder.

    Args:
        results: what was assessed.
        folder: takes the figures; default: `figures` in the results.
    """
    return write_section_figures(results, folder) | write_run_figures(results, folder)


def write_section_figures(results: Results, folder: Path | None = None) -> dict[str, Path]:
    """Draw the figures of every section, as `write_figures` does."""
    drawn: dict[str, Path] = {}
    with _gone_with_its_run(results):
        for section in results.sections:
            place = results.subfolder(section, folder or results.folder)
            target = place if folder else place / "figures"
            drawn = _draw_layer(section, results.title(section), target)
    return drawn


def write_run_figures(
    results: Results, folder: Path | None = None, stems: Container[str] | None = None
) -> dict[str, Path]:
    """Draw the figures of the run as a whole, or some of them, as `write_figures` does."""
    if results.of_run is None:
        return {}
    with _gone_with_its_run(results):
        return _draw_run(results.of_run, folder or results.folder / "figures", stems)


def left_out(results: Results) -> str | None:
    """Return a line that names the figures which the run's source does not tell enough for."""
    from gatehouse.reports.figures.gallery import cannot_be_drawn

    run = results.of_run
    if run is None or not (without := cannot_be_drawn(run)):
        return None
    return f"{has_none(run.run, run.untold)}; these figures are not drawn: {', '.join(without)}"


def write_page(
    results: Results,
    figures: dict[str, Path],
    paths: Paths,
    output: Path | None = None,
    sample_ids: Sequence[int] = (),
    focus: str | None = None,
) -> Path:
    """Write the HTML page of a run, which shows every layer; return its file.

    It links to the figures, to what lies in the results' folder and to the page of the lineage
    if there is one, by relative ways that outlive a move of the home.

    Args:
        results: what was assessed.
        figures: the PNG of each figure, to link to.
        paths: the warehouse.
        output: the page's file or folder; default: in the results.
        sample_ids: samples whose text it shows; default: some of each domain.
        focus: what it opens with: routing (the default), verdict or inference.

    Raises:
        GatehouseError: the run has no such sample, or its text cannot be read.
    """
    from gatehouse.reports.page.payload import Links
    from gatehouse.reports.page.report import render

    assert results.of_run is not None, "a page needs a run"
    target = _named(output or results.folder, PAGE)
    lineage = paths.lineage_page
    links = Links(
        lineage=link(lineage, target) if lineage.exists() else None,
        figures={
            name: link(path, target)
            for name, path in (figures | layer_figures(results.folder)).items()
        },
        files={
            what: {kind: link(path, target) for kind, path in kinds.items()}
            for what, kinds in files_beside(results.folder, target).items()
        },
        layer=results.first_layer,
    )
    of_run = results.of_run
    with _gone_with_its_run(results):
        texts = texts_of(of_run.run, of_run.marts.layers, of_run.untold, paths, sample_ids)
        return _write_text(target, render(of_run, links, texts, focus))


def page_of(run_id: str, paths: Paths) -> Path:
    """Return where `write_page` leaves a run's page by default."""
    return paths.results(run_id) / PAGE


def has_page(run_id: str, paths: Paths) -> bool:
    """Return whether a run's page lies there."""
    return page_of(run_id, paths).exists()


def write_comparison(
    sides: Sequence[AssessedRun],
    pairs: Mapping[tuple[int, int], Pair],
    left_out: Sequence[str],
    target: Path,
) -> Path:
    """Write the page that puts runs side by side.

    Args:
        sides: the runs.
        pairs: what each two of them have in common, by their places in `sides`.
        left_out: runs that were named and compare with none of these.
        target: the file to write.
    """
    from gatehouse.reports.page.runs.comparison import render_comparison

    return _write_text(target, render_comparison(sides, pairs, left_out))


def _draw_layer(section: Assessment, title: str, folder: Path) -> dict[str, Path]:
    # matplotlib takes a second to import: only those who draw pay for it
    from gatehouse.reports.figures.gallery import FIGURES

    bootstrap = section.evidence.bootstrap
    rho = bootstrap.spearman if bootstrap else None
    interval = (rho.low, rho.high) if rho else None
    return {
        stem: _save(draw(section.frame, section.validation, title, interval=interval), folder, stem)
        for stem, draw in FIGURES.items()
    }


def _draw_run(assessed: AssessedRun, folder: Path, stems: Container[str] | None) -> dict[str, Path]:
    from gatehouse.reports.figures.gallery import run_figures

    return {
        stem: _save(draw(assessed), folder, stem)
        for stem, draw in run_figures(assessed).items()
        if stems is None or stem in stems
    }


def link(path: Path, page: Path) -> str:
    """Return the way from a page to a file, as a link writes it."""
    return quote(os.path.relpath(path.resolve(), page.parent.resolve()))


def _save(figure: Any, folder: Path, stem: str) -> Path:
    """Write the figure as PNG for screens and as PDF for print; return the PNG."""
    png = folder / f"{stem}.png"
    # a PDF without its date is the same file every time
    for path, metadata in ((png, {}), (png.with_suffix(".pdf"), {"CreationDate": None})):
        write_atomically(path, partial(_draw, figure, path.suffix[1:], metadata))
    return png


def _draw(figure: Any, kind: str, metadata: dict[str, None], path: Path) -> None:
    from gatehouse.reports.figures.style import PRINT_DPI, style

    # the kind of fonts in a file, and the number of ticks, follow the settings when it is saved
    with style():
        figure.savefig(path, format=kind, dpi=PRINT_DPI, metadata=metadata)


def _named(target: Path, name: str) -> Path:
    return target if target.suffix == Path(name).suffix else target / name


def _write_text(path: Path, text: str) -> Path:
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return path
