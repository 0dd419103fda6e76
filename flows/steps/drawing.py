"""A second process draws many of a run's figures while this one does the rest after a build.

Matplotlib uses one core, and takes as long as the statistics, the layers' figures and the page
together. The process starts before the build, or before the text is read, so that it has imported
what it needs by then. It draws one figure of the run after another, first those that need no
verdict, for which it assesses no layer. This one draws the layers' figures, and then takes from the
other end of the list, until none is left that nobody has begun.
"""

import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from gatehouse.flows import process
from gatehouse.reports.marts.untold import A_VERDICT
from gatehouse.reports.results import files
from gatehouse.reports.results.results import Results, open_results
from gatehouse.reports.results.selection import Selection
from gatehouse.reports.verdict.thresholds import Thresholds
from gatehouse.warehouse import environment
from gatehouse.warehouse.paths import Paths

BESIDE = """
from gatehouse.flows.steps.drawing import draw_what_is_asked
draw_what_is_asked()
"""


class Drawer:
    """Draws figures in two processes until the `with` block of `drawer` ends.

    Args:
        beside: the second process, or None on a machine of one core.
    """

    def __init__(self, beside: "subprocess.Popen[str] | None") -> None:
        self._beside = beside
        self._left: deque[str] = deque()
        self._drawn: dict[str, Path] = {}
        self._has_offered = threading.Event()
        self._asking = threading.Thread(target=self._ask, daemon=True)

    def begin(self, selection: Selection, paths: Paths, output: Path | None) -> None:
        """Let the second process draw figures of the selected run, which is in the marts by now."""
        if not (self._beside and self._beside.stdin):
            return
        asked = {
            "home": str(paths.root),
            "run_id": selection.run_id,
            "thresholds": vars(selection.thresholds),
            "output": str(output) if output else None,
        }
        # one that has ended is found out when it answers
        with suppress(OSError):
            self._beside.stdin.write(json.dumps(asked) + "\n")
            self._beside.stdin.flush()
        self._asking.start()

    def figures(self, results: Results) -> dict[str, Path]:
        """Draw what is left, and what the second process could not; return as `write_figures`."""
        # matplotlib takes a second to import
        from gatehouse.reports.figures.gallery import FIGURES, RUN_FIGURES

        drawn = files.write_section_figures(results)
        if self._asking.ident:
            self._has_offered.wait()
            while stem := _taken(self._left.pop):
                drawn |= files.write_run_figures(results, stems=[stem])
            self._asking.join()
        drawn |= self._drawn
        drawn |= files.write_run_figures(results, stems=RUN_FIGURES.keys() - drawn.keys())
        return {stem: drawn[stem] for stem in (*FIGURES, *RUN_FIGURES) if stem in drawn}

    def _ask(self) -> None:
        """Ask the second process for one figure after another, until none is left or it ends."""
        try:
            self._left.extend(json.loads(self._answer()))
            self._has_offered.set()
            while stem := _taken(self._left.popleft):
                self._drawn[stem] = Path(json.loads(self._answer(stem)))
        except (OSError, ValueError):  # it has ended, and this process draws the rest
            self._has_offered.set()

    def _answer(self, asked: str | None = None) -> str:
        assert self._beside and self._beside.stdin and self._beside.stdout
        if asked:
            self._beside.stdin.write(f"{asked}\n")
            self._beside.stdin.flush()
        return self._beside.stdout.readline()


def _taken(take: Callable[[], str]) -> str | None:
    """Return what is taken from a list that another thread takes from, too; None at its end."""
    try:
        return take()
    except IndexError:
        return None


_ahead: "list[subprocess.Popen[str]]" = []


@contextmanager
def started_ahead() -> Iterator[None]:
    """Start the second process now; the first `drawer` in the block takes it."""
    with _started() as beside:
        _ahead.extend([beside] if beside else [])
        try:
            yield
        finally:
            _ahead.clear()


@contextmanager
def drawer() -> Iterator[Drawer]:
    """Start the second process, unless it has started ahead, and end it with the block."""
    if _ahead:
        yield Drawer(_ahead.pop())
        return
    with _started() as beside:
        yield Drawer(beside)


@contextmanager
def _started() -> "Iterator[subprocess.Popen[str] | None]":
    """Start a process that draws, on a machine of several cores, and end it with the block."""
    if cores() < 2:
        yield None
        return
    beside = subprocess.Popen(
        [sys.executable, "-P", "-c", BESIDE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env=environment.of_a_process(),
    )
    try:
        yield beside
    finally:
        beside.kill()
        # closes the pipes, too
        with suppress(OSError):
            beside.communicate()


def cores() -> int:
    """Return how many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def draw_what_is_asked() -> None:
    """Read from standard input which run is asked for; print the stems of its figures.

    Then draw each figure that is asked for, and print where it is, until nobody asks any more.
    """
    from gatehouse.reports.figures.gallery import NEEDS, run_figures

    process.collect_rarely()
    line = sys.stdin.readline()
    if not line:
        return
    asked = json.loads(line)
    selection = Selection(None, asked["run_id"], None, Thresholds(**asked["thresholds"]))
    output = Path(asked["output"]) if asked["output"] else None
    opened = partial(open_results, selection, Paths(Path(asked["home"])), _silent, output)
    results = opened(assessed=False)
    assert results.of_run is not None, "a run was named"
    drawn = run_figures(results.of_run)
    needing = {stem for stem in drawn if NEEDS.get(stem, frozenset()) >= A_VERDICT}
    print(json.dumps(sorted(drawn, key=needing.__contains__)), flush=True)
    for stem in map(str.strip, sys.stdin):
        if stem in needing and not results.sections:
            results = opened()
        (path,) = files.write_run_figures(results, stems=[stem]).values()
        print(json.dumps(str(path)), flush=True)


@contextmanager
def _silent(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    yield lambda done: None
