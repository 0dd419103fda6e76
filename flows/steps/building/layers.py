"""A worker's share of a build: the tables that are computed layer by layer, for some layers.

What a worker makes lies beside the database: every worker must reach that folder anyway, as it
reaches the lake, and whatever a killed one leaves goes with it.
"""

import os
import shutil
import socket
import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import duckdb

from gatehouse.flows.steps.building.command import Dbt, fingerprint
from gatehouse.flows.steps.dbt_runs import BASE, LAYERS, PARTIALS, attach_base
from gatehouse.flows.steps.machine import MEMORY_LIMIT, THREADS, Share, share_of_machine
from gatehouse.flows.steps.workers.connection import unseen
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import cannot_write
from gatehouse.warehouse.storage.addresses import place_of
from gatehouse.warehouse.storage.places import storage_of

LAYERED = "config.materialized:layered"
LAWS_OF_EVENTS = "events_are_complete_and_in_range"
"""The test that reads all events."""

# dbt takes the whole process, whatever a worker's number of threads is
_turn = threading.Lock()


@dataclass(frozen=True)
class Order:
    """What a worker needs to know.

    Attributes:
        lake: folder or address of the lake, as every worker names it.
        base: the database that has what does not go layer by layer; it is only read.
        partials: folder that gets a folder of Parquet files for each share.
        layers: first and last layer of the share.
        given: tables and views of the base that are read, in an order in which views can be made.
        kept: tables of the base to which the share adds rows.
        fingerprint: that of the project which the driver has.
        neighbours: host -> how many workers share it.
    """

    lake: str
    base: str
    partials: str
    layers: tuple[int, int]
    given: tuple[str, ...]
    kept: tuple[str, ...]
    fingerprint: str
    neighbours: Mapping[str, int]

    @property
    def name(self) -> str:
        """The layers as dbt takes them."""
        return f"{self.layers[0]}-{self.layers[1]}"


def build_layers(order: Order) -> tuple[tuple[int, int], str]:
    """Build a share of the layers, unless that is done; return them, and what failed in one line.

    An error is returned, not raised: a scheduler would write its traceback into somebody's log.
    """
    with _turn:
        try:
            if not (Path(order.partials) / order.name).exists():
                _build(order)
        except GatehouseError as error:
            return order.layers, str(error)
    return order.layers, ""


def _build(order: Order) -> None:
    _check(order)
    partials = Path(order.partials)
    # a worker that was given up may live on: each try has a folder of its own
    folder = partials.parent / f"layers-{order.name}-{uuid4().hex}"
    made = folder / "partials"
    try:
        made.mkdir(parents=True)
        database = folder / "gatehouse.duckdb"
        _begin(database, order)
        settings = {BASE: order.base, LAYERS: order.name, PARTIALS: str(made)}
        dbt = Dbt(place_of(order.lake), database, folder / "dbt", _share(order), settings)
        # without the tests of these tables, which are for all layers
        dbt.run("build", "--indirect-selection", "empty", "--select", LAYERED, LAWS_OF_EVENTS)
        _put_in_place(made, partials / order.name)
    except OSError as error:
        raise cannot_write(folder, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check(order: Order) -> None:
    """Make sure that this worker sees what the driver sees.

    Raises:
        GatehouseError: it does not.
    """
    lake = place_of(order.lake)
    seen = {order.lake: storage_of(lake).is_there(lake), order.base: Path(order.base).exists()}
    for place, is_there in seen.items():
        if not is_there:
            raise unseen(place)
    if fingerprint() != order.fingerprint:
        raise GatehouseError(
            f"the worker on {socket.gethostname()} has another version of gatehouse or DuckDB than "
            "this command: install the same packages on both"
        )


def _begin(database: Path, order: Order) -> None:
    """Make a database in which everything that a share reads has its name."""
    first, last = order.layers
    with closing(duckdb.connect(str(database))) as connection:
        attach_base(connection, order.base)
        for name in order.given:
            view = f'create view "{name}" as select * from base.main."{name}"'  # noqa: S608 - a table
            connection.execute(view)
        for name in order.kept:
            rows = f'select * from base.main."{name}" where layer between $first and $last'  # noqa: S608 - a table
            connection.execute(f'create table "{name}" as {rows}', {"first": first, "last": last})


def _share(order: Order) -> Share:
    """Return what the environment of this worker says, else its part of its machine."""
    from distributed import get_worker

    whole = share_of_machine()
    part = whole.divided(order.neighbours.get(get_worker().ip, 1))
    return Share(
        whole.threads if os.environ.get(THREADS) else part.threads,
        whole.memory if os.environ.get(MEMORY_LIMIT) else part.memory,
    )


def _put_in_place(made: Path, place: Path) -> None:
    """Give a share's folder its name, unless another worker's is there, which has the same."""
    try:
        os.rename(made, place)
    except OSError:
        if not place.exists():
            raise
