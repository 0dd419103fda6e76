"""Commands for flows by the clock on one machine: up, down."""

from typing import Annotated

import typer

from gatehouse.flows.cli import options
from gatehouse.flows.cli.options import paths_of

Port = Annotated[
    int, typer.Option(min=1, max=65535, help="Port of the pages and the API, on 127.0.0.1 alone.")
]


def up(port: Port = 4200, home: options.Home = None) -> None:
    """Start a Prefect server with its pages, a worker, and the deployments of the flows.

    They go on until `gatehouse down`, also when the terminal closes. The
    server listens on this machine alone, asks for a password, and sends no
    telemetry. A server or worker that has ended is started again.
    """
    paths = paths_of(home)
    from gatehouse.flows.console import answer
    from gatehouse.flows.service.answer import up as start

    answer(start(paths, port))


def down(home: options.Home = None) -> None:
    """End what `gatehouse up` started, with a run under way, whose landed shards stay."""
    paths = paths_of(home)
    from gatehouse.flows.console import answer
    from gatehouse.flows.service.answer import down as end

    answer(end(paths))
