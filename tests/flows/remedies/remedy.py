"""A remedy: a fault, the line that a command prints after it, and what that line says to do."""

import contextlib
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths

CAPTURE = "gatehouse capture --model {model} --dataset {corpus} --max-length 128"
"""The capture of the run in a `Place`."""


@dataclass(frozen=True)
class Place:
    """A copy of a small built warehouse, its one run and its own folder for anything else.

    Attributes:
        opened: what is held open, as a lock, until it is closed or the test ends.
        patch: the environment and the system's functions, as the fault makes them.
        typed: carries out one command line of Gatehouse in this process; (exit code, what it says).
    """

    folder: Path
    run: str
    model: Path
    corpus: Path
    opened: contextlib.ExitStack
    patch: pytest.MonkeyPatch
    typed: Callable[..., tuple[int, str]]

    @property
    def home(self) -> Path:
        """The folder that GATEHOUSE_HOME names."""
        return self.folder / "home"

    @property
    def paths(self) -> Paths:
        """The paths of the home."""
        return Paths(self.home)

    @property
    def lake(self) -> Lake:
        """The lake of the home."""
        return Lake(self.paths.lake)

    def words(self, text: str) -> list[str]:
        """Return the words of a command line that names what is here in braces."""
        for name in ("folder", "run", "model", "corpus", "home"):
            text = text.replace("{" + name + "}", shlex.quote(str(getattr(self, name))))
        return shlex.split(text)

    def carry_out(self, command: str) -> tuple[int, str]:
        """Carry out a command line, of Gatehouse or of a tool; return its code and its words."""
        program, *words = self.words(command)
        if program == "gatehouse":
            return self.typed(*words)
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
        done = subprocess.run([program, *words], capture_output=True, text=True, cwd=self.folder)
        return done.returncode, done.stdout + done.stderr

    def text(self, name: str, content: str | bytes) -> Path:
        """Write a file beside the home."""
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path


def nothing(place: Place) -> None:
    """Leave it to the command, whose words are the fault."""


@dataclass(frozen=True)
class Remedy:
    """One row of the table.

    Attributes:
        fault: in words.
        meets: the command that meets it, and that must end well after the remedy, unless `then`
            says which must.
        says: the line that it prints, with … for what differs from place to place.
        remedy: the part of `says` that is carried out. Commands between backticks in it are;
            `done` says how the rest is meant.
        make: makes the fault.
        by_hand: does what a person is told to do, before any command.
        done: the whole commands, where the line leaves words of them to its reader. Each begins
            as one that is printed does, or is the first command with what is to be added.
        then: another command that must end well afterwards.
    """

    fault: str
    meets: str
    says: str
    remedy: str
    make: Callable[[Place], object] = nothing
    by_hand: Callable[[Place], object] = nothing
    done: tuple[str, ...] = field(default=())
    then: str = ""

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands that are carried out."""
        printed = tuple(re.findall(r"`(gatehouse [^`]+)`", self.remedy))
        return self.done or tuple(each.replace("RUN", "{run}") for each in printed)

    @property
    def last(self) -> str:
        """The command that must end well afterwards."""
        return self.then or self.meets

    def is_in(self, said: str) -> bool:
        """Return whether the line is in what a command said, in one or several lines."""
        parts = (re.escape(part) for part in self.says.split("…"))
        pattern = ".*".join(parts).replace("RUN", "[a-z0-9-]+")
        return re.search(pattern, " ".join(said.split())) is not None
