"""The command line `gatehouse`: its commands in one table, and how it ends.

It imports nothing heavy until a command runs.
"""

import codecs
import errno
import io
import os
import signal
import sys
from collections.abc import Callable

import typer

from gatehouse.flows import process
from gatehouse.flows.cli import ask, make, options, schedule, texts, upkeep
from gatehouse.warehouse.environment import missing_certificates, unreadable
from gatehouse.warehouse.errors import ENDINGS, GatehouseError
from gatehouse.warehouse.plain_text import printable

COMMANDS: tuple[tuple[str, Callable[..., None], str], ...] = (
    ("run", make.run, "gatehouse run --dataset ./texts --num-samples 1000 --layer all"),
    ("prepare", make.prepare, "gatehouse prepare --dataset c4 --num-samples 10000 --create-splits"),
    ("fetch", make.fetch, "gatehouse fetch mixtral --analyze-structure"),
    ("capture", make.capture, "gatehouse capture --model mixtral --dataset c4 --batch-size 8"),
    (
        "import",
        make.import_trace,
        "gatehouse import vllm responses.jsonl --model Qwen/Qwen3-30B-A3B\n\n"
        "On workers: gatehouse import vllm responses/ --model Qwen/Qwen3-30B-A3B --workers 8",
    ),
    (
        "replay",
        make.replay,
        "gatehouse replay demo-pydoc-e2e45ea4ca --table tokens\n\n"
        "On workers: gatehouse replay demo-pydoc-e2e45ea4ca --table tokens --workers 8",
    ),
    ("build", make.build, "gatehouse build"),
    (
        "validate",
        ask.validate,
        "gatehouse validate --input routing_stats.parquet --output report.txt",
    ),
    ("plot", ask.plot, "gatehouse plot --input routing_stats.parquet --output-dir figures"),
    ("report", ask.report, "gatehouse report --layer 2 --output report.html"),
    ("show", texts.show, "gatehouse show demo-pydoc-e2e45ea4ca --sample 12 --output text.html"),
    ("trace", texts.trace, 'gatehouse trace "def route(token): return expert" --generate 20'),
    ("sql", ask.sql, 'gatehouse sql "select * from fct_layer_routing" --output layers.csv'),
    ("cache", ask.cache, "gatehouse cache demo-pydoc-e2e45ea4ca --slots 4"),
    (
        "placement",
        ask.placement,
        "gatehouse placement demo-pydoc-e2e45ea4ca --gpus 8 --redundant 8",
    ),
    ("export", ask.export, "gatehouse export demo-pydoc-e2e45ea4ca --to sglang"),
    ("docs", ask.docs, "gatehouse docs --metric fct_expert_load.load_ratio"),
    ("status", upkeep.status, "gatehouse status"),
    ("verify", upkeep.verify, "gatehouse verify --repair"),
    ("up", schedule.up, "gatehouse up --port 4300"),
    ("down", schedule.down, "gatehouse down"),
    ("runs rm", upkeep.rm, "gatehouse runs rm demo-pydoc-e2e45ea4ca --yes"),
)
"""Every command in the order of the help: its name, its function, and the example in its help."""

GO_ON = "what has landed stays, and the same command resumes from there"
ENDED_BY: dict[int, str] = {
    signal.SIGINT: f"interrupted; {GO_ON}",
    signal.SIGTERM: f"terminated; {GO_ON}",
}
"""Signals that end a command, and the line that it then prints."""

LEAST_COLUMNS = 20
LONGEST_COMMAND = 300
"""Characters of a command that an error quotes."""


def application() -> typer.Typer:
    """Return the application with every command of the table."""
    made = typer.Typer(
        name="gatehouse",
        pretty_exceptions_enable=False,
        context_settings={
            "token_normalize_func": lambda name: name.replace("_", "-"),
            "help_option_names": ["-h", "--help"],
        },
        help="The analytics warehouse for Mixture-of-Experts routing: every routing decision lands "
        "once, every number is a query.",
        epilog="Example: gatehouse run --num-samples 500",
    )
    made.callback()(program)
    runs = typer.Typer(epilog="Example: gatehouse runs --format json")
    runs.callback(invoke_without_command=True)(options.names_a_lake(upkeep.runs))
    made.add_typer(runs, name="runs")
    for name, function, example in COMMANDS:
        *group, word = name.split()
        command = (runs if group else made).command(word, epilog=f"Example: {example}")
        command(options.names_a_lake(function))
    return made


def program(version: options.Version = False) -> None:
    """Take the options that come before any command."""


app = application()


def main() -> None:
    """Run the command line; bad input ends in one line on standard error and exit code 2."""
    pressed: list[int] = []
    clock = process.EndInTime(ENDED_BY)

    def interrupt(number: int, frame: object) -> None:
        pressed.append(number)
        clock.hear(number)
        raise KeyboardInterrupt

    for number in ENDED_BY:
        signal.signal(number, interrupt)
    print_any_text()
    need_a_width()
    try:
        words = options.spelled_out(sys.argv[1:]) or ["--help"]
        code, line = app(words, prog_name="gatehouse", standalone_mode=False), ""
    except ENDINGS:
        raise
    # a panic of a library in Rust is no Exception; on Ctrl-C the flow's server ends too, and
    # Prefect fails to tell it that the flow crashed
    except BaseException as error:
        code, line = 2, said_of(error)
        if not (line or pressed) and sys.flags.dev_mode:
            raise
        line = line or unforeseen(error)
    finally:
        # once it is heard, the clock runs to the end of the process
        if not pressed:
            clock.stop()
    if pressed:
        code, line = 128 + pressed[0], ENDED_BY[pressed[0]]
    if line:
        print(f"gatehouse: {line}", file=sys.stderr)
    sys.exit(code)


def print_any_text() -> None:
    """Let a terminal or file that is not in UTF-8 show what it lacks as escapes, as in Python."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and codecs.lookup(stream.encoding).name != "utf-8":
            stream.reconfigure(errors="backslashreplace")


def need_a_width() -> None:
    """Take COLUMNS that have no room for a word as unset: tables and helps would be empty."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) < LEAST_COLUMNS:
        del os.environ["COLUMNS"]


def unforeseen(error: BaseException) -> str:
    """Return the line for an error that nobody foresaw: the command that it came of, and itself."""
    words = " ".join(["gatehouse", *sys.argv[1:]])[:LONGEST_COMMAND]
    said = (str(error).splitlines() or [""])[0][:LONGEST_COMMAND]
    line = GatehouseError(
        f"cannot do `{words}`: {type(error).__name__}: {said}; give it another input; after "
        "PYTHONDEVMODE=1 the same command shows where this is, for a report"
    )
    return str(line)


def said_of(error: BaseException) -> str:
    """Return the line for an error that the user can put right; nothing for a bug."""
    if isinstance(error, GatehouseError):
        return str(error)
    if isinstance(error, typer.TyperException):
        return usage(error)
    # the system's loader says this where there is no memory for a library
    unmapped = isinstance(error, ImportError) and "failed to map segment" in str(error)
    if isinstance(error, MemoryError) or unmapped:
        return f"memory ran out: try a smaller --batch-size or free some; {GO_ON}"
    if line := unusable_name(error):
        return line
    # Python, platformdirs
    if isinstance(error, RuntimeError) and "home directory" in str(error):
        return "this user has no home folder: set HOME to a folder that can be written"
    # Python's TLS does not say which file it did not find
    unnamed = isinstance(error, FileNotFoundError) and not error.filename
    if unnamed and (line := _working_folder() or missing_certificates()):
        return printable(line)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return printable(f"{place}{error.strerror or error}; put that right; {GO_ON}")
    if type(error).__module__ == "_duckdb":
        from gatehouse.warehouse.connect import one_line

        return str(GatehouseError(one_line(error)))
    return printable(unreadable(error))


def _working_folder() -> str:
    try:
        os.getcwd()
    except FileNotFoundError:
        return "the working folder is gone: change to one that is there, and run the command again"
    return ""


def unusable_name(error: BaseException) -> str:
    """Return one line on a name that no file can have; nothing for any other error."""
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        name = str(error.filename)
        return f"{printable(name[:60])}… is too long for a file name: choose a shorter one"
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        return f"{printable(error.object[:200])} is not UTF-8: rename it, or name another"
    return ""


def usage(error: typer.TyperException) -> str:
    """Return what is wrong with the command line, and where its help is."""
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    # typer's own, before what it says of a choice
    message = message.replace("Value error, ", "")
    named, commands = ["gatehouse"], typer.main.get_group(app).commands
    for word in sys.argv[1:]:
        if word not in commands:
            break
        named.append(word)
        commands = getattr(commands[word], "commands", {})
    return f"{printable(' '.join(message.split()))} (see `{' '.join(named)} --help`)"
