"""The options of `gatehouse import`, with their help."""

from pathlib import Path
from typing import Annotated

import typer

from gatehouse.flows.cli.run_options import OF_A_RUN

TraceFormat = Annotated[
    str | None,
    typer.Argument(metavar="FORMAT", help="What wrote the trace: --example all lists them."),
]
TraceFiles = Annotated[
    list[Path] | None,
    typer.Argument(metavar="PATH", help="Files or folders of the trace, in their order."),
]
TraceExample = Annotated[
    str | None,
    typer.Option(
        "--example",
        metavar="FORMAT",
        help="Print an example of a format and how it is read; all: list the formats.",
    ),
]
TraceModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="The model that was run: a hub id, a folder, or a config.json. Its config says which "
        "layers are MoE, and its tokenizer, where there is one, what the tokens are.",
    ),
]
RunName = Annotated[str | None, OF_A_RUN["name"]]
Revision = Annotated[str | None, OF_A_RUN["revision"]]
