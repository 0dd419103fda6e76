"""A build on many workers: what goes layer by layer is computed there, the rest in this process.

Three parts, of which the second takes the time: dbt makes here what the layers have in common, the
list of shards first; every worker makes the layered tables of its share of the layers, as Parquet
files; dbt makes everything else here, and reads these files in place of the events.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb

from gatehouse.flows.console import bar, say, working
from gatehouse.flows.request import Workers
from gatehouse.flows.steps.building.command import Dbt, fingerprint
from gatehouse.flows.steps.building.layers import LAWS_OF_EVENTS, LAYERED, Order, build_layers
from gatehouse.flows.steps.dbt_runs import PARTIALS
from gatehouse.flows.steps.workers.connection import Connection, connected
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import make_folder
from gatehouse.warehouse.plain_text import counted

KEPT = ("int_token_expert_routing", "int_token_expert_selection")
"""Layered tables to which a share adds rows and which it reads: those of runs that wait."""


def build(dbt: Dbt, workers: Workers) -> list[Any]:
    """Build and test every model; return the models and tests, as dbt describes them.

    Args:
        dbt: on the database that is built, a copy of the previous one or none yet, in a folder
            that is removed afterwards.
        workers: that are asked for.

    Raises:
        GatehouseError: a model or test failed (named), here or on a worker; a worker does not see
            the lake; or as `connected`.
    """
    with working("building what all layers have in common"):
        nodes = dbt.run("run", "--select", f"+{LAYERED}", "--exclude", LAYERED)
    common = [node for node in nodes if node.resource_type == "model"]
    excluded = [node.name for node in common]
    layers = _new_layers(dbt.database)
    if layers:
        dbt = _with_layers(dbt, layers, [node.alias for node in common], workers)
        excluded.append(LAWS_OF_EVENTS)
    with working("building and testing marts"):
        # the common tables are there, and their tests have not run
        rest = dbt.run(
            "build",
            *("--exclude-resource-type", "unit_test", "--indirect-selection", "empty"),
            *("--exclude", *excluded),
        )
    return common + rest


def shares(layers: Sequence[int], number: int) -> list[tuple[int, int]]:
    """Divide layers, in their order, into so many shares of nearly equal size.

    Returns:
        The first and the last layer of each; fewer shares where there are fewer layers.
    """
    number = min(number, len(layers))
    ends = [len(layers) * place // number for place in range(number + 1)]
    return [(layers[ends[place]], layers[ends[place + 1] - 1]) for place in range(number)]


def _with_layers(dbt: Dbt, layers: Sequence[int], given: Sequence[str], workers: Workers) -> Dbt:
    """Let workers build the layered tables; return dbt as it reads what they have made."""
    partials = dbt.database.parent / "partials"
    make_folder(partials)
    here = min(workers.number or 1, len(layers))
    own = dbt.share.divided(here).as_environment()
    with connected(workers, [own] * here) as connection:
        hosts = connection.hosts()
        asked = workers.number or len(hosts)
        divided = shares(layers, asked)
        if len(divided) < asked:
            say(f"{len(divided)} of {asked} workers: {counted(len(layers), 'MoE layer')} to build")
        orders = [
            Order(
                lake=str(dbt.lake),
                base=str(dbt.database),
                partials=str(partials),
                layers=each,
                given=tuple(given),
                kept=_kept(dbt.database),
                fingerprint=fingerprint(),
                neighbours=dict(Counter(hosts)),
            )
            for each in divided
        ]
        _collect(connection, orders, layers)
    return replace(dbt, settings={PARTIALS: str(partials)})


def _collect(connection: Connection, orders: Sequence[Order], layers: Sequence[int]) -> None:
    """Wait until every share is built.

    Raises:
        GatehouseError: one of them failed.
    """
    made = 0
    with bar(f"building layers on {counted(len(orders), 'worker')}", len(layers)) as moved:
        for (first, last), failed in connection.results(build_layers, orders):
            if failed:
                raise GatehouseError(failed)
            made += sum(first <= layer <= last for layer in layers)
            moved(made)


def _new_layers(database: Path) -> list[int]:
    """Return the layers that have events which this build reads."""
    query = """
        select distinct layer from stg_new_layers
        semi join stg_shards using (run_id)
        order by layer
    """
    with closing(duckdb.connect(str(database), read_only=True)) as connection:
        return [layer for (layer,) in connection.execute(query).fetchall()]


def _kept(database: Path) -> tuple[str, ...]:
    """Return those of KEPT that the previous build has made."""
    with closing(duckdb.connect(str(database), read_only=True)) as connection:
        tables = connection.execute("select table_name from duckdb_tables()").fetchall()
    return tuple(name for name in KEPT if (name,) in tables)
