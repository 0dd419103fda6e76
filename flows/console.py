"""What a person sees of long work: one console on standard error, one bar at a time."""

import codecs
import contextvars
import io
import json
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from gatehouse.warehouse.plain_text import STEERING, printable, printable_lines

SECONDS_OF_SILENCE = 5
SECONDS_BETWEEN_LINES = 30
LISTED_NUMBERS = 8
BEYOND_ASCII = re.compile(r"[^\x00-\x7e]+")
STEERING_IN_JSON = re.compile(rf"(?![\x00-\x1f]){STEERING.pattern}")
"""JSON escapes the first control characters itself, and has line ends of its own."""

HUES = ("#3397ce", "#ffc470", "#cd758e", "#9ba848", "#6cdeff", "#95adff", "#ff95a0", "#c3e8c8")
ON_HUE = "#14171d"
"""The hues of experts, and of words on them, that the report's page has as well."""

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


def answer(text: str) -> None:
    """Print what a command answers on standard output, the one way there for text from outside.

    Names and tokens come from others: what would steer a terminal is escaped in each line.
    """
    print(printable_lines(text), end="" if text.endswith("\n") else "\n")


def answer_coloured(pieces: Iterable[tuple[str, int | None]]) -> None:
    """Print text whose pieces have one of HUES behind them, where a person's terminal has colours.

    Without a terminal, and where NO_COLOR is set, it is plain. What would steer a terminal is
    escaped as in `answer`.
    """
    text = Text()
    for piece, hue in pieces:
        style = "" if hue is None else f"{ON_HUE} on {HUES[hue]}"
        text.append(printable_lines(piece), style=style)
    # tabs and line ends are as they came
    Console(highlight=False, soft_wrap=True).print(text, end="")


def terminal_width() -> int | None:
    """Return the columns of the terminal that shows an answer; None if that is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def answer_data(part: str) -> None:
    """Print part of a CSV or JSON document, as it is unless a person reads it on a terminal."""
    sys.stdout.write(printable_lines(part) if sys.stdout.isatty() else part)


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


def document(content: Any) -> str:
    """Return one JSON document for programs; times as ISO 8601."""
    text = json.dumps(content, indent=2, ensure_ascii=False, default=datetime.isoformat)
    return json_that_can_be_printed(text)


def prints_utf_8() -> bool:
    """Return whether standard output takes every character."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return codecs.lookup(encoding).name == "utf-8"


def json_that_can_be_printed(text: str) -> str:
    """Return JSON that means the same and steers no terminal, in ASCII where that is not UTF-8."""
    found = STEERING_IN_JSON if prints_utf_8() else BEYOND_ASCII
    return found.sub(_escaped_in_json, text)


def _escaped_in_json(found: re.Match[str]) -> str:
    digits = found[0].encode("utf-16-be", "surrogatepass").hex()
    return re.sub("....", r"\\u\g<0>", digits)


def print_every_character() -> None:
    """Put standard output into UTF-8 unless a person reads it: CSV has no escapes."""
    if isinstance(sys.stdout, io.TextIOWrapper) and not (prints_utf_8() or sys.stdout.isatty()):
        sys.stdout.reconfigure(encoding="utf-8")


class Remaining(ProgressColumn):
    """The time that what is left will take at the rate so far, known from the first unit on."""

    def render(self, task: Task) -> Text:
        """Return the time as h:mm:ss; nothing before the first unit."""
        left = _seconds_left(task.elapsed or 0.0, task.completed, task.total)
        words = "" if left is None else f"{clock(left)} left"
        return Text(words, style="progress.remaining")


def _description() -> TextColumn:
    return TextColumn("{task.description}", markup=False)


@contextmanager
def bar(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar while the block runs; the function that it yields moves it to `done` of `total`.

    Without a terminal (a worker's log, a file), a line says how far it is after five seconds, and
    then every half minute; a log of lines gets these beside a terminal's bar, too.
    """
    if not console.is_terminal:
        with _lines(description, total, say) as moved:
            yield moved
        return
    columns = (
        SpinnerColumn(),
        _description(),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        Remaining(),
    )
    with (
        Progress(*columns, console=console, transient=True) as progress,
        _lines(description, total, _logged) as logged,
    ):
        task = progress.add_task(printable(description), total=total)

        def moved(done: int) -> None:
            progress.update(task, completed=done)
            logged(done)

        yield moved


@contextmanager
def working(description: str) -> Iterator[None]:
    """Show that the block is at work, where it has no steps to count; lines as `bar` has them."""
    if not console.is_terminal:
        with _lines(description, None, say):
            yield
        return
    columns = (SpinnerColumn(), _description(), TimeElapsedColumn())
    with (
        Progress(*columns, console=console, transient=True) as progress,
        _lines(description, None, _logged),
    ):
        progress.add_task(printable(description), total=None)
        yield


@contextmanager
def _lines(
    description: str, total: int | None, say: Callable[[str], object]
) -> Iterator[Callable[[int], None]]:
    started, reached, over = time.monotonic(), [0], threading.Event()

    def speak() -> None:
        silence: float = SECONDS_OF_SILENCE
        while not over.wait(silence):
            say(_line(description, reached[0], total, time.monotonic() - started))
            silence = SECONDS_BETWEEN_LINES

    def moved(done: int) -> None:
        reached[0] = done

    # a run's log is known by the context of the thread that works
    speaker = threading.Thread(target=contextvars.copy_context().run, args=(speak,), daemon=True)
    speaker.start()
    try:
        yield moved
    finally:
        over.set()
        speaker.join()


def _line(description: str, done: int, total: int | None, elapsed: float) -> str:
    """Return how far work is: what is known of its steps, and the time it took or has left."""
    if not done:
        return f"{description}, {clock(elapsed)} so far"
    left = _seconds_left(elapsed, done, total)
    of = f" of {total:,}" if total else ""
    return f"{description}: {done:,}{of}" + ("" if left is None else f", {clock(left)} left")


def _seconds_left(elapsed: float, done: float, total: float | None) -> float | None:
    return elapsed / done * (total - done) if done and total else None


def clock(seconds: float) -> str:
    """Return a time as h:mm:ss."""
    return str(timedelta(seconds=round(seconds)))
