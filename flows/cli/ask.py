"""Commands that ask the warehouse: validate, plot, report, sql, cache, placement, export, docs."""

import typer

from gatehouse.flows.cli import (
    export_options,
    inference_options,
    options,
    report_options,
    sql_options,
)
from gatehouse.flows.cli.options import paths_of
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.notes.run_names import find_run
from gatehouse.warehouse.paths import Paths


def validate(
    named: report_options.SameRun = None,
    input: report_options.Input = None,
    run: options.Run = None,
    layer: report_options.Layer = None,
    frequency_threshold: report_options.FrequencyThreshold = 50,
    entropy_threshold: report_options.EntropyThreshold = 0.5,
    sweep: report_options.Sweep = False,
    strict: report_options.Strict = False,
    output: report_options.ReportFile = None,
    home: options.Home = None,
) -> None:
    """Test the VAR hypotheses on a run or a file and print the verdict."""
    paths = paths_of(home)
    run = _named_once(named, run, paths)
    from gatehouse.flows.console import answer, bar, short_path
    from gatehouse.reports.results.selection import Selection, parse_layer

    if sweep:
        if input:
            raise GatehouseError("--sweep goes through the warehouse's runs: leave --input out")
        from gatehouse.reports.results.sweep import sweep as judge_every_run

        chosen, target = parse_layer(layer) if layer else None, output or paths.sweep
        table, supported = judge_every_run(run, chosen, paths, bar, target)
        text = f"{table}\n\n{short_path(target)}"
    else:
        selection = Selection.of(input, run, layer, frequency_threshold, entropy_threshold)
        from gatehouse.reports.results import files
        from gatehouse.reports.results.results import open_results

        results = open_results(selection, paths, bar, every_layer=False, instead=output)
        written = files.write_validation(results, output)
        text = results.shown(short_path(written[0]) if written else "")
        supported = results.supported
    answer(text)
    if strict and not supported:
        raise typer.Exit(1)


def plot(
    named: report_options.SameRun = None,
    input: report_options.Input = None,
    run: options.Run = None,
    layer: report_options.Layer = None,
    frequency_threshold: report_options.FrequencyThreshold = 50,
    entropy_threshold: report_options.EntropyThreshold = 0.5,
    output_dir: report_options.FigureFolder = None,
    home: options.Home = None,
) -> None:
    """Draw the figures as 300-DPI PNG and as PDF: four for a layer or file, the rest for a run."""
    paths = paths_of(home)
    run = _named_once(named, run, paths)
    from gatehouse.flows.console import answer, bar, say, working
    from gatehouse.reports.results.selection import Selection

    selection = Selection.of(input, run, layer, frequency_threshold, entropy_threshold)
    from gatehouse.reports.results import files
    from gatehouse.reports.results.results import open_results

    results = open_results(selection, paths, bar, instead=output_dir)
    with working("drawing figures"):
        drawn = files.write_figures(results, output_dir)
    if line := files.left_out(results):
        say(line)
    for path in drawn.values():
        answer(str(path))


def report(
    named: report_options.SameRun = None,
    run: options.Run = None,
    compare: report_options.Compare = None,
    trend: report_options.Trend = False,
    layer: report_options.Layer = None,
    frequency_threshold: report_options.FrequencyThreshold = 50,
    entropy_threshold: report_options.EntropyThreshold = 0.5,
    samples: report_options.Samples = None,
    focus: report_options.Focus = None,
    output: report_options.PageFile = None,
    home: options.Home = None,
) -> None:
    """Write the self-contained HTML report of a run, or of several, side by side or over time."""
    paths = paths_of(home)
    run = _named_once(named, run, paths)
    from gatehouse.flows.console import answer, bar, say, working
    from gatehouse.reports.results.selection import Selection

    selection = Selection.of(None, run, layer, frequency_threshold, entropy_threshold)
    if trend:
        if compare or layer or samples or focus:
            raise GatehouseError(
                "--trend draws every layer of a run's series: leave --compare, --layer, --samples "
                "and --focus out"
            )
        from gatehouse.reports.results.trend import write_trend

        answer(str(write_trend(run, paths, say, output)))
        return
    if compare is None:
        from gatehouse.reports.results import files
        from gatehouse.reports.results.results import open_results
        from gatehouse.reports.results.texts import check_samples, parse_samples

        sample_ids = parse_samples(samples)
        check_samples(run, sample_ids, paths)
        results = open_results(selection, paths, bar, instead=output)
        with working("drawing figures"):
            drawn = files.write_figures(results)
        if line := files.left_out(results):
            say(line)
        page = files.write_page(results, drawn, paths, output, sample_ids, focus)
        answer(str(page))
        return
    if run or layer or samples or focus:
        raise GatehouseError(
            "--compare names its runs: leave the run, --layer, --samples and --focus out"
        )
    from gatehouse.reports.results import comparison

    runs = [find_run(paths.lake, each) for each in compare]
    page, sentences = comparison.compare(runs, selection.thresholds, paths, bar, output)
    for sentence in sentences:
        say(sentence)
    answer(str(page))


def _named_once(named: str | None, run: str | None, paths: Paths) -> str | None:
    """Return the id of the run that is named, as an argument or an option."""
    if named and run:
        raise GatehouseError(f"name the run once: {named} or --run {run}")
    either = named or run
    return either and find_run(paths.lake, either)


def sql(
    query: sql_options.Query = None,
    examples: sql_options.Examples = False,
    external_access: sql_options.ExternalAccess = False,
    format: sql_options.Format = None,
    output: sql_options.ResultFile = None,
    spreadsheet_safe: sql_options.SpreadsheetSafe = False,
    home: options.Home = None,
) -> None:
    """Query the warehouse, read-only: one query, an interactive shell, or the examples."""
    paths = paths_of(home)
    words = query or []
    if examples and external_access:
        raise GatehouseError("--examples only reads the warehouse: leave --external-access out")
    from gatehouse.flows.sql import answer

    if examples:
        answer.sql_examples(words, paths, format, output, spreadsheet_safe=spreadsheet_safe)
    elif len(words) > 1:
        raise GatehouseError('quote the query: gatehouse sql "select …"')
    else:
        text = words[0] if words else None
        answer.sql(
            text,
            paths,
            format,
            output,
            spreadsheet_safe=spreadsheet_safe,
            external_access=external_access,
        )


def cache(
    run: options.LatestRun = None,
    slots: inference_options.Slots = None,
    gb: inference_options.Gigabytes = None,
    policy: inference_options.Policy = None,
    home: options.Home = None,
) -> None:
    """Say what a cache of experts would find: by size and policy, and which to take."""
    paths = paths_of(home)
    run = run and find_run(paths.lake, run)
    from gatehouse.flows.console import answer
    from gatehouse.reports.results.cache_text import cache_text

    answer(cache_text(run, paths, slots=slots, gigabytes=gb, policy=policy))


def placement(
    run: options.LatestRun = None,
    gpus: inference_options.Gpus = None,
    nodes: inference_options.Nodes = 1,
    redundant: inference_options.Redundant = 0,
    groups: inference_options.Groups = 1,
    output: inference_options.PlacementFile = None,
    home: options.Home = None,
) -> None:
    """Place a run's experts on GPUs by EPLB, and print how evenly they share held-out text."""
    paths = paths_of(home)
    run = run and find_run(paths.lake, run)
    from gatehouse.flows.console import answer, short_path
    from gatehouse.reports.results.placement import Machine, place

    text = place(run, Machine(gpus, nodes, groups, redundant), paths, output)
    answer(f"{text}\n\n{short_path(output)}" if output else text)


def export(
    run: options.LatestRun = None,
    to: export_options.ExportFormat = None,
    keep: export_options.Keep = None,
    min_share: export_options.MinShare = None,
    min_frequency: export_options.MinFrequency = None,
    frequency_threshold: export_options.TableFrequencyThreshold = None,
    entropy_threshold: export_options.TableEntropyThreshold = None,
    most_frequent: export_options.MostFrequent = None,
    output: export_options.ExportFile = None,
    listed: export_options.ExportList = False,
    home: options.Home = None,
) -> None:
    """Write a run as a file that an engine, a trainer or a data frame reads."""
    paths = paths_of(home)
    from gatehouse.flows.console import answer, working
    from gatehouse.reports.exports import formats

    if listed:
        answer(formats.listed())
        return
    if to is None:
        raise GatehouseError("name a format with --to: `gatehouse export --list` lists them")
    run = run and find_run(paths.lake, run)
    with working(f"exporting to {to}"):
        written = formats.export(
            run,
            to,
            paths,
            output,
            keep=keep,
            min_share=min_share,
            min_frequency=min_frequency,
            frequency_threshold=frequency_threshold,
            entropy_threshold=entropy_threshold,
            most_frequent=most_frequent,
        )
    answer(str(written))


def docs(metric: report_options.Metric = None, home: options.Home = None) -> None:
    """Write the static page of every model, column and its lineage."""
    paths = paths_of(home)
    from gatehouse.flows.console import answer, say
    from gatehouse.flows.steps import lineage_page

    is_first = not paths.lineage_page.exists()
    page = lineage_page.write_lineage_page(paths, metric or lineage_page.METRIC)
    if is_first and lineage_page.latest_report(paths):
        say("reports written before have no links to this page: `gatehouse report` adds them")
    answer(str(page))
