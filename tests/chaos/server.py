"""`gatehouse run` whose own Prefect server is killed: it goes on or ends, and runs again."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from tests.chaos.command import GATEHOUSE, begun, end_all
from tests.chaos.contents import Difference, compare, contents
from tests.chaos.ground import Ground, Outcome, Reference
from tests.chaos.plan import Attempt
from tests.chaos.processes import Moment, forked

GROUP = "run, its server killed"
PHASE = "server"
SECONDS = 60
"""How long a run that lost its server may take to say so; then it goes on or ends."""

LONGEST = 600
"""Seconds of a whole run, however slow the machine."""

NAMED = "Prefect's own server"
RUN = 8.0
"""Seconds of a run in which its server is killed."""


def servers(seed: int) -> list[Attempt]:
    """Return runs whose server is killed once, or each one that begins again."""
    generator = random.Random(seed)
    once = [(Moment(PHASE, 1, generator.uniform(0, RUN)),) for _ in range(3)]
    every = tuple(Moment(PHASE, number, generator.uniform(0, 0.5)) for number in range(1, 5))
    return [Attempt(GROUP, points) for points in (*once, every)]


def killed_server(ground: Ground, attempt: Attempt, reference: Reference) -> Outcome:
    """Kill a run's servers where the attempt says, run it again, and compare all but pictures."""
    started = time.monotonic()
    ground.restore()
    running = begun(ground, GATEHOUSE)
    deaths, wrong, known = [], "", set[int]()
    try:
        if len(attempt.points) > 1:
            wait_for_capture(running, ground)
        for point in attempt.points:
            assert isinstance(point, Moment)
            server = next_server(running, known)
            if server is not None:
                known.add(server)
                time.sleep(point.seconds)
                with suppress(ProcessLookupError):
                    os.kill(server, signal.SIGKILL)
                    deaths.append(PHASE)
        said_in_time = heard(running, ground.log)
        code, said = running.wait(LONGEST), ground.log.read_text()
        if not said_in_time or "Traceback" in said or code not in (0, 2):
            wrong = f"exit code {code}: {said}"
    except subprocess.TimeoutExpired:
        wrong = f"it neither goes on nor ends: {ground.log.read_text()}"
    finally:
        end_all(running)
    if begun(ground, GATEHOUSE).wait():
        wrong += f" again: {ground.log.read_text()}"
    difference = Difference()
    if not wrong:
        found = forked(partial(contents, ground.home))
        difference = compare(reference.exact.without_pictures, found.without_pictures)
    return Outcome(attempt, deaths, difference, 0, time.monotonic() - started, wrong)


def wait_for_capture(running: "subprocess.Popen[bytes]", ground: Ground) -> None:
    """Wait until the run has landed: its server has answered, and will begin again."""
    lake = Lake(Paths(ground.home).lake)
    while running.poll() is None and len(lake.run_ids()) < 2:
        time.sleep(0.02)


def heard(running: "subprocess.Popen[bytes]", log: Path) -> bool:
    """Return whether a run names its server within SECONDS."""
    until = time.monotonic() + SECONDS
    while NAMED not in log.read_text():
        if running.poll() is not None or time.monotonic() > until:
            return NAMED in log.read_text()
        time.sleep(0.1)
    return True


def next_server(running: "subprocess.Popen[bytes]", known: set[int]) -> int | None:
    """Return a server of the run that is not known yet, once there is one; None after its end."""
    while running.poll() is None:
        for child in children(running.pid):
            if child not in known and b"gatehouse.flows.prefect_server" in command_line(child):
                return child
        time.sleep(0.02)
    return None


def children(process: int) -> Iterator[int]:
    """Yield the children of all threads of a process."""
    for path in Path("/proc", str(process), "task").glob("*/children"):
        with suppress(OSError):
            yield from map(int, path.read_text().split())


def command_line(process: int) -> bytes:
    """Return a process's words, none if it has ended."""
    with suppress(OSError):
        return Path("/proc", str(process), "cmdline").read_bytes()
    return b""
