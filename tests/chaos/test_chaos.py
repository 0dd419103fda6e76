"""A run that was killed and run again equals one that was not; and differences are detected."""

import os
import pkgutil
import re
import shutil
import subprocess
import sys
import threading
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps import capture
from gatehouse.warehouse.files import write_atomically
from gatehouse.warehouse.paths import PACKAGE, Paths
from tests.chaos import alone, command, plan
from tests.chaos.contents import compare, contents
from tests.chaos.processes import Call, Ended, Moment, start, wait
from tests.chaos.rows import Rows
from tests.chaos.scenes import complaint


def test_killed_at_points_of_every_phase_and_run_again_equals_uninterrupted():
    """Half a minute of `make chaos`, in a process that has imported everything once."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--short"],
        capture_output=True,
        text=True,
        cwd=PACKAGE,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    line = re.search(r"(?m)^\| all \|((?: \d+ \|){7})$", ended.stdout)
    assert line, ended.stdout
    numbers = map(int, re.findall(r"\d+", line[1]))
    points, killed, survived, lost, doubled, left_over, differing = numbers
    assert points == killed == survived == 10, ended.stdout
    assert lost == doubled == left_over == differing == 0, ended.stdout


def test_every_function_at_which_something_is_killed_is_there():
    """Of Gatehouse; those of libraries take seconds to import."""
    whole = Ended([(0.0, "forward")], 0, 1.0)
    attempts = [*plan.named(), *plan.short(), *plan.variations(whole, 1), *command.commands()]
    of_commands = [points for kind in alone.KINDS.values() for points in kind.named]
    points = chain(*(attempt.points for attempt in attempts), *of_commands)
    named = {point.function for point in points if isinstance(point, Call)}
    functions = {each.partition(":")[0] for each in named if each.startswith("gatehouse.")}
    for function in functions:
        assert callable(pkgutil.resolve_name(function)), function


@pytest.fixture(scope="module")
def lake(tiny_mixtral, tmp_path_factory) -> Path:
    """A home of one captured run."""
    folder = tmp_path_factory.mktemp("lake")
    corpus = folder / "texts.txt"
    corpus.write_text("the router sends every token to two experts\nof a layer\n")
    request = RunRequest(model=str(tiny_mixtral), dataset=str(corpus))
    capture.capture(request, Paths(folder / "home"))
    return folder / "home"


def other(lake: Path, folder: Path, change) -> Path:
    """Copy the home, with its events changed."""
    home = shutil.copytree(lake, folder / "home")
    path = next((home / "lake" / "events").rglob("*.parquet"))
    pq.write_table(change(pq.read_table(path, partitioning=None)), path)
    return home


def with_column(events: pa.Table, name: str, change) -> pa.Table:
    place = events.schema.get_field_index(name)
    values = [
        change(value) if row == 3 else value for row, value in enumerate(events[name].to_pylist())
    ]
    return events.set_column(place, events.field(name), pa.array(values, events[name].type))


def twice(events: pa.Table) -> pa.Table:
    return pa.concat_tables([events, events.slice(5, 1)])


def nearer(events: pa.Table) -> pa.Table:
    return with_column(events, "entropy", lambda value: value + 1e-6)


EVENTS = "lake events, exact columns by inf"
CHANGES = {
    "nothing": (lambda events: events, 0, 0, []),
    "a dropped event": (
        lambda events: events.slice(1),
        1,
        0,
        [EVENTS],
    ),
    "a doubled event": (twice, 0, 1, [EVENTS]),
    "another expert": (
        lambda events: with_column(events, "experts", lambda value: [value[0], 9]),
        0,
        0,
        [EVENTS],
    ),
    "a token moved": (
        lambda events: with_column(events, "position", lambda value: 77),
        1,
        0,
        [EVENTS],
    ),
}


@pytest.mark.parametrize("other_batches", [False, True])
@pytest.mark.parametrize("what", CHANGES)
def test_what_differs_is_seen(what, other_batches, lake, tmp_path):
    change, lost, doubled, differing = CHANGES[what]
    home = other(lake, tmp_path, change)
    reference, found = (contents(each, other_batches=other_batches) for each in (lake, home))
    difference = compare(reference, found, other_batches=other_batches)
    assert (difference.lost, difference.doubled) == (lost, doubled)
    assert difference.differing == differing
    assert bool(difference) == (what != "nothing")


def test_an_entropy_may_differ_by_rounding_only_where_batches_do(lake, tmp_path):
    home = other(lake, tmp_path, nearer)
    exact = compare(contents(lake), contents(home))
    assert len(exact.differing) == 1 and exact.differing[0].startswith("lake events, entropy by ")
    loose = [contents(each, other_batches=True) for each in (lake, home)]
    difference = compare(*loose, other_batches=True)
    assert not difference and 0 < difference.apart < 1e-5


def test_floats_within_lists_are_apart_by_a_distance_and_the_rest_is_exact():
    def rows(confidence: float, position: int) -> Rows:
        contexts = [{"confidence": confidence, "position": position}, {"position": 2}]
        return Rows.of(pa.table({"expert": [3], "contexts": [contexts]}), set())

    assert rows(0.5, 7).distances(rows(0.5, 7)) == {"contexts": 0}
    assert rows(0.5, 7).distances(rows(0.5 + 1e-6, 7)) == {"contexts": pytest.approx(1e-6)}
    assert rows(0.5, 7).distances(rows(0.5, 8)) == {"exact columns": float("inf")}


def test_a_file_that_is_left_over_is_seen(lake, tmp_path):
    home = shutil.copytree(lake, tmp_path / "home")
    (home / "lake" / ".VERSION.123.tmp").touch()
    difference = compare(contents(lake), contents(home))
    assert difference.differing == ["lake/.VERSION.123.tmp"]


def test_of_two_processes_each_is_killed_at_its_moment_or_ends_with_its_code(tmp_path):
    def waiting(mark) -> None:
        mark("waiting")
        threading.Event().wait()

    def refusing(mark) -> None:
        mark("refusing")
        os.write(2, b"gatehouse: another build is writing\n")
        sys.exit(2)

    logs = tmp_path / "waiting", tmp_path / "refusing"
    killed, refused = wait(
        start(waiting, logs[0], Moment("waiting", 1, 0.0)),
        start(refusing, logs[1], Moment("refusing", 2, 0.0)),
    )
    assert killed.killed and killed.phase == "waiting"
    assert (refused.code, refused.phase) == (2, "refusing")
    assert not complaint(killed, logs[0])
    assert not complaint(refused, logs[1], "another build")
    assert complaint(refused, logs[1]) and complaint(refused, logs[1], "being written")


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path):
    """What a living one is writing stays."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f".report.html.{dead.pid}.tmp"
    living = tmp_path / ".report.html.1.tmp"
    others = tmp_path / f".page.html.{dead.pid}.tmp"
    for path in (left, living, others):
        path.write_text("half")
    write_atomically(tmp_path / "report.html", lambda path: path.write_text("whole"))
    assert (living.exists(), others.exists(), left.exists()) == (True, True, False)
    assert (tmp_path / "report.html").read_text() == "whole"
