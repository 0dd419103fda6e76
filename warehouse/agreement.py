"""Whether the marts agree with the lake's events, which are counted again in another way."""

import duckdb

from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.plain_text import counted

DISAGREEMENTS = """
with counted as (
    select layer, token_id, count(*) as frequency, avg(entropy::double) as mean_entropy
    from events
    where run_id = $run_id
    group by layer, token_id
)

select count(*)
from counted
full join (from fct_token_routing where run_id = $run_id) as mart using (layer, token_id)
where (
    counted.frequency = mart.frequency
    and abs(counted.mean_entropy - mart.mean_entropy) <= 1e-9 * greatest(mart.mean_entropy, 1)
) is not true
"""
LOADS = """
with counted as (
    select layer, expert, count(*) as selections
    from (select layer, unnest(experts) as expert from events where run_id = $run_id)
    group by layer, expert
)

select count(*)
from counted
full join (
    from fct_expert_load where run_id = $run_id and selections > 0
) as mart using (layer, expert)
where (counted.selections = mart.selections) is not true
"""
TOTALS = """
select count(*)
from dim_run
where
    run_id = $run_id
    and (samples, tokens, events) is distinct from ($samples, $tokens, $events)
"""


def disagreements(connection: duckdb.DuckDBPyConnection, lake: Lake, run_id: str) -> list[str]:
    """Return where the marts of one run differ from its events, one sentence per difference.

    Args:
        connection: to the warehouse that holds the run.
        lake: its records give the totals.
        run_id: a run in the marts.
    """
    rows = lake.shards(run_id).values()
    totals = {name: sum(row[name] for row in rows) for name in ("samples", "tokens", "events")}
    checks: tuple[tuple[str, str, str, dict[str, int]], ...] = (
        ("token", "frequency or entropy in fct_token_routing", DISAGREEMENTS, {}),
        ("expert", "load in fct_expert_load", LOADS, {}),
        ("row", "samples, tokens or events in dim_run", TOTALS, totals),
    )
    found = []
    for noun, what, query, values in checks:
        row = connection.execute(query, {"run_id": run_id} | values).fetchone()
        if row and row[0]:
            differ = "differs" if row[0] == 1 else "differ"
            found.append(f"{counted(row[0], noun)} {differ} in {what}")
    return found


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
