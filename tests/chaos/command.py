"""The same through the command line and Prefect: `gatehouse run` killed, and run again."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from gatehouse.warehouse.paths import PACKAGE
from tests.chaos.contents import Difference, compare, contents
from tests.chaos.ground import Ground, Outcome, Reference
from tests.chaos.plan import Attempt
from tests.chaos.processes import Call, forked
from tests.conftest import without_prefect

GROUP = "gatehouse run"
GATEHOUSE = str(Path(sys.executable).with_name("gatehouse"))
POINTS = (
    Call("prepare", "gatehouse.ingest.numbering.split_of", 700),
    Call("forward", "gatehouse.models.capture.pad", 14),
    Call("write", "gatehouse.warehouse.lake.write_events:after", 2),
    Call("build", "dbt.task.run.ModelRunner.execute", 25),
    Call("figures", "gatehouse.reports.results.files._draw", 5),
)


def commands() -> list[Attempt]:
    """Return the points, one warehouse each."""
    return [Attempt(GROUP, (point,)) for point in POINTS]


def by_command(ground: Ground, attempt: Attempt, reference: Reference) -> Outcome:
    """Kill one command where the attempt says, run it again, and compare all but the pictures."""
    started = time.monotonic()
    ground.restore()
    (point,) = attempt.points
    assert isinstance(point, Call)
    kill_at = str(PACKAGE / "tests" / "flows" / "kill_at.py")
    killed = ended(ground, sys.executable, kill_at, point.function, str(point.count))
    code = ended(ground, GATEHOUSE)
    failure = ground.log.read_text() if code or killed not in (0, -signal.SIGKILL) else ""
    difference = Difference()
    if not failure:
        found = forked(partial(contents, ground.home))
        difference = compare(reference.exact.without_pictures, found.without_pictures)
    deaths = [point.phase] if killed == -signal.SIGKILL else []
    return Outcome(attempt, deaths, difference, 0, time.monotonic() - started, failure)


def ended(ground: Ground, *program: str) -> int:
    """Run `gatehouse run` through a program, end all that it started, and return its exit code."""
    running = begun(ground, *program)
    code = running.wait()
    end_all(running)
    return code


def begun(ground: Ground, *program: str) -> "subprocess.Popen[bytes]":
    """Start `gatehouse run` through a program, in a session of its own; its log is appended to."""
    request = ground.request
    options = ["--model", request.model, "--dataset", request.dataset, "--home", str(ground.home)]
    options += ["--batch-size", str(request.batch_size), "--max-length", str(request.max_length)]
    path = os.pathsep.join(filter(None, (str(PACKAGE), os.environ.get("PYTHONPATH"))))
    with open(ground.log, "a") as log:
        return subprocess.Popen(
            [*program, "run", *options],
            stdout=log,
            stderr=log,
            env=without_prefect() | {"PYTHONPATH": path},
            cwd=PACKAGE,
            start_new_session=True,
        )


def end_all(running: "subprocess.Popen[bytes]") -> None:
    """Kill what a command that has been killed has started, and itself if it runs."""
    with suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    running.wait()
