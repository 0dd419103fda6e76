"""The command line `gatehouse`; it imports nothing heavy until a command runs."""

import os
import signal
import sys
from pathlib import Path

import typer

from flows import options
from warehouse.errors import GatehouseError
from warehouse.paths import Paths

app = typer.Typer(
    name="gatehouse",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={
        "token_normalize_func": lambda name: name.replace("_", "-"),
        "help_option_names": ["-h", "--help"],
    },
    help="The analytics warehouse for Mixture-of-Experts routing: every routing decision lands "
    "once, every number is a query.",
    epilog="Example: gatehouse run --num-samples 500",
)


def main() -> None:
    """Run the command line; bad input ends in one line on standard error and exit code 2."""
    pressed = []

    def interrupt(number: int, frame: object) -> None:
        pressed.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        words = options.spelled_out(sys.argv[1:]) or ["--help"]
        code, line = app(words, prog_name="gatehouse", standalone_mode=False), ""
    except GatehouseError as error:
        code, line = 2, str(error)
    except typer.TyperException as error:
        code, line = 2, usage(error)
    except Exception:
        # on Ctrl-C the flow's server ends too, and Prefect fails to tell it that the flow crashed
        if not pressed:
            raise
    if pressed:
        code, line = 130, "interrupted; what has landed stays, the same command goes on from there"
    if line:
        print(f"gatehouse: {line}", file=sys.stderr)
    sys.exit(code)


def usage(error: typer.TyperException) -> str:
    """Return what is wrong with the command line, and where its help is."""
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    commands = typer.main.get_group(app).commands
    named = [f" {word}" for word in sys.argv[1:2] if word in commands]
    return f"{' '.join(message.split())} (see `gatehouse{''.join(named)} --help`)"


def paths_of(home: Path | None) -> Paths:
    """Return the paths of a command; child processes see the same home."""
    paths = Paths.resolve(home)
    os.environ["GATEHOUSE_HOME"] = str(paths.root)
    return paths


@app.command(epilog="Example: gatehouse run --dataset ./texts --num-samples 1000 --layer all")
def run(
    model: options.Model = "demo",
    revision: options.Revision = None,
    dataset: options.Dataset = "pydoc",
    num_samples: options.NumSamples = 10_000,
    first_sample: options.FirstSample = 0,
    batch_size: options.BatchSize = 4,
    max_length: options.MaxLength = 512,
    windows: options.Windows = False,
    create_splits: options.CreateSplits = False,
    dtype: options.Precision = "auto",
    quantize: options.Quantize = "auto",
    device_map: options.DeviceMap = None,
    attn_implementation: options.AttnImplementation = None,
    trust_remote_code: options.TrustRemoteCode = False,
    num_experts: options.NumExperts = None,
    layer: options.RunLayer = "0",
    frequency_threshold: options.FrequencyThreshold = 50,
    entropy_threshold: options.EntropyThreshold = 0.5,
    output: options.OutputFolder = None,
    home: options.Home = None,
) -> None:
    """Everything: prepare, capture, build, validate, plot, report; resumes where it stopped."""
    parameters = {name: value for name, value in locals().items() if name != "home"}
    paths_of(home)
    from flows import commands

    print(commands.run(**parameters))


@app.command(epilog="Example: gatehouse prepare --dataset c4 --num-samples 10000 --create-splits")
def prepare(
    dataset: options.Dataset = "pydoc",
    num_samples: options.NumSamples = 10_000,
    first_sample: options.FirstSample = 0,
    create_splits: options.CreateSplits = False,
    output_dir: options.PreparedFolder = None,
    home: options.Home = None,
) -> None:
    """Read a corpus and write it as numbered samples, each in its split."""
    from flows import commands
    from flows.request import RunRequest

    request = RunRequest(
        dataset=dataset,
        num_samples=num_samples,
        first_sample=first_sample,
        create_splits=create_splits,
    )
    print(commands.prepare(request, output_dir or paths_of(home).prepared))


@app.command(epilog="Example: gatehouse fetch mixtral --analyze-structure")
def fetch(
    name: options.ModelName = None,
    model: options.Model = "demo",
    revision: options.Revision = None,
    dtype: options.Precision = "auto",
    quantize: options.Quantize = "auto",
    device_map: options.DeviceMap = None,
    attn_implementation: options.AttnImplementation = None,
    trust_remote_code: options.TrustRemoteCode = False,
    analyze_structure: options.AnalyzeStructure = False,
    test: options.Test = False,
) -> None:
    """Download a model's config, tokenizer and safetensors into the hub's cache."""
    from flows import commands
    from flows.request import RunRequest

    request = RunRequest(
        model=name or model,
        revision=revision,
        dtype=dtype,
        quantize=quantize,
        device_map=device_map,
        attn_implementation=attn_implementation,
        trust_remote_code=trust_remote_code,
    )
    print(commands.fetch(request, analyze_structure=analyze_structure, test=test))


@app.command(epilog="Example: gatehouse capture --model mixtral --dataset c4 --batch-size 8")
def capture(
    model: options.Model = "demo",
    revision: options.Revision = None,
    dataset: options.Dataset = "pydoc",
    num_samples: options.NumSamples = 10_000,
    first_sample: options.FirstSample = 0,
    batch_size: options.BatchSize = 4,
    max_length: options.MaxLength = 512,
    windows: options.Windows = False,
    dtype: options.Precision = "auto",
    quantize: options.Quantize = "auto",
    device_map: options.DeviceMap = None,
    attn_implementation: options.AttnImplementation = None,
    trust_remote_code: options.TrustRemoteCode = False,
    num_experts: options.NumExperts = None,
    home: options.Home = None,
) -> None:
    """Run the model and land its routing events; the same command again resumes."""
    parameters = {name: value for name, value in locals().items() if name != "home"}
    paths = paths_of(home)
    from flows import commands
    from flows.request import RunRequest

    print(commands.capture(RunRequest(**parameters), paths).line)


@app.command(epilog="Example: gatehouse build")
def build(home: options.Home = None) -> None:
    """Build and test the marts from the lake's finished runs with dbt."""
    paths = paths_of(home)
    from flows import commands

    print(commands.build(paths))


@app.command(epilog="Example: gatehouse validate --input routing_stats.parquet --output report.txt")
def validate(
    input: options.Input = None,
    run: options.Run = None,
    layer: options.Layer = None,
    frequency_threshold: options.FrequencyThreshold = 50,
    entropy_threshold: options.EntropyThreshold = 0.5,
    output: options.ReportFile = None,
    home: options.Home = None,
) -> None:
    """Test the VAR hypotheses on a run or a file and print the verdict."""
    paths = paths_of(home)
    from flows import commands
    from flows.request import Selection

    selection = Selection.of(input, run, layer, frequency_threshold, entropy_threshold)
    print(commands.validate(selection, paths, output), end="")


@app.command(epilog="Example: gatehouse plot --input routing_stats.parquet --output-dir figures")
def plot(
    input: options.Input = None,
    run: options.Run = None,
    layer: options.Layer = None,
    frequency_threshold: options.FrequencyThreshold = 50,
    entropy_threshold: options.EntropyThreshold = 0.5,
    output_dir: options.FigureFolder = None,
    home: options.Home = None,
) -> None:
    """Draw the four figures as 300-DPI PNG."""
    paths = paths_of(home)
    from flows import commands
    from flows.request import Selection

    selection = Selection.of(input, run, layer, frequency_threshold, entropy_threshold)
    for path in commands.plot(selection, paths, output_dir):
        print(path)


@app.command(epilog="Example: gatehouse report --layer 2 --output report.html")
def report(
    run: options.Run = None,
    layer: options.Layer = None,
    frequency_threshold: options.FrequencyThreshold = 50,
    entropy_threshold: options.EntropyThreshold = 0.5,
    output: options.PageFile = None,
    home: options.Home = None,
) -> None:
    """Write the self-contained HTML report of a run."""
    paths = paths_of(home)
    from flows import commands
    from flows.request import Selection

    selection = Selection.of(None, run, layer, frequency_threshold, entropy_threshold)
    print(commands.report(selection, paths, output))


@app.command(epilog='Example: gatehouse sql "select * from fct_layer_routing" --output layers.csv')
def sql(
    query: options.Query = None,
    examples: options.Examples = False,
    format: options.Format = None,
    output: options.ResultFile = None,
    home: options.Home = None,
) -> None:
    """Query the warehouse, read-only: one query, an interactive shell, or the examples."""
    paths = paths_of(home)
    from flows import commands

    words = query or []
    if examples:
        commands.sql_examples(words, paths, format, output)
    elif len(words) > 1:
        raise GatehouseError('quote the query: gatehouse sql "select …"')
    else:
        commands.sql(words[0] if words else None, paths, format, output)


@app.command(epilog="Example: gatehouse docs")
def docs(home: options.Home = None) -> None:
    """Write the static page of every model, column and its lineage."""
    paths = paths_of(home)
    from flows import commands

    print(commands.docs(paths))


@app.command(epilog="Example: gatehouse status")
def status(home: options.Home = None) -> None:
    """List the runs of the lake and how far each has come."""
    paths = paths_of(home)
    from flows import commands

    print(commands.status(paths), end="")
