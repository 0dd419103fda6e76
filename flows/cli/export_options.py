"""The options of `gatehouse export`, with their help."""

from pathlib import Path
from typing import Annotated

import typer

ExportFormat = Annotated[
    str | None, typer.Option("--to", metavar="FORMAT", help="The format: --list lists them.")
]
ExportFile = Annotated[
    Path | None,
    typer.Option(
        "--output",
        help="File to write, or a new or empty folder. Default: one in the run's results.",
    ),
]
Keep = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help="Of --to keep-list: how many experts of each layer stay, or which share, as 0.75.",
    ),
]
MinShare = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Of --to lookup-table: tokens whose most frequent set of experts has at least this "
        "share of their occurrences. Default: 0.9.",
    ),
]
MinFrequency = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Of --min-share: tokens that occur at least so often. Default: 50."
    ),
]
TableFrequencyThreshold = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Of --entropy-threshold: tokens that occur more often than this. Default: 50.",
    ),
]
TableEntropyThreshold = Annotated[
    float | None,
    typer.Option(
        metavar="NATS",
        help="Of --to lookup-table, VAR's rule in place of --min-share: tokens whose mean entropy "
        "is below this.",
    ),
]
MostFrequent = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Of --to lookup-table: the N most frequent tokens, in place of --min-share.",
    ),
]
ExportList = Annotated[bool, typer.Option("--list", help="List the formats.")]
