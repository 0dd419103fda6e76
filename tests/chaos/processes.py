"""Processes that are forked, killed where or when a point says, and waited for.

A process that has imported everything forks one for each run or command, so that each costs only
its own work. This one starts no threads for it.
"""

import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from tests.flows.kill_at import arm


@dataclass(frozen=True)
class Call:
    """Kill at the n-th call of a function, as `kill_at.arm` names it."""

    phase: str
    function: str
    count: int = 1

    def __str__(self) -> str:
        return f"{self.function} {self.count}"


@dataclass(frozen=True)
class Moment:
    """Kill some seconds after a phase began for the n-th time."""

    phase: str
    begun: int
    seconds: float

    @property
    def sooner(self) -> "Moment":
        """The moment after half the time: a command may be faster than the one it was drawn for."""
        return Moment(self.phase, self.begun, self.seconds / 2)

    def __str__(self) -> str:
        return f"{self.phase} {self.begun} + {self.seconds * 1000:.1f} ms"


@dataclass(frozen=True)
class Rename:
    """Kill before a file is renamed to a path that holds this name."""

    phase: str
    name: str

    def __str__(self) -> str:
        return f"rename to {self.name}"


Point = Call | Moment | Rename


@dataclass(frozen=True)
class Ended:
    """How a process ended: the phases it began and when, and the kernel's exit status."""

    marks: list[tuple[float, str]]
    status: int
    seconds: float

    @property
    def killed(self) -> bool:
        return os.WIFSIGNALED(self.status) and os.WTERMSIG(self.status) == signal.SIGKILL

    @property
    def code(self) -> int:
        """The exit code, negative for a signal."""
        return os.waitstatus_to_exitcode(self.status)

    @property
    def phase(self) -> str:
        """The phase in which it ended."""
        return self.marks[-1][1] if self.marks else "no phase"


@dataclass
class Started:
    """A process that leads a session of its own, the pipe that gets its marks, and its moment."""

    process: int
    reader: int
    moment: Moment | None
    started: float = field(default_factory=time.monotonic)
    marks: list[tuple[float, str]] = field(default_factory=list)
    due: float | None = None
    ended: Ended | None = None

    def hear(self) -> None:
        """Take what the pipe holds: marks, or that the process has ended."""
        read, now = os.read(self.reader, 4096).decode(), time.monotonic()
        if not read:
            os.close(self.reader)
            _, status = os.waitpid(self.process, 0)
            self.ended = Ended(self.marks, status, now - self.started)
            return
        begun = read.split()
        self.marks += [(now - self.started, phase) for phase in begun]
        moment, times = self.moment, [phase for _, phase in self.marks]
        if moment and begun[-1] == moment.phase and times.count(moment.phase) == moment.begun:
            # kill it once
            self.due, self.moment = now + moment.seconds, None

    def kill_if_due(self) -> None:
        """Kill the process and all that it started if its moment has come."""
        if self.due is not None and self.due <= time.monotonic():
            self.due = None
            self.kill()

    def kill(self) -> None:
        """Kill the process and all that it started."""
        os.killpg(self.process, signal.SIGKILL)


def start(
    inside: Callable[[Callable[[str], None]], None], log: Path, point: Point | None = None
) -> Started:
    """Fork a process that calls `inside(mark)`, with its output in a log, to be killed at a point.

    Args:
        inside: what it does; `mark(phase)` says that a phase begins. It may exit with a code.
        log: is appended to.
        point: where or when it is killed; a moment takes effect in `wait`.
    """
    reader, writer = os.pipe()
    process = os.fork()
    if process:
        os.close(writer)
        return Started(process, reader, point if isinstance(point, Moment) else None)
    code = 1
    try:
        os.setsid()
        said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        if isinstance(point, Call):
            arm(point.function, point.count)
        elif isinstance(point, Rename):
            arm_rename(point.name)
        inside(lambda phase: os.write(writer, f"{phase}\n".encode()))
        code = 0
    except SystemExit as asked:
        code = asked.code if isinstance(asked.code, int) else bool(asked.code)
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        sys.stdout.flush()
        os._exit(code)


def wait(*processes: Started) -> list[Ended]:
    """Wait until all of them have ended, killing each at its moment."""
    while running := {each.reader: each for each in processes if each.ended is None}:
        due = [each.due for each in running.values() if each.due is not None]
        left = max(0.0, min(due) - time.monotonic()) if due else None
        for reader in select.select(list(running), [], [], left)[0]:
            running[reader].hear()
        for each in running.values():
            if each.ended is None:
                each.kill_if_due()
    return [each.ended for each in processes if each.ended]


def forked(work: Callable[[], Any]) -> Any:
    """Return a function's result from a process of its own.

    Raises:
        RuntimeError: the function failed; the message is its traceback.
    """
    reader, writer = Pipe(duplex=False)
    process = os.fork()
    if not process:
        try:
            found = True, work()
        except BaseException:
            found = False, traceback.format_exc()
        writer.send(found)
        os._exit(0)
    writer.close()
    with reader:
        worked, found = reader.recv()
    os.waitpid(process, 0)
    if not worked:
        raise RuntimeError(found)
    return found


def arm_rename(name: str) -> None:
    """Have this process killed before the first rename to a path that holds `name`."""
    original = os.replace

    def watched(source: Any, target: Any, **named: Any) -> None:
        if name in str(target):
            os.kill(os.getpid(), signal.SIGKILL)
        original(source, target, **named)

    os.replace = watched
