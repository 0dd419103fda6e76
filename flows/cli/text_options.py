"""The options of `gatehouse show` and `trace`, with their help."""

from pathlib import Path
from typing import Annotated

import typer

TracedText = Annotated[
    str, typer.Argument(metavar="TEXT", help="What the model reads; - for standard input.")
]
ShownSample = Annotated[
    int, typer.Option("--sample", min=0, help="The sample's number in the run.")
]
ShownLayer = Annotated[
    int,
    typer.Option(
        "--layer", min=0, help="Index of the MoE layer by whose experts the text is coloured."
    ),
]
TextPage = Annotated[
    Path | None,
    typer.Option(
        "--output", help="File of a page with the text in every layer, HTML. Default: none."
    ),
]
