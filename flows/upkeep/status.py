"""`gatehouse status`: every run of the lake, how far it is, how fast, and whether it is whole."""

import os
from datetime import UTC, datetime
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table

from gatehouse.flows.console import clock, document
from gatehouse.flows.upkeep.replays import in_words, replay_seen
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.notes.run_names import name_of
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.plain_text import printable
from gatehouse.warehouse.records import precision
from gatehouse.warehouse.remembered.rows import remembered_rows
from gatehouse.warehouse.runs.shards import captured_since
from gatehouse.warehouse.upkeep.health import REMOVE, Health, check_all_quickly

FINISHED, UNFINISHED, WRITING, DAMAGED = "finished", "unfinished", "being written", "damaged"
COLUMNS = (
    "run",
    "name",
    "model",
    "precision",
    "dataset",
    "shards",
    "tokens",
    "dropped",
    "tokens/s",
    "left",
    "state",
)


def overview(paths: Paths, form: str = "text") -> str:
    """Return the lake's runs, the latest last.

    Args:
        paths: the warehouse.
        form: text, a table: `dropped` counts tokens beyond --max-length, `left` is the time that
            the pending shards will take at the rate of those that have landed. Or json: home, and
            of each of runs what `_seen` returns.
    """
    with remembered_rows(paths.remembered) as known:
        lake = Lake(paths.lake, known)
        seen = check_all_quickly(lake)
        with lake.storage.listed_once(lake.root):
            every = [_seen(lake, run_id, health) for run_id, health in seen.items()]
    beginning = datetime.min.replace(tzinfo=UTC)
    every.sort(key=lambda run: run["started_at"] or beginning)
    if form == "json":
        return document({"home": str(paths.root), "runs": every}) + "\n"
    if not every:
        return f"no runs in {paths.lake}: `gatehouse run` makes the first\n"
    rows = [_cells(run) for run in every]
    shown = [name for name in COLUMNS if name != "name" or any(row[name] for row in rows)]
    # without styles, too: an answer has no escapes at all
    console = Console(
        width=None if os.isatty(1) else 240,
        color_system=None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    return _table(shown, [[row[name] for name in shown] for row in rows], console)


def _table(names: list[str], rows: list[list[str]], console: Console) -> str:
    """Return rows under the names of their columns, with the cells folded where they must be."""
    lines = [names, *rows]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    if sum(width + 2 for width in widths) <= console.width:
        # what rich makes of it, which takes longer than to find out about the runs
        padded = (
            [set_cell_size(*cell) for cell in zip(line, widths, strict=True)] for line in lines
        )
        return "".join(f" {'  '.join(line)} \n" for line in padded)
    table = Table(*names, box=None)
    for row in rows:
        table.add_row(*row)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def _seen(lake: Lake, run_id: str, health: Health) -> dict[str, Any]:
    """Return what is seen of a run: of a damaged record, null for what it would say.

    tokens and dropped_tokens are of the landed shards, tokens_per_second of those that all of the
    run's processes captured; seconds_left is null if nothing is pending or nothing has landed;
    state is finished, unfinished, being written or damaged; writer is the process that writes it,
    or all of them; replay is what `replay_seen` returns while it is replayed; problems says in
    sentences what is wrong.
    """
    record = health.record or {}
    landed = [health.recorded[shard] for shard in health.intact]
    own, seconds = captured_since(landed, record["started_at"]) if record else (landed, 0.0)
    pending = record.get("shards", 0) - len(landed)
    problems = [problem.what for problem in health.problems if problem.cure != REMOVE]
    writer = lake.locks.writer(run_id) if record or not problems else None
    named = ("model", "dataset", "dtype", "quantization", "shards", "started_at", "finished_at")
    return {
        "run_id": run_id,
        "name": name_of(lake.root, run_id),
        **{name: record.get(name) for name in named},
        "landed_shards": len(landed),
        "tokens": sum(row["tokens"] for row in landed),
        "dropped_tokens": sum(row["dropped_tokens"] for row in landed),
        "tokens_per_second": sum(row["tokens"] for row in own) / seconds if seconds else None,
        "seconds_left": seconds / len(own) * pending if own and pending else None,
        "state": _state(record, problems, writer),
        "writer": writer,
        # what is captured or imported has not finished
        "replay": replay_seen(lake, run_id) if writer and record.get("finished_at") else None,
        "problems": problems,
    }


def _state(record: dict[str, Any], problems: list[str], writer: str | None) -> str:
    if writer:
        return WRITING
    if problems:
        return DAMAGED
    return FINISHED if record.get("finished_at") else UNFINISHED


def _cells(run: dict[str, Any]) -> dict[str, str]:
    """Return a run's cells by COLUMNS; those of a damaged record are empty."""
    cells = dict.fromkeys(COLUMNS, "") | {"run": run["run_id"], "name": run["name"] or ""}
    cells["state"] = _state_words(run)
    if run["model"] is None:
        return cells
    rate, left = run["tokens_per_second"], run["seconds_left"]
    return cells | {
        "model": printable(run["model"]),
        "precision": precision(run),
        "dataset": printable(run["dataset"]),
        "shards": f"{run['landed_shards']}/{run['shards']}",
        "tokens": f"{run['tokens']:,}",
        "dropped": f"{run['dropped_tokens']:,}",
        "tokens/s": f"{rate:,.0f}" if rate else "",
        "left": clock(left) if left else "",
    }


def _state_words(run: dict[str, Any]) -> str:
    if run["replay"]:
        return f"being replayed by {run['writer']}: {in_words(run['replay'])}"
    if run["state"] == WRITING:
        return f"being written by {run['writer']}"
    if run["state"] == DAMAGED:
        first, *others = run["problems"]
        more = f" and {len(others)} more" if others else ""
        # what --repair cannot mend names its own way out
        way_out = "" if "`gatehouse " in first else ": `gatehouse verify --repair`"
        return f"damaged: {first}{more}{way_out}"
    return "finished" if run["state"] == FINISHED else "unfinished: run it again to resume"
