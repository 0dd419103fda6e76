"""What a person sees of long work: one console on standard error, one bar at a time."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

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

_logs: list[Callable[[str], bool]] = []


def also_to(log: Callable[[str], bool]) -> None:
    """Give each later line to `log` too, which returns whether it has shown it on this console."""
    _logs.append(log)


def say(message: str) -> None:
    """Print one line of plain text; long lines are not folded, so paths stay whole."""
    line = printable(message)
    if not _logged(line):
        console.print(line, markup=False, emoji=False, soft_wrap=True)


def _logged(line: str) -> bool:
    """Give a line to every log; return whether one of them has shown it on this console."""
    return any([log(line) for log in _logs])


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


@contextmanager
def bar(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar while the block runs; the function that it yields moves it to `done` of `total`.

    Without a terminal (a worker's log, a file), it says a line at most every half minute.
    """
    if not console.is_terminal:
        yield _lines(description, total, say)
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
        log = _lines(description, total, _logged)

        def moved(done: int) -> None:
            progress.update(task, completed=done)
            log(done)

        yield moved


def _lines(
    description: str, total: int | None, say: Callable[[str], object]
) -> Callable[[int], None]:
    said = monotonic()

    def moved(done: int) -> None:
        nonlocal said
        if monotonic() - said >= SECONDS_BETWEEN_LINES:
            said = monotonic()
            say(f"{description}: {done:,}" + (f" of {total:,}" if total else ""))

    return moved
