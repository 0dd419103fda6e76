"""Commands that ask the warehouse: validate, plot, report, sql, docs."""

import typer

from flows import options
from flows.options import paths_of
from warehouse.errors import GatehouseError


def validate(
    input: options.Input = None,
    run: options.Run = None,
    layer: options.Layer = None,
    frequency_threshold: options.FrequencyThreshold = 50,
    entropy_threshold: options.EntropyThreshold = 0.5,
    sweep: options.Sweep = False,
    strict: options.Strict = False,
    output: options.ReportFile = None,
    home: options.Home = None,
) -> None:
    """Test the VAR hypotheses on a run or a file and print the verdict."""
    paths = paths_of(home)
    from flows import commands
    from reports.selection import Selection, parse_layer

    if sweep:
        if input:
            raise GatehouseError("--sweep goes through the warehouse's runs: leave --input out")
        chosen = parse_layer(layer) if layer else None
        text, supported = commands.sweep(run, chosen, paths, output)
    else:
        selection = Selection.of(input, run, layer, frequency_threshold, entropy_threshold)
        text, supported = commands.validate(selection, paths, output)
    print(text, end="" if text.endswith("\n") else "\n")
    if strict and not supported:
        raise typer.Exit(1)


def plot(
    input: options.Input = None,
    run: options.Run = None,
    layer: options.Layer = None,
    frequency_threshold: options.FrequencyThreshold = 50,
    entropy_threshold: options.EntropyThreshold = 0.5,
    output_dir: options.FigureFolder = None,
    home: options.Home = None,
) -> None:
    """Draw the figures as 300-DPI PNG and as PDF: four for a layer or file, the rest for a run."""
    paths = paths_of(home)
    from flows import commands
    from reports.selection import Selection

    selection = Selection.of(input, run, layer, frequency_threshold, entropy_threshold)
    for path in commands.plot(selection, paths, output_dir):
        print(path)


def report(
    run: options.Run = None,
    compare: options.Compare = None,
    layer: options.Layer = None,
    frequency_threshold: options.FrequencyThreshold = 50,
    entropy_threshold: options.EntropyThreshold = 0.5,
    output: options.PageFile = None,
    home: options.Home = None,
) -> None:
    """Write the self-contained HTML report of a run, or of two runs side by side."""
    paths = paths_of(home)
    from flows import commands
    from reports.selection import Selection

    selection = Selection.of(None, run, layer, frequency_threshold, entropy_threshold)
    if compare is None:
        print(commands.report(selection, paths, output))
        return
    if run or layer:
        raise GatehouseError("--compare names its runs: leave --run and --layer out")
    print(commands.compare(compare, frequency_threshold, entropy_threshold, paths, output))


def sql(
    query: options.Query = None,
    examples: options.Examples = False,
    external_access: options.ExternalAccess = False,
    format: options.Format = None,
    output: options.ResultFile = None,
    home: options.Home = None,
) -> None:
    """Query the warehouse, read-only: one query, an interactive shell, or the examples."""
    paths = paths_of(home)
    from flows import commands

    words = query or []
    if examples and external_access:
        raise GatehouseError("--examples only reads the warehouse: leave --external-access out")
    if examples:
        commands.sql_examples(words, paths, format, output)
    elif len(words) > 1:
        raise GatehouseError('quote the query: gatehouse sql "select …"')
    else:
        text = words[0] if words else None
        commands.sql(text, paths, format, output, external_access=external_access)


def docs(home: options.Home = None) -> None:
    """Write the static page of every model, column and its lineage."""
    paths = paths_of(home)
    from flows import commands

    print(commands.docs(paths))
