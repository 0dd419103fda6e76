"""What a person sees of long work: one console on standard error, one bar at a time."""

import json
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from gatehouse.warehouse.plain_text import printable

SECONDS_BETWEEN_LINES = 30
LISTED_NUMBERS = 8
console = Console(stderr=True, highlight=False)


def say(message: str) -> None:
    """Print one line of plain text; long lines are not folded, so paths stay whole."""
    console.print(printable(message), markup=False, emoji=False, soft_wrap=True)


def short_path(path: Path) -> str:
    """Return a path in the shortest form that can be typed here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def listed(noun: str, numbers: Collection[int]) -> str:
    """Return numbers as a person lists them, the first few of many: shards 1, 2 and 7."""
    names = [str(number) for number in sorted(numbers)]
    if len(names) == 1:
        return f"{noun} {names[0]}"
    if len(names) > LISTED_NUMBERS:
        names[LISTED_NUMBERS:] = [f"{len(names) - LISTED_NUMBERS:,} more"]
    return f"{noun}s {', '.join(names[:-1])} and {names[-1]}"


def document(content: Any) -> str:
    """Return one JSON document for programs; times as ISO 8601."""
    return json.dumps(content, indent=2, ensure_ascii=False, default=datetime.isoformat)


@contextmanager
def bar(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar while the block runs; the function that it yields moves it to `done` of `total`.

    Without a terminal (a worker's log, a file), it prints a line at most every half minute.
    """
    if not console.is_terminal:
        yield _lines(description, total)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(description, total=total)
        yield lambda done: progress.update(task, completed=done)


def _lines(description: str, total: int | None) -> Callable[[int], None]:
    said = time.monotonic()

    def moved(done: int) -> None:
        nonlocal said
        if time.monotonic() - said >= SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            say(f"{description}: {done:,}" + (f" of {total:,}" if total else ""))

    return moved
