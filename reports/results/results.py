"""`Results`: what is selected, opened from the warehouse or a file, and assessed."""

from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import duckdb

from gatehouse.reports.marts import (
    block_routing,
    check_layer,
    read_marts,
    resolve_run,
    run_summary,
    untold_by_run,
)
from gatehouse.reports.marts.facts import run_title
from gatehouse.reports.marts.untold import A_VERDICT
from gatehouse.reports.results.model_text import model_text
from gatehouse.reports.results.replay_text import measured_lines
from gatehouse.reports.results.report_text import report_text
from gatehouse.reports.results.routing_stats import read_statistics
from gatehouse.reports.results.selection import Selection
from gatehouse.reports.statistics import Blocks
from gatehouse.reports.verdict.assessment import Assessment, assess_run, assess_table
from gatehouse.reports.verdict.findings import AssessedRun
from gatehouse.reports.verdict.thresholds import Thresholds
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.notes.readings import reading_of
from gatehouse.warehouse.notes.run_names import name_of
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.reserved import check_output, check_output_folder

Bar = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]
"""`with bar(what, total) as moved: moved(done)` shows progress, wherever that is."""

FILES = (".parquet", ".txt", ".html")
"""Suffixes of what names a file of results; all other names are folders."""

MADE_HERE = (
    "routing_stats.parquet",
    "validation_report.txt",
    "report.html",
    "figures",
    "frequency_vs_entropy.png",
    "layer-*",
)
"""What a folder of results, or of figures, holds."""


@dataclass(frozen=True)
class Results:
    """What was assessed, and where it goes: `table` is the parquet file of the statistics.

    `sections` are the layers asked for, or a file; there are none of a run whose source does not
    tell what a verdict needs. `of_run` is None for a file. `kept` says whether the run is still in
    the lake: it may be removed while its results are written. `first_layer` is the one that the
    page shows first.
    """

    folder: Path
    table: Path
    sections: list[Assessment]
    name: str
    of_run: AssessedRun | None = None
    kept: Callable[[], bool] = lambda: True
    first_layer: int = 0

    @property
    def of_model(self) -> AssessedRun | None:
        """The run, if several of its layers were asked for: then the verdict is the model's."""
        return self.of_run if len(self.sections) > 1 else None

    @property
    def supported(self) -> bool:
        """Whether the last verdict of the report is SUPPORTED: the model's, or the only one."""
        if self.of_model:
            return self.of_model.verdict.supported
        return self.sections[-1].validation.supported

    @property
    def report_text(self) -> str:
        """The validation report; for several layers, one after another, and the model's verdict."""
        measured = self._measured
        texts = [report_text(each, [self.title(each)], measured) for each in self.sections]
        if self.of_model:
            texts.append(model_text(self.of_model, self.name, measured))
        return "\n".join(texts)

    def shown(self, full_report: str) -> str:
        """Return what a terminal shows: the report, or a row for each layer and the verdict.

        Args:
            full_report: the file that holds the report of each layer.
        """
        if self.of_model is None:
            return self.report_text
        text = model_text(self.of_model, self.name, self._measured)
        return f"{text}\nEvery layer in full: {full_report}\n"

    @property
    def _measured(self) -> list[str]:
        """Sentences on what lookup tables cost the model, of a run that was replayed."""
        if self.of_run is None or not self.sections:
            return []
        return measured_lines(self.of_run.marts, self.sections[0].validation.thresholds)

    def title(self, section: Assessment) -> str:
        """Return what a section is about."""
        return self.name if section.layer is None else f"{self.name}, MoE layer {section.layer}"

    def subfolder(self, section: Assessment, folder: Path) -> Path:
        """Return the folder that takes one layer's figures."""
        return folder if len(self.sections) == 1 else folder / f"layer-{section.layer}"


def open_results(
    selection: Selection,
    paths: Paths,
    bar: Bar,
    output: Path | None = None,
    *,
    every_layer: bool = True,
    assessed: bool = True,
    instead: Path | None = None,
) -> Results:
    """Read what the selection names, from the warehouse or a file, and assess it.

    Args:
        selection: a run (the latest unless named) or a file, its layer, the thresholds.
        paths: the warehouse.
        bar: shows how far it is.
        output: a folder, or a .parquet file whose folder takes everything else.
        every_layer: assess all layers of a run, which the page and the figures need.
        assessed: otherwise read a run and assess no layer, as if its source told no verdict.
        instead: what the caller will write into instead of the results' folder.

    Raises:
        GatehouseError: no such run, layer or file, nothing in it that can be used, or `output` or
            `instead` may not be written.
    """
    if selection.input:
        check_results(instead, paths)
        return _of_file(selection.input, selection.layer, selection.thresholds)
    lake = Lake(paths.lake)
    # before the marts are read: they have a run for as long as something of it is in the lake
    there = lake.run_ids()
    with closing(connect(paths)) as connection:
        run_id = resolve_run(connection, selection.run_id)
        check_layer(connection, run_id, selection.layer)
        for each in (output, instead):
            check_results(each, paths, paths.results(run_id))
        target = output or paths.results(run_id)
        folder, table = target, target / "routing_stats.parquet"
        if target.suffix == ".parquet":
            folder, table = target.parent, target
        # of marts without a lake nothing is removed, and other folders are the user's
        own = folder.resolve() == paths.results(run_id).resolve()
        mine, runs = own and run_id in there, lake.folder("runs", run_id)
        kept = partial(lake.storage.is_there, runs) if mine else lambda: True
        if not kept():
            raise GatehouseError(
                f"{run_id} is being removed: `gatehouse runs rm {run_id}` goes on with that, and "
                "`gatehouse status` lists the other runs"
            )
        alone = None if every_layer or selection.layer is None else [selection.layer]
        alone = alone if assessed else []
        of_run = assess(connection, run_id, paths, selection.thresholds, bar, alone)
    sections = [each for each in of_run.layers if selection.layer in (None, each.layer)]
    name, first = run_title(of_run.run), selection.layer or 0
    return Results(folder, table, sections, name, of_run, kept, first)


def check_results(target: Path | None, paths: Paths, own: Path | None = None) -> None:
    """Refuse a file or folder for results that would take something from the warehouse or others.

    Args:
        target: what a user names, a file if it ends as one of FILES; None: the run's own results.
        paths: the warehouse.
        own: what of the warehouse may be written: the run's results, or those of all runs.

    Raises:
        GatehouseError: it may not be written.
    """
    if target is None:
        return
    if target.suffix not in FILES or target.is_dir():
        check_output_folder(target, MADE_HERE, paths, own)
        return
    check_output(target, paths, own)
    if target.suffix == ".parquet":
        # its folder takes everything else
        for each in (target.parent, target.parent / "figures"):
            check_output(each, paths, own)


def assess(
    connection: duckdb.DuckDBPyConnection,
    run_id: str,
    paths: Paths,
    thresholds: Thresholds,
    bar: Bar,
    chosen: list[int] | None = None,
) -> AssessedRun:
    """Read a run from the marts and assess its chosen MoE layers, or all, if that is possible.

    Of none there are no assessments, as of a run whose source does not tell what they need.
    """
    marts = read_marts(connection, run_id)
    reading = reading_of(paths.lake, run_id)
    run = run_summary(connection, run_id) | {
        "name": name_of(paths.lake, run_id),
        "files_opened": reading.files_opened,
        "files_left_out": reading.files_left_out,
    }
    untold = untold_by_run(connection)[run_id]
    if chosen == [] or A_VERDICT.intersection(untold):
        return AssessedRun(run, marts, [], None, untold)
    total = len(marts.layers) if chosen is None else len(chosen)
    with bar("assessing MoE layers", total) as moved:
        read = 0

        def blocks_of(layer: int) -> Blocks:
            nonlocal read
            moved(read)
            read += 1
            rows = block_routing(connection, run_id, layer)
            return Blocks.of_rows(*(rows[name] for name in rows.columns))

        layers, average = assess_run(marts, blocks_of, thresholds, chosen)
    return AssessedRun(run, marts, layers, average, untold)


def _of_file(path: Path, layer: int | None, thresholds: Thresholds) -> Results:
    table = read_statistics(path, layer)
    section = assess_table(table.frame, thresholds, table.layer, table.excluded)
    return Results(path.parent, path, [section], path.name)
