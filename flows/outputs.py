"""What a run leaves for people, in one folder; with `--layer all`, it has a folder per layer.

results/RUN/routing_stats.parquet .csv · analysis_summary.txt · validation_report.txt .json
results/RUN/figures/*.png *.pdf · report.html      (all: results/RUN/layer-N/figures/…)
"""

import os
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import pandas as pd

from flows.console import bar, shown
from flows.request import Selection
from reports import outputs, queries, tables
from reports.analysis import Marts
from reports.assessment import Assessment, RunAssessment, Thresholds, assess_run, assess_table
from reports.findings import document, findings
from reports.report_text import report_text
from reports.run_page import Links, RunPage
from reports.statistics import Blocks
from warehouse.connect import connect
from warehouse.paths import Paths


@dataclass(frozen=True)
class RunResults:
    """A run in the marts, with an assessment of each MoE layer that was asked for."""

    run: dict[str, Any]
    marts: Marts
    assessed: RunAssessment


@dataclass(frozen=True)
class Results:
    """What was assessed, and where it goes: `table` is the parquet file of the statistics.

    `sections` are the layers asked for, or a file; `of_run` is None for a file.
    """

    folder: Path
    table: Path
    sections: list[Assessment]
    name: str
    of_run: RunResults | None = None

    @property
    def model(self) -> Assessment | None:
        """The average over the layers, if several were asked for."""
        return self.of_run.assessed.model if self.of_run and len(self.sections) > 1 else None

    @property
    def supported(self) -> bool:
        """Whether the last verdict of the report is SUPPORTED: the model's, or the only one."""
        return (self.model or self.sections[-1]).validation.supported

    @property
    def report_text(self) -> str:
        """The validation report; for several layers, one after another."""
        every = [*self.sections, *([self.model] if self.model else [])]
        return "\n".join(report_text(each, [self.title(each)]) for each in every)

    def title(self, section: Assessment) -> str:
        """Return what a section is about."""
        if section.layer is not None:
            return f"{self.name}, MoE layer {section.layer}"
        return f"{self.name}, average of all MoE layers" if self.of_run else self.name

    def subfolder(self, section: Assessment, folder: Path) -> Path:
        """Return the folder that takes one layer's figures."""
        return folder if len(self.sections) == 1 else folder / f"layer-{section.layer}"


def open_results(
    selection: Selection, paths: Paths, output: Path | None = None, *, every_layer: bool = True
) -> Results:
    """Read what the selection names, from the warehouse or a file, and assess it.

    Args:
        selection: a run (the latest unless named) or a file, its layer, the thresholds.
        paths: the warehouse.
        output: a folder, or a .parquet file whose folder takes everything else.
        every_layer: assess all layers of a run, which the page and the figures need.

    Raises:
        GatehouseError: no such run, layer or file, or nothing in it that can be used.
    """
    thresholds = Thresholds(selection.frequency_threshold, selection.entropy_threshold)
    if selection.input:
        return _of_file(selection.input, selection.layer, thresholds)
    with closing(connect(paths)) as connection:
        run_id = queries.resolve_run(connection, selection.run_id)
        queries.check_layer(connection, run_id, selection.layer)
        alone = None if every_layer or selection.layer is None else [selection.layer]
        of_run = assess(connection, run_id, thresholds, alone)
    sections = [each for each in of_run.assessed.layers if selection.layer in (None, each.layer)]
    target = output or paths.results(run_id)
    if target.suffix == ".parquet":
        return Results(target.parent, target, sections, run_id, of_run)
    table = target / "routing_stats.parquet"
    return Results(target, table, sections, run_id, of_run)


def assess(
    connection: duckdb.DuckDBPyConnection,
    run_id: str,
    thresholds: Thresholds,
    chosen: list[int] | None = None,
) -> RunResults:
    """Read a run from the marts and assess its chosen MoE layers, or all."""

    marts = queries.marts(connection, run_id)
    total = len(marts.layers) if chosen is None else len(chosen)
    with bar("assessing MoE layers", total) as moved:
        read = 0

        def blocks_of(layer: int) -> Blocks:
            nonlocal read
            moved(read)
            read += 1
            rows = queries.block_routing(connection, run_id, layer)
            return Blocks.of_rows(*(rows[name] for name in rows.columns))

        assessed = assess_run(marts, blocks_of, thresholds, chosen)
    return RunResults(queries.run_summary(connection, run_id), marts, assessed)


def write_tables(results: Results, paths: Paths) -> list[Path]:
    """Write routing_stats .parquet and .csv, and analysis_summary.txt, of a run."""
    assert results.of_run is not None, "a file has its table already"
    run, first = results.of_run.run, results.sections[0]
    layer = first.layer if len(results.sections) == 1 else None
    with closing(connect(paths)) as connection:
        statistics = queries.routing_statistics(connection, run["run_id"], layer)
    summary = outputs.write_summary(run, results.of_run.marts.layers, first, results.folder)
    return [*tables.write_statistics(statistics, results.table), summary]


def write_validation(results: Results, output: Path | None = None) -> list[Path]:
    """Write validation_report.txt and validation.json; for a file only if `output` is given."""
    if output is None and results.of_run is None:
        return []
    source = results.of_run.run if results.of_run else {"file": str(results.table)}
    content = document(results.sections, results.model, source)
    return outputs.write_validation(results.report_text, content, output or results.folder)


def write_figures(results: Results, folder: Path | None = None) -> dict[str, Path]:
    """Draw the run's figures and every section's; return name -> PNG of those in one folder.

    Args:
        results: what was assessed.
        folder: where the figures go; default: `figures` in the results.
    """
    drawn: dict[str, Path] = {}
    for section in results.sections:
        place = results.subfolder(section, folder or results.folder)
        target = place if folder else place / "figures"
        drawn = outputs.write_figures(section, results.title(section), target)
    if of_run := results.of_run:
        drawn |= outputs.write_run_figures(
            of_run.run,
            of_run.marts,
            findings(of_run.assessed),
            folder or results.folder / "figures",
        )
    return drawn


def write_page(
    results: Results, figures: dict[str, Path], paths: Paths, output: Path | None = None
) -> Path:
    """Write the HTML page of a run, which shows every layer; return its file."""
    assert results.of_run is not None, "a page needs a run"
    target = output or results.folder
    target = target if target.suffix == ".html" else target / "report.html"
    lineage = paths.lineage_page
    links = Links(
        lineage=_link(lineage, target) if lineage.exists() else None,
        figures={stem: _link(path, target) for stem, path in figures.items()},
        layer=results.sections[0].layer or 0,
    )
    return outputs.write_page(page_of(results.of_run), links, target)


def _link(path: Path, page: Path) -> str:
    """Return the path from a page to a file, quoted for a link."""
    return quote(os.path.relpath(path.resolve(), page.parent.resolve()))


def page_of(of_run: RunResults) -> RunPage:
    """Return a run in the form that its page takes."""
    layers, model = of_run.assessed.layers, of_run.assessed.model
    tokens = pd.concat([each.frame for each in layers], ignore_index=True)
    return RunPage(
        run=of_run.run,
        marts=replace(of_run.marts, tokens=tokens),
        findings=findings(of_run.assessed),
        validations=[each.validation for each in layers],
        model_validation=model.validation,
        sentences=[each.strength for each in layers],
        model_sentence=model.strength,
        advice=[list(each.advice) for each in layers],
    )


def markdown(results: Results, page: Path) -> str:
    """Return the verdict as Markdown, for Prefect's artifact."""
    lines = []
    for section in results.sections:
        lines += [f"# {results.title(section)}: {section.validation.verdict}", ""]
        lines += [f"- {criterion.found}" for criterion in section.validation.criteria]
        lines += ["", section.strength, ""]
    return "\n".join([*lines, f"Report: `{page}`"])


def closing_text(results: Results, page: Path) -> str:
    """Return what a run ends with on the terminal: the findings, and where the report is."""
    return f"{results.report_text}\nReport: {shown(page)}"


def _of_file(path: Path, layer: int | None, thresholds: Thresholds) -> Results:
    table = tables.read_statistics(path, layer)
    section = assess_table(table.frame, thresholds, table.layer, table.excluded_rows)
    return Results(path.parent, path, [section], path.name)
