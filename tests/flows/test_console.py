"""What is said is seen once, no silence is long, and the time left is known from the start."""

import io
import subprocess
import sys
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
    assert console.SECONDS_OF_SILENCE <= 5
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


@pytest.mark.parametrize("shows", [True, False])
def test_a_line_goes_to_the_log_and_is_printed_unless_the_log_shows_it(monkeypatch, capfd, shows):
    heard = []
    monkeypatch.setattr(console, "_logs", [lambda line: heard.append(line) or shows])
    console.say("built\n53 models")
    assert heard == [r"built\n53 models"]
    assert capfd.readouterr().err == ("" if shows else "built\\n53 models\n")


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_bar_is_a_few_lines_in_the_log(monkeypatch, is_terminal):
    heard, spoken = [], threading.Event()

    def log(line: str) -> bool:
        heard.append(line)
        spoken.set()
        return True

    monkeypatch.setattr(console, "_logs", [log])
    monkeypatch.setattr(console, "SECONDS_OF_SILENCE", 0)
    terminal = Console(file=io.StringIO(), force_terminal=is_terminal)
    monkeypatch.setattr(console, "console", terminal)
    with console.bar("capturing shards", 4) as moved:
        assert spoken.wait(60)
        for shard in range(4):
            moved(shard + 1)
    assert heard == ["capturing shards, 0:00:00 so far"]


def test_a_command_that_says_something_waits_for_no_prefect():
    program = "import sys, gatehouse.flows.console; sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
