"""A second process draws a run's own figures while this one does the rest that follows a build.

Matplotlib uses one core, and takes as long as the statistics, the layers' figures and the page
together. The process starts before the build, so that it has imported what it needs by then.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gatehouse.flows import process
from gatehouse.reports.figures.gallery import FIGURES, RUN_FIGURES
from gatehouse.reports.results import files
from gatehouse.reports.results.results import Results, open_results
from gatehouse.reports.results.selection import Selection
from gatehouse.reports.verdict.thresholds import Thresholds
from gatehouse.warehouse import environment
from gatehouse.warehouse.paths import Paths

LEFT = 2
"""Figures of the run for this process, beside those of one layer: so both end together."""

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
        self._asked: list[str] = []

    def begin(self, selection: Selection, paths: Paths, output: Path | None) -> None:
        """Let the second process draw figures of the selected run, which is in the marts by now."""
        if not (self._beside and self._beside.stdin):
            return
        stems = list(RUN_FIGURES)
        # a layer's own figures take less time than these: where there is one, so many are left
        self._asked = stems if selection.layer is None else stems[:-LEFT]
        asked = {
            "home": str(paths.root),
            "run_id": selection.run_id,
            "thresholds": vars(selection.thresholds),
            "output": str(output) if output else None,
            "stems": self._asked,
        }
        # one that has ended is found out when its figures are wanted
        with suppress(OSError):
            self._beside.stdin.write(json.dumps(asked) + "\n")
            self._beside.stdin.flush()

    def figures(self, results: Results) -> dict[str, Path]:
        """Draw what is left, and what the second process could not; return as `write_figures`."""
        drawn = files.write_section_figures(results)
        drawn |= files.write_run_figures(results, stems=RUN_FIGURES.keys() - self._asked)
        drawn |= self._drawn_beside()
        drawn |= files.write_run_figures(results, stems=RUN_FIGURES.keys() - drawn.keys())
        return {stem: drawn[stem] for stem in (*FIGURES, *RUN_FIGURES) if stem in drawn}

    def _drawn_beside(self) -> dict[str, Path]:
        if self._beside and self._beside.stdout:
            with suppress(ValueError):
                told: dict[str, str] = json.loads(self._beside.stdout.readline())
                return {stem: Path(path) for stem, path in told.items()}
        return {}


@contextmanager
def drawer() -> Iterator[Drawer]:
    """Start the second process, and end it with the block."""
    if cores() < 2:
        yield Drawer(None)
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
        yield Drawer(beside)
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
    """Read from standard input which run's figures are wanted, draw them, print where they are."""
    process.collect_rarely()
    line = sys.stdin.readline()
    if not line:
        return
    process.end_with_parent()
    asked = json.loads(line)
    selection = Selection(None, asked["run_id"], None, Thresholds(**asked["thresholds"]))
    output = Path(asked["output"]) if asked["output"] else None
    results = open_results(selection, Paths(Path(asked["home"])), _silent, output)
    drawn = files.write_run_figures(results, stems=asked["stems"])
    print(json.dumps({stem: str(path) for stem, path in drawn.items()}), flush=True)


@contextmanager
def _silent(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    yield lambda done: None
