"""What a run leaves for people, in one folder; with `--layer all`, one folder a layer beside it.

results/RUN/routing_stats.parquet .csv · analysis_summary.txt · validation_report.txt
results/RUN/figures/*.png · report.html          (all: results/RUN/layer-N/…)
"""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from flows.request import Selection
from reports import outputs, queries, tables
from reports.hypothesis import Validation, report_text, validate
from warehouse.connect import connect
from warehouse.lake import write_atomically
from warehouse.paths import Paths


@dataclass(frozen=True)
class Section:
    """One validated MoE layer; `layer` is None for a file that does not say."""

    layer: int | None
    name: str
    frame: pd.DataFrame
    validation: Validation


@dataclass(frozen=True)
class Results:
    """What is known of a run (or of a file: then `run` is empty) and where its results go.

    `table` is the parquet file of the statistics, `statistics` what it holds.
    """

    folder: Path
    table: Path
    run: dict[str, Any]
    layers: pd.DataFrame
    statistics: pd.DataFrame
    sections: list[Section]

    @property
    def report_text(self) -> str:
        """The validation report, one after another where there are several layers."""
        return "\n".join(
            report_text(section.validation, [section.name]) for section in self.sections
        )


def open_results(selection: Selection, paths: Paths, output: Path | None = None) -> Results:
    """Read what the selection names, from the warehouse or a file, and validate it.

    Args:
        output: a folder, or a .parquet file whose folder takes everything else.

    Raises:
        GatehouseError: no such run, layer or file, or nothing in it that can be used.
    """
    if selection.input:
        return _of_file(selection, selection.input, output)
    with closing(connect(paths)) as connection:
        run_id = queries.resolve_run(connection, selection.run_id)
        layers = queries.layers(connection, run_id)
        chosen = [selection.layer]
        if selection.layer is None:
            chosen = [int(index) for index in layers["moe_index"]]
        special = queries.special_token_ids(connection, run_id)
        statistics = queries.routing_statistics(connection, run_id, selection.layer)
        sections = [
            Section(
                index,
                f"{run_id}, MoE layer {index}",
                frame := queries.routing_statistics(connection, run_id, index),
                _validate(frame, selection, special),
            )
            for index in chosen
        ]
        run = queries.run_summary(connection, run_id)
    folder, table = _targets(output or paths.results(run_id))
    return Results(folder, table, run, layers, statistics, sections)


def write_tables(results: Results) -> list[Path]:
    """Write routing_stats .parquet and .csv, and analysis_summary.txt."""
    first = results.sections[0]
    summary = outputs.write_summary(
        results.run, results.layers, first.frame, first.layer or 0, results.folder
    )
    return [*tables.write_statistics(results.statistics, results.table), summary]


def write_validation(results: Results, output: Path | None = None) -> list[Path]:
    """Write validation_report.txt; of a file only where `output` says."""
    if output is None and not results.run:
        return []
    return [_write(output or results.folder / "validation_report.txt", results.report_text)]


def write_figures(results: Results, folder: Path | None = None) -> list[dict[str, Path]]:
    """Draw every section's figures, into `folder` where one is given; return name -> file."""
    return [
        outputs.write_figures(
            section.frame,
            section.validation,
            section.name,
            _figures_folder(results, section, folder),
        )
        for section in results.sections
    ]


def write_page(
    results: Results, figures: list[dict[str, Path]], output: Path | None = None
) -> Path:
    """Write the HTML page of every section from its figures; return the first."""
    pages = [
        outputs.write_page(
            results.run,
            results.layers,
            section.frame,
            section.validation,
            section.layer or 0,
            drawn,
            _page_target(results, section, output),
        )
        for section, drawn in zip(results.sections, figures, strict=True)
    ]
    return pages[0]


def markdown(results: Results, page: Path) -> str:
    """Return the verdict as Markdown, for Prefect's artifact."""
    lines = [f"# {results.run['run_id']}", ""]
    for section in results.sections:
        lines += [f"**{section.name}: {section.validation.verdict}**", ""]
        lines += [f"- {criterion.found}" for criterion in section.validation.criteria]
        lines.append("")
    return "\n".join([*lines, f"Report: `{page}`"])


def closing_text(results: Results, page: Path) -> str:
    """Return what a run ends with on the terminal: the findings, and where the report is."""
    return f"{results.report_text}\nReport: {page}"


def _of_file(selection: Selection, path: Path, output: Path | None) -> Results:
    table = tables.read_statistics(path, selection.layer)
    validation = _validate(table.frame, selection, None, table.excluded_rows)
    name = path.name if table.layer is None else f"{path.name}, MoE layer {table.layer}"
    section = Section(table.layer, name, table.frame, validation)
    folder, _ = _targets(output or path.parent)
    return Results(folder, path, {}, pd.DataFrame(), table.frame, [section])


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


def _targets(output: Path) -> tuple[Path, Path]:
    if output.suffix == ".parquet":
        return output.parent, output
    return output, output / "routing_stats.parquet"


def _figures_folder(results: Results, section: Section, folder: Path | None) -> Path:
    several = len(results.sections) > 1
    if folder:
        return folder / f"layer-{section.layer}" if several else folder
    return _layer_folder(results, section) / "figures"


def _layer_folder(results: Results, section: Section) -> Path:
    several = len(results.sections) > 1
    return results.folder / f"layer-{section.layer}" if several else results.folder


def _page_target(results: Results, section: Section, output: Path | None) -> Path:
    if output is None:
        return _layer_folder(results, section)
    several = len(results.sections) > 1
    return output.with_stem(f"{output.stem}-layer-{section.layer}") if several else output


def _write(path: Path, text: str) -> Path:
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return path
