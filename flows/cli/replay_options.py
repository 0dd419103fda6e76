"""The options of `gatehouse replay`, with their help."""

from typing import Annotated

import typer

from gatehouse.flows.cli.run_options import OF_A_RUN

ReplayedSamples = Annotated[
    int,
    typer.Option(
        "--num-samples",
        help="Samples of the splits validation and test to replay, in the order of their hashes.",
    ),
]
Table = Annotated[
    list[str] | None,
    typer.Option(
        metavar="tokens|bigrams",
        help="Replace routers by a lookup table of the train split, by the token's id, or by it "
        "and the one before. May be given twice.",
    ),
]
MinShare = Annotated[
    list[float] | None,
    typer.Option(
        metavar="SHARE",
        help="Of --table: entries whose most frequent set of experts has at least this share of "
        "the occurrences. Several are tried one by one. Default: 0.9, 0.7 and 0.5; of bigrams 0.9.",
    ),
]
MinFrequency = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Of --min-share: entries that occur at least so often. Default: 50; of bigrams 2.",
    ),
]
TableFrequencyThreshold = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Of --entropy-threshold: a token must occur more often than this. Default: 50.",
    ),
]
TableEntropyThreshold = Annotated[
    list[float] | None,
    typer.Option(
        metavar="NATS",
        help="Of --table tokens, VAR's rule: tokens whose mean entropy is below this. May be given "
        "several times.",
    ),
]
MostFrequent = Annotated[
    list[int] | None,
    typer.Option(
        metavar="N", help="Of --table tokens: the N most frequent. May be given several times."
    ),
]
IdsOnly = Annotated[
    bool,
    typer.Option(
        "--ids-only",
        help="Take the experts from the table or --routing-of, and the weights from the router.",
    ),
]
ReplayedLayers = Annotated[
    str,
    typer.Option(
        "--layer", help="Overrule these MoE layers only: an index, several as 0,2, or all."
    ),
]
DropBelow = Annotated[
    list[float] | None,
    typer.Option(
        metavar="SHARE",
        help="Do not run experts with a smaller share of their token's weights. May be given "
        "several times.",
    ),
]
DropEntropy = Annotated[
    list[float] | None,
    typer.Option(
        metavar="NATS",
        help="Run one expert for tokens whose entropy is below this. May be given several times.",
    ),
]
Mask = Annotated[
    list[str] | None,
    typer.Option(
        metavar="load:N|gate-mass:N|reap:N",
        help="Switch off the N experts of each layer that matter least by this measure. May be "
        "given several times.",
    ),
]
RoutingOf = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RUN",
        help="Use the routing that another run has for the same text, captured in another "
        "precision or imported. May be given several times.",
    ),
]
ReplayBatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        help="Memory for a batch, in samples of the run's --max-length. Default: the run's.",
    ),
]
DeviceMap = Annotated[str | None, OF_A_RUN["device_map"]]
