"""Processes that outlive the command that starts them: recorded, found again, ended by their id."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from gatehouse.warehouse.files import write_atomically

SECONDS_TO_END = 15
"""How long a process has to end after it was asked to; then it is killed."""


class Background:
    """A process of this home, known by its id and the time at which it began.

    An id alone may be another program's by now.

    Args:
        folder: of its record and its log.
        name: of the process.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.record = folder / f"{name}.json"
        self.log = folder / f"{name}.log"

    def start(
        self, words: Sequence[str], environment: Mapping[str, str], keep: Sequence[int] = ()
    ) -> None:
        """Start `python WORDS` in a session of its own, in the record's folder.

        Args:
            words: the arguments of Python.
            environment: all that the process sees of one.
            keep: file descriptors that it gets.

        Raises:
            GatehouseError: its record or its log cannot be written.
        """
        write_atomically(self.log, lambda new: new.write_bytes(b""))
        with open(self.log, "ab") as log:
            started = subprocess.Popen(
                # -P: no module of the folder that it starts in
                [sys.executable, "-P", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(environment),
                cwd=self.record.parent,
                pass_fds=keep,
                # it outlives the terminal, and its Ctrl-C
                start_new_session=True,
            )
        began = psutil.Process(started.pid).create_time()
        text = json.dumps({"process": started.pid, "began": began})
        write_atomically(self.record, lambda new: new.write_text(text, encoding="utf-8"))

    @property
    def process(self) -> psutil.Process | None:
        """The process while it runs; None if it has ended or was never started."""
        with suppress(OSError, ValueError, KeyError, TypeError, psutil.Error):
            told = json.loads(self.record.read_text(encoding="utf-8"))
            found = psutil.Process(told["process"])
            alive = found.status() != psutil.STATUS_ZOMBIE
            # the clock that it is computed from may have been set since
            if alive and abs(found.create_time() - told["began"]) < 1:
                return found
        return None

    @property
    def was_started(self) -> bool:
        """Whether there is a record of it: it runs, or has ended without being asked to."""
        return self.record.exists()

    def end(self) -> bool:
        """End the process and those that it started, and forget it; return whether it ran."""
        found = self.process
        if found:
            end_with_children(found)
        self.record.unlink(missing_ok=True)
        return found is not None

    def last_words(self) -> str:
        """Return where its log is and the last line of it, to end a sentence with."""
        with suppress(OSError):
            lines = self.log.read_text("utf-8", errors="replace").split("\n")
            if said := [line.strip() for line in lines if line.strip()]:
                return f" ({said[-1][:200]}; more in {self.log})"
        return f" (its log is {self.log})"


def end_with_children(found: psutil.Process) -> None:
    """End the processes that one started, and then that one; what does not end is killed."""
    children = []
    with suppress(psutil.Error):
        children = found.children(recursive=True)
    # the process itself can still tell others how they ended
    for group in (children, [found]):
        for each in group:
            with suppress(psutil.Error):
                each.terminate()
        _, alive = psutil.wait_procs(group, timeout=SECONDS_TO_END)
        for each in alive:
            with suppress(psutil.Error):
                each.kill()
        psutil.wait_procs(alive, timeout=SECONDS_TO_END)


def exported(settings: Mapping[str, str]) -> str:
    """Return settings as lines that a shell reads."""
    return "".join(f"export {name}={value}\n" for name, value in settings.items())


def write_secret(path: Path, text: str) -> None:
    """Write a file that no other user can read.

    Raises:
        GatehouseError: it cannot be written.
    """

    def write(new: Path) -> None:
        number = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(number, "w", encoding="utf-8") as file:
            file.write(text)

    write_atomically(path, write)
