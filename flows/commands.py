"""What each command does, as functions to import: everything but the parsing of options."""

import sys
from pathlib import Path
from typing import Any

from flows.request import RunRequest
from reports.selection import Selection
from warehouse.errors import GatehouseError
from warehouse.paths import Paths

SENTENCE = "Return the router that sends each token to its experts."


def run(**parameters: Any) -> str:
    """Run the whole pipeline as a Prefect flow and return what was found.

    Without PREFECT_API_URL Prefect runs its own server: offline, silent, in the warehouse's home.

    Args:
        parameters: those of `flows.pipeline.pipeline`.

    Raises:
        GatehouseError: bad input, or no result that can be trusted.
    """
    RunRequest(**parameters)  # a wrong parameter fails before a server starts
    from flows import serving

    return serving.run(parameters, Paths.resolve())


def prepare(request: RunRequest, folder: Path) -> str:
    """Prepare a dataset under `folder` and say what it holds."""
    from flows.capturing import prepare_samples
    from flows.console import counted

    prepared = prepare_samples(request, folder)
    broken = f"{prepared.skipped_broken:,} broken and " if prepared.skipped_broken else ""
    return (
        f"{counted(prepared.num_samples, 'sample')} of {prepared.dataset}, "
        f"{broken}{counted(prepared.skipped_empty, 'empty one')} skipped: {prepared.path}"
    )


def fetch(request: RunRequest, *, analyze_structure: bool = False, test: bool = False) -> str:
    """Download a model; or print its MoE structure from the config; or route a sentence."""
    from models.structure import analyze, download, route, weights_line
    from models.zoo import resolve

    plan = resolve(request.model, **request.loading)
    runs_in = plan.dtype if plan.quantization == "none" else f"{plan.quantization} and {plan.dtype}"
    lines = [f"{plan.name}  ({plan.config.model_type}, runs in {runs_in})"]
    if analyze_structure:
        lines.append(str(analyze(plan.skeleton)))
    else:
        lines.append(f"files          {download(plan)}")
    if test:
        loaded = plan.load()
        routed = route(loaded, SENTENCE)
        lines += [weights_line(loaded), "", f"{'token':<14}experts of MoE layers 0, 1, …"]
        lines += [f"{token!r:<14}{'  '.join(map(str, layers))}" for token, layers in routed]
    return "\n".join(lines)


def capture(request: RunRequest, paths: Paths) -> Any:
    """Prepare and capture one run into the lake; return its CaptureSummary."""
    from flows.capturing import CaptureSession, capture_run, prepare_samples
    from flows.identity import plan_model

    plan = plan_model(request)
    prepared = prepare_samples(request, paths.prepared)
    return capture_run(CaptureSession(request, plan, prepared, paths))


def build(paths: Paths) -> str:
    """Build and test the marts over the lake's finished runs."""
    from flows import building

    return building.build(paths)


def validate(selection: Selection, paths: Paths, output: Path | None = None) -> tuple[str, bool]:
    """Write the validation report; return its text, and whether its last verdict is SUPPORTED."""
    from flows.console import bar
    from reports import files
    from reports.results import open_results

    results = open_results(selection, paths, bar, every_layer=False)
    files.write_validation(results, output)
    return results.report_text, results.supported


def sweep(
    run_id: str | None, layer: int | None, paths: Paths, output: Path | None = None
) -> tuple[str, bool]:
    """Write the verdict at every pair of thresholds as CSV.

    Args:
        run_id: one run; None for all that the warehouse holds.
        layer: index among the MoE layers; None for all.
        paths: the warehouse.
        output: the file to write.

    Returns:
        A table of runs and layers, and whether any of them is SUPPORTED at any pair.

    Raises:
        GatehouseError: there is no such run or layer.
    """
    from flows.console import bar, shown
    from reports.every_run import sweep

    target = output or paths.sweep
    text, supported = sweep(run_id, layer, paths, bar, target)
    return f"{text}\n\n{shown(target)}", supported


def plot(selection: Selection, paths: Paths, folder: Path | None = None) -> list[Path]:
    """Draw the figures into a folder and return their files."""
    from flows.console import bar
    from reports import files
    from reports.results import open_results

    return list(files.write_figures(open_results(selection, paths, bar), folder).values())


def report(selection: Selection, paths: Paths, output: Path | None = None) -> Path:
    """Write the HTML report and return its file."""
    from flows.console import bar
    from reports import files
    from reports.results import open_results

    results = open_results(selection, paths, bar)
    return files.write_page(results, files.write_figures(results), paths, output)


def compare(
    run_ids: tuple[str, str],
    frequency_threshold: int,
    entropy_threshold: float,
    paths: Paths,
    output: Path | None = None,
) -> Path:
    """Write the HTML page that puts two runs side by side and return its file.

    Raises:
        GatehouseError: there are no such runs, or both names mean one run.
    """
    from flows.console import bar
    from reports import comparison
    from reports.thresholds import Thresholds

    thresholds = Thresholds(frequency_threshold, entropy_threshold)
    return comparison.compare(run_ids, thresholds, paths, bar, output)


def sql(
    text: str | None,
    paths: Paths,
    form: str | None = None,
    output: Path | None = None,
    *,
    external_access: bool = False,
) -> None:
    """Print one query's result, or write it to a file; without a query, open the shell.

    If standard input is not a terminal, statements are read from it instead.

    Args:
        text: one query.
        paths: the warehouse.
        form: table, csv, json, parquet or markdown; default: by the suffix of `output`.
        output: the file to write.
        external_access: statements may read and write files other than the lake's.

    Raises:
        GatehouseError: no such format or file, or a query that is not valid or fails.
    """
    from flows import tabular
    from warehouse.connect import connect, interruptible, query

    form = tabular.chosen_format(form, output)
    target = tabular.checked_output(output, paths) if output else None
    if text is None and sys.stdin.isatty():
        if target:
            raise GatehouseError('--output takes a query: gatehouse sql "select …" --output FILE')
        from flows import shell

        shell.interact(paths, form, external_access=external_access)
        return
    with connect(paths, external_access=external_access) as connection:
        if text is None and target is None:
            tabular.show_each(connection, sys.stdin.read(), form)
            return
        statement = sys.stdin.read() if text is None else text
        with interruptible(connection):
            relation = query(connection, statement)
            tabular.write(relation, form, target) if target else tabular.show(relation, form)


def sql_examples(
    names: list[str], paths: Paths, form: str | None = None, output: Path | None = None
) -> None:
    """List the library of example queries, or print the results of those named, or of `all`.

    Args:
        names: the examples to run; without any, the library is listed.
        paths: the warehouse.
        form: as for `sql`.
        output: the file for one example's result.

    Raises:
        GatehouseError: no such example, format or file, or several examples for one file.
    """
    from flows import examples, tabular
    from warehouse.connect import connect, interruptible

    form = tabular.chosen_format(form, output)
    if not names:
        print(examples.listing())
        return
    chosen = examples.chosen(names)
    if output and len(chosen) > 1:
        raise GatehouseError("--output takes the result of one example: name one")
    target = tabular.checked_output(output, paths) if output else None
    with connect(paths) as connection:
        if target:
            with interruptible(connection):
                tabular.write(chosen[0].run(connection), form, target)
            return
        for example in chosen:
            example.show(connection, form)


def docs(paths: Paths) -> str:
    """Write dbt's static documentation page and say where it is."""
    from flows import building

    return str(building.docs(paths))


def status(paths: Paths) -> str:
    """Return the lake's runs as a table, the latest last."""
    from flows import overview

    return overview.overview(paths)
