"""A capture on two workers, killed with SIGKILL: one of the workers, or the command itself."""

import random
import time
from functools import partial

import psutil

from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from tests.chaos.contents import compare, contents
from tests.chaos.ground import Ground, Outcome, changed, landed_files
from tests.chaos.plan import Attempt
from tests.chaos.processes import Moment, Started, forked, wait
from tests.chaos.scenes import End, Undisturbed, command, complaint

GROUP = "capture on 2 workers"
END: End = ("captured", ())
"""What it leaves is what one process leaves."""

A_WORKER, THE_COMMAND = "one worker", "the command"
COMMAND = "capture-on-workers"
SHARDS = 3
SECONDS_TO_BEGIN = 120


def workers(seed: int) -> list[Attempt]:
    """Return kills of a worker, or of the command, after so many of its shards have landed."""
    generator = random.Random(seed)
    return [
        Attempt(GROUP, (Moment(killed, landed, generator.uniform(0, 0.5)),))
        for killed in (A_WORKER, THE_COMMAND)
        for landed in range(SHARDS)
    ]


def killed_on_workers(ground: Ground, attempt: Attempt, undisturbed: Undisturbed) -> Outcome:
    """Kill what the attempt says, run the command again if it was the command, and compare."""
    began = time.monotonic()
    (point,) = attempt.points
    assert isinstance(point, Moment)
    ground.restore("start")
    started = command(ground, COMMAND)
    deaths = [COMMAND] if _killed(ground, started, point) else []
    landed = forked(partial(landed_files, ground.home))
    (ended,) = wait(started)
    wrong = [complaint(ended, ground.log)]
    if ended.killed:
        (ended,) = wait(command(ground, COMMAND))
        wrong.append(complaint(ended, ground.log))
    difference = compare(undisturbed.left[END], forked(partial(contents, ground.home)))
    seconds = time.monotonic() - began
    return Outcome(
        attempt, deaths, difference, changed(landed), seconds, "; ".join(filter(None, wrong))
    )


def _killed(ground: Ground, started: Started, point: Moment) -> bool:
    """Kill a worker or the command once enough shards have landed; return whether it still ran."""
    before = _landed(ground)
    until = time.monotonic() + SECONDS_TO_BEGIN
    while time.monotonic() < until:
        at_work = _workers_of(started)
        if len(at_work) == 2 and _landed(ground) >= before + point.begun:
            time.sleep(point.seconds)
            if point.phase == THE_COMMAND:
                started.kill()
            elif at_work[-1].is_running():
                at_work[-1].kill()
            return True
        time.sleep(0.01)
    return False


def _landed(ground: Ground) -> int:
    lake = Lake(Paths(ground.home).lake)
    return sum(len(lake.finished_shards(run_id)) for run_id in lake.run_ids())


def _workers_of(started: Started) -> list[psutil.Process]:
    try:
        found = psutil.Process(started.process).children()
        return [each for each in found if "workers.serving" in " ".join(each.cmdline())]
    except psutil.NoSuchProcess:
        return []
