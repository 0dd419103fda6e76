"""Signs of life: the time left is known from the first unit on, and no silence is long."""

import io
import threading

import pytest
from rich.console import Console
from rich.progress import Progress

from gatehouse.flows import console


@pytest.fixture
def heard(monkeypatch) -> list[str]:
    """What lines say off a terminal, where no silence is allowed."""
    lines: list[str] = []
    monkeypatch.setattr(console, "console", Console(file=io.StringIO()))
    monkeypatch.setattr(console, "SECONDS_OF_SILENCE", 0)
    monkeypatch.setattr(console, "say", lines.append)
    return lines


def listen(monkeypatch, lines: list[str]) -> threading.Event:
    spoken = threading.Event()
    monkeypatch.setattr(console, "say", lambda line: (lines.append(line), spoken.set()))
    return spoken


def test_work_without_steps_gives_a_sign_of_life(heard, monkeypatch):
    spoken = listen(monkeypatch, heard)
    with console.working("loading demo"):
        assert spoken.wait(60)
    assert heard == ["loading demo, 0:00:00 so far"]


def test_quick_work_says_nothing(heard, monkeypatch):
    monkeypatch.setattr(console, "SECONDS_OF_SILENCE", 600)
    with console.bar("capturing shards", 2) as moved:
        moved(1)
    assert heard == []


def test_a_line_says_what_is_left_from_the_first_unit_on():
    assert console._line("shards", 0, 4, 70.0) == "shards, 0:01:10 so far"
    assert console._line("shards", 1, 4, 70.0) == "shards: 1 of 4, 0:03:30 left"
    assert console._line("shards", 5, None, 70.0) == "shards: 5"


def test_the_bar_knows_what_is_left_from_the_first_unit_on():
    now = [0.0]
    progress = Progress(get_time=lambda: now[0], console=Console(file=io.StringIO()))
    progress.add_task("shards", total=4)
    (task,) = progress.tasks
    column = console.Remaining()
    # rich itself forgets the rate of a unit that takes longer than half a minute
    for done, at, expected in ((0, 0, ""), (1, 100, "0:05:00 left"), (2, 200, "0:03:20 left")):
        now[0] = at
        progress.update(task.id, completed=done)
        assert column.render(task).plain == expected
