"""What the source of a run did not tell: a trace may hold experts alone, or only their counts."""

from collections.abc import Collection
from typing import Any

import duckdb

from gatehouse.reports.marts.session import frame_of
from gatehouse.warehouse.records import COUNTED

EVENTS = "events"
"""Where a source does not tell them, it tells nothing of tokens at all."""

ENTROPY = "entropy"
TOKEN_IDS = "token ids"
WEIGHTS = "weights"
ORDER = "order of its experts"

A_VERDICT = frozenset({EVENTS, ENTROPY, TOKEN_IDS, ORDER})
"""What the three criteria and the consistency beside them are computed from."""


def untold_by_run(connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[str, ...]]:
    """Return for every run in the marts what its source did not tell; nothing for a capture."""
    query = """
        select
            dim_run.run_id,
            bool_and(dim_run.source <> $1) as has_events,
            bool_and(dim_layer.has_distribution) as has_entropy,
            bool_and(dim_run.has_token_ids) as has_token_ids,
            bool_and(dim_layer.has_weights) as has_weights,
            bool_and(dim_layer.ranked) as has_order
        from dim_run
        inner join dim_layer on dim_run.run_id = dim_layer.run_id
        group by dim_run.run_id, dim_run.finished_at
        order by dim_run.finished_at, dim_run.run_id
    """
    things = (EVENTS, ENTROPY, TOKEN_IDS, WEIGHTS, ORDER)
    return {
        run_id: tuple(thing for thing, told in zip(things, flags, strict=True) if not told)
        for run_id, *flags in frame_of(connection, query, [COUNTED]).itertuples(index=False)
    }


def has_none(run: dict[str, Any], things: Collection[str]) -> str:
    """Return that a run lacks these things and why, as the first half of a sentence.

    Args:
        run: the row of `dim_run`.
        things: some of what its source did not tell.
    """
    return f"{run['run_id']} has {listed_none(things)}, as its trace ({run['source']}) has none"


def listed_none(things: Collection[str]) -> str:
    """Return `no entropy, no token ids and no weights`."""
    *others, last = (f"no {thing}" for thing in things)
    return f"{', '.join(others)} and {last}" if others else last


def nothing_to_validate(run: dict[str, Any], untold: Collection[str]) -> str:
    """Return the line on a run that cannot have a verdict, with the way out."""
    run_id, missing = run["run_id"], [thing for thing in untold if thing in A_VERDICT]
    return (
        f"{has_none(run, missing)}: there is nothing to validate; "
        f"`gatehouse report --run {run_id}` shows what it has"
    )
