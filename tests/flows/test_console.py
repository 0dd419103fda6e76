"""What is said is seen once: on the console, or by a log that shows it there."""

import subprocess
import sys

import pytest
from rich.console import Console

from gatehouse.flows import console


@pytest.mark.parametrize("shows", [True, False])
def test_a_line_goes_to_the_log_and_is_printed_unless_the_log_shows_it(monkeypatch, capfd, shows):
    heard = []
    monkeypatch.setattr(console, "_logs", [lambda line: heard.append(line) or shows])
    console.say("built\n53 models")
    assert heard == [r"built\n53 models"]
    assert capfd.readouterr().err == ("" if shows else "built\\n53 models\n")


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_bar_is_a_few_lines_in_the_log(monkeypatch, is_terminal):
    """One whenever half a minute has passed, not one for each shard."""
    heard = []
    monkeypatch.setattr(console, "_logs", [lambda line: bool(heard.append(line))])
    terminal = Console(stderr=True, force_terminal=is_terminal)
    monkeypatch.setattr(console, "console", terminal)
    clock = iter([0, 10, 31, 31, 40, 62, 62])
    monkeypatch.setattr(console, "monotonic", lambda: next(clock))
    with console.bar("capturing shards", 4) as moved:
        for shard in range(4):
            moved(shard + 1)
    assert heard == ["capturing shards: 2 of 4", "capturing shards: 4 of 4"]


def test_a_command_that_says_something_waits_for_no_prefect():
    program = "import sys, gatehouse.flows.console; sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
