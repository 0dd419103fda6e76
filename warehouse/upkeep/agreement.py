"""Whether the marts agree with the lake's events, which are counted again in another way."""

from collections.abc import Iterator, Sequence
from typing import Any

import duckdb

from gatehouse.warehouse.plain_text import counted

EVENTS_AT_ONCE = 10_000_000
"""Events of several runs that are counted again in one query: to find a run's files takes DuckDB
longer than to count a small run."""

DISAGREEMENTS = """
with counted as (
    select run_id, layer, token_id, count(*) as frequency, avg(entropy::double) as mean_entropy
    from events
    where run_id = any($runs) and token_id is not null
    group by run_id, layer, token_id
)

select run_id, count(*)
from counted
full join (from fct_token_routing where run_id = any($runs)) as mart
    using (run_id, layer, token_id)
where (
    counted.frequency = mart.frequency
    and coalesce(
        abs(counted.mean_entropy - mart.mean_entropy) <= 1e-9 * greatest(mart.mean_entropy, 1),
        counted.mean_entropy is null and mart.mean_entropy is null
    )
) is not true
group by run_id
"""
LOADS = """
with counted as (
    select run_id, layer, expert, count(*) as selections
    from (select run_id, layer, unnest(experts) as expert from events where run_id = any($runs))
    group by run_id, layer, expert
)

select run_id, count(*)
from counted
full join (
    from fct_expert_load where run_id = any($runs) and selections > 0
) as mart using (run_id, layer, expert)
where (counted.selections = mart.selections) is not true
group by run_id
"""
COUNTED_LOADS = """
with counted as (
    from counts where run_id = any($runs)
)

select run_id, count(*)
from counted
full join (from fct_expert_load where run_id = any($runs)) as mart using (run_id, layer, expert)
where (counted.selections = mart.selections) is not true
group by run_id
"""
TOTALS = "select run_id, samples, tokens, events from dim_run where run_id = any($runs)"


def disagreements(
    connection: duckdb.DuckDBPyConnection,
    totals: dict[str, dict[str, int]],
    of_counts: Sequence[str] = (),
) -> dict[str, list[str]]:
    """Return run id -> where its marts differ from its events, one sentence per difference.

    Args:
        connection: to the warehouse that holds the runs.
        totals: run id -> samples, tokens and events by the lake's records, of runs in the marts.
        of_counts: runs in the marts that have only counts, and no events.
    """
    found: dict[str, list[str]] = {run_id: [] for run_id in (*totals, *of_counts)}
    # marts of before there were such runs have nothing to ask for them
    for run_id, number in _rows(connection, COUNTED_LOADS, of_counts) if of_counts else []:
        found[run_id].append(_differ(number, "expert", "load in fct_expert_load"))
    for runs in _batches(totals):
        for noun, what, query in (
            ("token", "frequency or entropy in fct_token_routing", DISAGREEMENTS),
            ("expert", "load in fct_expert_load", LOADS),
        ):
            for run_id, number in _rows(connection, query, runs):
                found[run_id].append(_differ(number, noun, what))
        for run_id, *built in _rows(connection, TOTALS, runs):
            if built != [totals[run_id][name] for name in ("samples", "tokens", "events")]:
                found[run_id].append(_differ(1, "row", "samples, tokens or events in dim_run"))
    return found


def _batches(totals: dict[str, dict[str, int]]) -> Iterator[list[str]]:
    batch: list[str] = []
    events = 0
    for run_id, of_run in totals.items():
        if batch and events + of_run["events"] > EVENTS_AT_ONCE:
            yield batch
            batch, events = [], 0
        batch.append(run_id)
        events += of_run["events"]
    if batch:
        yield batch


def _rows(connection: duckdb.DuckDBPyConnection, query: str, runs: Sequence[str]) -> list[Any]:
    return connection.execute(query, {"runs": list(runs)}).fetchall()


def _differ(number: int, noun: str, what: str) -> str:
    return f"{counted(number, noun)} {'differs' if number == 1 else 'differ'} in {what}"


def compared_rows(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Return run id -> what the rows that `disagreements` compares are known by.

    The same rows are known by the same, whichever order they are in and whichever build made them.
    """
    found: dict[str, list[str]] = {}
    for mart in ("fct_token_routing", "fct_expert_load", "dim_run"):
        of_rows = f"select run_id, count(*), sum(hash(mart)) from {mart} as mart group by run_id"  # noqa: S608 - a mart
        for run_id, rows, hashed in connection.execute(of_rows).fetchall():
            found.setdefault(run_id, []).append(f"{mart} {rows} {hashed}")
    return {run_id: ", ".join(each) for run_id, each in found.items()}


def unreadable_tables(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return which tables of the database cannot be read, one sentence each, after reading all."""
    tables = connection.execute(
        "select table_name from duckdb_tables() where database_name = 'gatehouse' order by 1"
    ).fetchall()
    found = []
    for (table,) in tables:
        try:
            # a count alone would read no column
            every_column = f'select bit_xor(hash(row)) from "{table}" as row'  # noqa: S608 - a table
            connection.execute(every_column).fetchall()
        except duckdb.Error as error:
            found.append(f"{table} cannot be read: {str(error).splitlines()[0]}")
    return found


def runs_in_marts(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Return the runs that the marts hold."""
    return {run_id for (run_id,) in connection.execute("select run_id from dim_run").fetchall()}
