"""Work on two workers, killed with SIGKILL: one of the workers, or the command itself."""

import random
import time
from dataclasses import dataclass
from functools import partial

import psutil

from tests.chaos.contents import compare, contents
from tests.chaos.ground import Ground, Outcome, changed, landed_files
from tests.chaos.plan import Attempt
from tests.chaos.processes import Moment, Started, forked, wait
from tests.chaos.scenes import End, Undisturbed, command, complaint


@dataclass(frozen=True)
class Kind:
    """A command with workers.

    Attributes:
        command: a key of `scenes.WORDS`.
        scene: the home it starts from.
        end: what one process leaves.
        orders: how many its workers carry out, at least.
    """

    command: str
    scene: str
    end: End
    orders: int

    @property
    def commands(self) -> tuple[str]:
        """As of `scenes.Kind`."""
        return (self.command,)


KINDS = {
    "capture on 2 workers": Kind("capture-on-workers", "start", ("captured", ()), 3),
    "replay on 2 workers": Kind("replay-on-workers", "whole", ("whole", ("replay",)), 4),
    "import on 2 workers": Kind("import-on-workers", "start", ("start", ("import",)), 4),
}
"""By the group of their attempts."""

A_WORKER, THE_COMMAND = "one worker", "the command"
SECONDS_TO_BEGIN = 120


def workers(seed: int) -> list[Attempt]:
    """Return kills of a worker, or of the command, after so many of its orders have landed."""
    generator = random.Random(seed)
    return [
        Attempt(group, (Moment(killed, landed, generator.uniform(0, 0.5)),))
        for group, kind in KINDS.items()
        for killed in (A_WORKER, THE_COMMAND)
        for landed in range(kind.orders)
    ]


def killed_on_workers(ground: Ground, attempt: Attempt, undisturbed: Undisturbed) -> Outcome:
    """Kill what the attempt says, run the command again if it was the command, and compare."""
    began, kind = time.monotonic(), KINDS[attempt.group]
    (point,) = attempt.points
    assert isinstance(point, Moment)
    ground.restore(kind.scene)
    started = command(ground, kind.command)
    deaths = [kind.command] if _killed(ground, started, point) else []
    landed = forked(partial(landed_files, ground.home))
    (ended,) = wait(started)
    wrong = [complaint(ended, ground.log)]
    if ended.killed:
        (ended,) = wait(command(ground, kind.command))
        wrong.append(complaint(ended, ground.log))
    difference = compare(undisturbed.left[kind.end], forked(partial(contents, ground.home)))
    seconds = time.monotonic() - began
    return Outcome(
        attempt, deaths, difference, changed(landed), seconds, "; ".join(filter(None, wrong))
    )


def _killed(ground: Ground, started: Started, point: Moment) -> bool:
    """Kill a worker or the command once enough has landed; return whether it still ran."""
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
    return len(landed_files(ground.home))


def _workers_of(started: Started) -> list[psutil.Process]:
    try:
        found = psutil.Process(started.process).children()
        return [each for each in found if "workers.serving" in " ".join(each.cmdline())]
    except psutil.NoSuchProcess:
        return []
