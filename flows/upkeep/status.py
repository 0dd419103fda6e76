"""`gatehouse status`: every run of the lake, how far it is, how fast, and whether it is whole."""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.plain_text import printable
from gatehouse.warehouse.verification import REMOVE, Health, check_all_quickly

COLUMNS = ("run", "model", "dataset", "shards", "tokens", "dropped", "tokens/s", "left", "state")


def overview(paths: Paths) -> str:
    """Return the lake's runs as a table, the latest last.

    `dropped` counts tokens beyond --max-length, `left` is the time that the pending shards will
    take at the rate of those that have landed.
    """
    lake = Lake(paths.lake)
    rows = [_row(lake, run_id, seen) for run_id, seen in check_all_quickly(lake).items()]
    if not rows:
        return f"no runs in {paths.lake}: `gatehouse run` makes the first\n"
    table = Table(*COLUMNS, box=None)
    for _, row in sorted(rows, key=lambda row: row[0]):
        table.add_row(*row)
    console = Console(
        width=None if os.isatty(1) else 240, highlight=False, markup=False, emoji=False
    )
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def _row(lake: Lake, run_id: str, seen: Health) -> tuple[datetime, list[str]]:
    """Return (start, cells) of a run; the cells of a damaged one say so."""
    problems = [problem for problem in seen.problems if problem.cure != REMOVE]
    record = seen.record
    if record is None:
        state = f"damaged: {problems[0].what}"
        return datetime.min.replace(tzinfo=UTC), [run_id, *[""] * 7, state]
    landed = [seen.recorded[shard] for shard in seen.intact]
    tokens, seconds = (sum(row[name] for row in landed) for name in ("tokens", "seconds"))
    pending = record["shards"] - len(landed)
    left = seconds / len(landed) * pending if landed and pending else 0
    cells = [
        run_id,
        printable(record["model"]),
        printable(record["dataset"]),
        f"{len(landed)}/{record['shards']}",
        f"{tokens:,}",
        f"{sum(row['dropped_tokens'] for row in landed):,}",
        f"{tokens / seconds:,.0f}" if seconds else "",
        str(timedelta(seconds=round(left))) if left else "",
        _state(record, problems, lake.writer(run_id)),
    ]
    return record["started_at"], cells


def _state(record: dict[str, Any], problems: list[Any], writer: str | None) -> str:
    if writer:
        return f"being written by {writer}"
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        return f"damaged: {problems[0].what}{more}: `gatehouse verify --repair`"
    return "finished" if record["finished_at"] else "unfinished: run it again to resume"
