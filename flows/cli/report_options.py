"""The options of `gatehouse validate`, `plot`, `report` and `docs`, with their help."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from gatehouse.flows.cli.run_options import OF_A_RUN

SameRun = Annotated[str | None, typer.Argument(metavar="RUN", help="The same as --run.")]
Input = Annotated[
    Path | None,
    typer.Option(help="A routing_stats .parquet or .csv made anywhere, instead of a run."),
]
Layer = Annotated[
    str | None,
    typer.Option(help="Index among the MoE layers, or all. Default: 0, or the input's only one."),
]
FrequencyThreshold = Annotated[int, OF_A_RUN["frequency_threshold"]]
EntropyThreshold = Annotated[float, OF_A_RUN["entropy_threshold"]]
ReportFile = Annotated[
    Path | None,
    typer.Option(
        "--output", help="File of the report. Default: the run's results. It is printed either way."
    ),
]
Sweep = Annotated[
    bool,
    typer.Option(
        "--sweep",
        help="Instead, find the verdict at every pair of thresholds for every run and layer in the "
        "warehouse; --run and --layer narrow it. Prints a table and writes all pairs as CSV.",
    ),
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Exit with code 1 if the verdict is not SUPPORTED."),
]
FigureFolder = Annotated[
    Path | None,
    typer.Option(
        "--output-dir",
        help="Folder of the figures: new, empty or of figures. Default: the run's results.",
    ),
]
Compare = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RUN RUN…",
        help="Instead, put these runs side by side, two or more; the one named first comes first.",
    ),
]
Trend = Annotated[
    bool,
    typer.Option(
        "--trend",
        help="Instead, draw all runs of the run's model, dataset and settings over time: load, "
        "entropy, consistency, drift.",
    ),
]
Samples = Annotated[
    str | None,
    typer.Option(
        metavar="N,N…",
        help="Samples whose text the page shows, by their numbers. Default: some of each domain.",
    ),
]
Focus = Annotated[
    Literal["routing", "verdict", "inference"] | None,
    typer.Option(
        help="What the page opens with: how the model routes, the verdict on the hypothesis, or "
        "what engines need to know. The others follow. Default: routing."
    ),
]
PageFile = Annotated[
    Path | None, typer.Option("--output", help="File of the page. Default: the run's results.")
]
Metric = Annotated[
    str | None,
    typer.Option(
        metavar="MART[.COLUMN]",
        help="What the page opens on: the path from the events to it. Default: "
        "fct_layer_routing.mean_entropy.",
    ),
]
