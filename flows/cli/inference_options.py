"""The options of `gatehouse cache` and `placement`, with their help."""

from pathlib import Path
from typing import Annotated

import typer

Slots = Annotated[
    int | None, typer.Option(min=1, help="Experts that a layer's cache has room for.")
]
Gigabytes = Annotated[
    float | None,
    typer.Option("--gb", help="Memory for the experts of all layers, in place of --slots."),
]
Policy = Annotated[
    str | None,
    typer.Option(help="Show one: lru, lfu, static_train, static_prompt, belady, static_hindsight."),
]
Gpus = Annotated[
    int | None,
    typer.Option(
        help="GPUs that share the experts of a layer. Default: 8, or the most below that which can "
        "have as many experts each, two or more."
    ),
]
Nodes = Annotated[int, typer.Option(help="Nodes that share the GPUs; they matter with --groups.")]
Redundant = Annotated[
    int,
    typer.Option(help="Replicas of a layer's experts, beyond one of each; the busiest get them."),
]
Groups = Annotated[
    int,
    typer.Option(
        help="Groups of experts, in the order of their numbers, that stay on one node each: those "
        "of a model whose router chooses groups first."
    ),
]
PlacementFile = Annotated[
    Path | None, typer.Option("--output", help="File of EPLB's placement, JSON. Default: none.")
]
