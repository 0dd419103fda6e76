"""The options of `gatehouse status`, `verify` and `runs`, with their help."""

from typing import Annotated, Literal

import typer

Answer = Annotated[
    Literal["text", "json"],
    typer.Option("--format", help="text for people, or one JSON document for programs."),
]
NamedRun = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN", help="Run id or name (`gatehouse status` lists them); default: all runs."
    ),
]
All = Annotated[
    bool,
    typer.Option(
        "--all",
        help="Read every byte, also of files that are unchanged since they were found right. "
        "--repair does, too.",
    ),
]
Repair = Annotated[
    bool,
    typer.Option(
        "--repair",
        help="Mend what can be mended: capture bad shards again, set strange files aside, record "
        "the shards that are there, build the marts afresh.",
    ),
]
RemovedRun = Annotated[
    str, typer.Argument(metavar="RUN", help="Run id or name (`gatehouse status` lists them).")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
