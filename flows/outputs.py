"""What a run leaves for people, in one folder; with `--layer all`, a folder a layer in it.

results/RUN/routing_stats.parquet .csv · analysis_summary.txt · validation_report.txt
results/RUN/figures/*.png · report.html          (all: results/RUN/layer-N/…)
"""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from flows.console import shown
from flows.request import Selection
from reports import outputs, queries, tables
from reports.analysis import Analysis
from reports.hypothesis import Validation, report_text, validate
from warehouse.connect import connect
from warehouse.paths import Paths


@dataclass(frozen=True)
class Section:
    """One validated MoE layer; of a file there is no analysis of a run."""

    name: str
    frame: pd.DataFrame
    validation: Validation
    analysis: Analysis | None = None


@dataclass(frozen=True)
class Results:
    """What was validated, and where it goes: `table` is the parquet file of the statistics."""

    folder: Path
    table: Path
    statistics: pd.DataFrame
    sections: list[Section]

    @property
    def report_text(self) -> str:
        """The validation report, one after another where there are several layers."""
        return "\n".join(report_text(part.validation, [part.name]) for part in self.sections)

    def subfolder(self, section: Section, folder: Path) -> Path:
        """Return the folder that takes one layer's figures and page."""
        if len(self.sections) == 1 or section.analysis is None:
            return folder
        return folder / f"layer-{section.analysis.layer}"


def open_results(selection: Selection, paths: Paths, output: Path | None = None) -> Results:
    """Read what the selection names, from the warehouse or a file, and validate it.

    Args:
        selection: a run (the latest unless named) or a file, its layer, the thresholds.
        paths: the warehouse.
        output: a folder, or a .parquet file whose folder takes everything else.

    Raises:
        GatehouseError: no such run, layer or file, or nothing in it that can be used.
    """
    if selection.input:
        return _of_file(selection, selection.input)
    with closing(connect(paths)) as connection:
        run_id = queries.resolve_run(connection, selection.run_id)
        if selection.layer is None:
            every_layer = map(int, queries.layers(connection, run_id)["moe_index"])
            analyses = [queries.analysis(connection, run_id, layer) for layer in every_layer]
            statistics = queries.routing_statistics(connection, run_id, None)
        else:
            analyses = [queries.analysis(connection, run_id, selection.layer)]
            statistics = analyses[0].frame
    sections = [
        Section(
            each.name, each.frame, _validate(each.frame, selection, each.special_token_ids), each
        )
        for each in analyses
    ]
    target = output or paths.results(run_id)
    if target.suffix == ".parquet":
        return Results(target.parent, target, statistics, sections)
    return Results(target, target / "routing_stats.parquet", statistics, sections)


def write_tables(results: Results) -> list[Path]:
    """Write routing_stats .parquet and .csv, and analysis_summary.txt."""
    written = [*tables.write_statistics(results.statistics, results.table)]
    if analysis := results.sections[0].analysis:
        written.append(outputs.write_summary(analysis, results.folder))
    return written


def write_validation(results: Results, output: Path | None = None) -> list[Path]:
    """Write validation_report.txt; of a file only where `output` says."""
    if output is None and results.sections[0].analysis is None:
        return []
    return [outputs.write_validation(results.report_text, output or results.folder)]


def write_figures(results: Results, folder: Path | None = None) -> list[dict[str, Path]]:
    """Draw every section's figures, into `folder` where one is given; return name -> file."""
    return [
        outputs.write_figures(
            section.frame,
            section.validation,
            section.name,
            results.subfolder(section, folder)
            if folder
            else results.subfolder(section, results.folder) / "figures",
        )
        for section in results.sections
    ]


def write_page(
    results: Results, figures: list[dict[str, Path]], output: Path | None = None
) -> Path:
    """Write the HTML page of every section of a run from its figures; return the first."""
    pages = []
    for section, drawn in zip(results.sections, figures, strict=True):
        assert section.analysis is not None, "a page needs a run"
        target = results.subfolder(section, results.folder)
        if output:
            several = len(results.sections) > 1
            stem = f"{output.stem}-layer-{section.analysis.layer}" if several else output.stem
            target = output.with_name(f"{stem}.html")
        pages.append(outputs.write_page(section.analysis, section.validation, drawn, target))
    return pages[0]


def markdown(results: Results, page: Path) -> str:
    """Return the verdict as Markdown, for Prefect's artifact."""
    lines = []
    for section in results.sections:
        lines += [f"# {section.name}: {section.validation.verdict}", ""]
        lines += [f"- {criterion.found}" for criterion in section.validation.criteria]
        lines.append("")
    return "\n".join([*lines, f"Report: `{page}`"])


def closing_text(results: Results, page: Path) -> str:
    """Return what a run ends with on the terminal: the findings, and where the report is."""
    return f"{results.report_text}\nReport: {shown(page)}"


def _of_file(selection: Selection, path: Path) -> Results:
    table = tables.read_statistics(path, selection.layer)
    name = path.name if table.layer is None else f"{path.name}, MoE layer {table.layer}"
    validation = _validate(table.frame, selection, None, table.excluded_rows)
    return Results(path.parent, path, table.frame, [Section(name, table.frame, validation)])


def _validate(
    frame: pd.DataFrame, selection: Selection, special: set[int] | None, excluded: int = 0
) -> Validation:
    return validate(
        frame,
        frequency_threshold=selection.frequency_threshold,
        entropy_threshold=selection.entropy_threshold,
        excluded_rows=excluded,
        special_token_ids=special,
    )
