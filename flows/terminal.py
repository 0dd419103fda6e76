"""The application `gatehouse` that commands are added to."""

import os
from pathlib import Path

import typer

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


def paths_of(home: Path | None) -> Paths:
    """Return the paths of a command; child processes see the same home."""
    paths = Paths.resolve(home)
    os.environ["GATEHOUSE_HOME"] = str(paths.root)
    return paths
