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
from tests.chaos.run import Call, forked
from tests.conftest import without_prefect

GROUP = "gatehouse run"
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
    code = ended(ground, str(Path(sys.executable).with_name("gatehouse")))
    failure = ground.log.read_text() if code or killed not in (0, -signal.SIGKILL) else ""
    difference = Difference()
    if not failure:
        found = forked(partial(contents, ground.home))
        difference = compare(reference.exact.without_pictures, found.without_pictures)
    deaths = [point.phase] if killed == -signal.SIGKILL else []
    return Outcome(attempt, deaths, difference, 0, time.monotonic() - started, failure)


def ended(ground: Ground, *program: str) -> int:
    """Run `gatehouse run` through a program, end all that it started, and return its exit code."""
    request = ground.request
    options = ["--model", request.model, "--dataset", request.dataset, "--home", str(ground.home)]
    options += ["--batch-size", str(request.batch_size), "--max-length", str(request.max_length)]
    with open(ground.log, "a") as log:
        running = subprocess.Popen(
            [*program, "run", *options],
            stdout=log,
            stderr=log,
            env=without_prefect() | {"PYTHONPATH": str(PACKAGE)},
            cwd=PACKAGE,
            start_new_session=True,
        )
        code = running.wait()
    # Prefect's own server would outlive the command that was killed
    with suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    return code
