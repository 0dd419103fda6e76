"""The options of `gatehouse sql`, with their help."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from gatehouse.flows.cli.run_options import OF_A_RUN

Query = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="QUERY",
        help="One SQL query in quotes; without it a shell opens, or a pipe is read. "
        "With --examples: names of examples, or all.",
    ),
]
Examples = Annotated[
    bool,
    typer.Option("--examples", help="List the library of example queries, or run those named."),
]
ExternalAccess = Annotated[
    bool,
    typer.Option(
        "--external-access",
        help="Let this session read and write files wherever you may, attach other databases and "
        "load extensions. The warehouse itself stays read-only: a statement that names its files, "
        "or would empty a folder around them, is refused.",
    ),
]
Format = Annotated[
    Literal["table", "csv", "json", "parquet", "markdown"] | None,
    typer.Option(help="Format of the result. Default: by the suffix of --output, else a table."),
]
ResultFile = Annotated[
    Path | None, typer.Option("--output", help="File of the result: .csv, .json, .parquet, .md.")
]
SpreadsheetSafe = Annotated[bool, OF_A_RUN["spreadsheet_safe"]]
