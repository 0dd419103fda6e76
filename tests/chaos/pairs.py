"""Two commands at once on one home, one or both killed, then both again."""

import random
import time
from dataclasses import dataclass
from functools import partial

from tests.chaos.contents import compare, contents
from tests.chaos.ground import Ground, Outcome, changed, landed_files
from tests.chaos.plan import Attempt
from tests.chaos.processes import Moment, Point, forked, wait
from tests.chaos.scenes import End, Undisturbed, command, complaint

TRIES = 4
"""How often two commands begin anew, to be killed sooner, if one ended before its moment."""

BEING_WRITTEN = "is being written by process"
BUILDING = "another build is writing"
GONE = "there is no run|no finished run|was removed meanwhile|is being removed"


@dataclass(frozen=True)
class Pair:
    """Two commands.

    Attributes:
        commands: keys of `scenes.WORDS`.
        scene: the home they start from.
        end: what the home holds once both have been run again, one after the other.
        refusals: how each may refuse while the other is at work.
        done: how each may refuse when it is run at last, because nothing is left to do.
    """

    commands: tuple[str, str]
    scene: str
    end: End
    refusals: tuple[str, str] = ("", "")
    done: tuple[str, str] = ("", "")


CAPTURED, BUILT = ("captured", ()), ("built", ())
PAIRS = {
    "capture + capture": Pair(
        ("capture", "capture"), "start", CAPTURED, (BEING_WRITTEN, BEING_WRITTEN)
    ),
    "rank 0 + rank 1": Pair(("rank-0", "rank-1"), "start", CAPTURED),
    "replay, rank 0 + rank 1": Pair(
        ("replay-rank-0", "replay-rank-1"), "whole", ("whole", ("replay",))
    ),
    "import, rank 0 + rank 1": Pair(
        ("import-rank-0", "import-rank-1"), "start", ("start", ("import",))
    ),
    "capture + build": Pair(("capture", "build"), "start", BUILT),
    "build + build": Pair(("build", "build"), "captured", BUILT, (BUILDING, BUILDING)),
    "build + runs rm": Pair(
        ("build", "runs-rm"),
        "captured",
        ("captured", ("runs-rm", "build")),
        (BUILDING, f"{BUILDING}|{GONE}"),
        ("", GONE),
    ),
    "docs + build": Pair(("docs", "build"), "captured", BUILT),
    "report + runs rm": Pair(
        ("report", "runs-rm-by-id"), "whole", ("whole", ("runs-rm",)), (GONE, GONE), (GONE, GONE)
    ),
    "verify + capture": Pair(("verify", "capture"), "start", CAPTURED, ("was never finished", "")),
    "sql + build": Pair(("sql", "build"), "captured", BUILT),
}
"""By the group of their attempts."""


@dataclass(frozen=True)
class Together(Attempt):
    """Which of the two commands are killed, and how many seconds after the first the second begins.

    `points` are those of the killed ones, in order.
    """

    killed: tuple[bool, bool] = (True, True)
    late: float = 0.0


def pairs(undisturbed: Undisturbed, seed: int) -> list[Together]:
    """Return for each pair, at seeded moments: the first killed, the second, both."""
    generator = random.Random(seed)
    attempts = []
    for group, pair in PAIRS.items():
        if not undisturbed.seconds.keys() >= set(pair.commands):
            continue
        seconds = [undisturbed.seconds[name] for name in pair.commands]
        for killed in ((True, False), (False, True), (True, True)):
            points = tuple(
                Moment(name, 1, generator.uniform(0, lasts))
                for name, lasts, is_killed in zip(pair.commands, seconds, killed, strict=True)
                if is_killed
            )
            # none begins when the other has ended
            late = generator.uniform(0, seconds[0] / 2)
            attempts.append(Together(group, points, killed=killed, late=late))
    return attempts


def killed_together(ground: Ground, attempt: Together, undisturbed: Undisturbed) -> Outcome:
    """Kill one of two commands or both, run both again at once, then in order, and compare."""
    started, pair = time.monotonic(), PAIRS[attempt.group]
    points, wrong, again = [*attempt.points], list[str](), 0
    for _ in range(TRIES):
        ground.restore(pair.scene)
        moments = iter(points)
        first, second = (next(moments) if is_killed else None for is_killed in attempt.killed)
        landed = forked(partial(landed_files, ground.home))
        deaths, complaints = at_once(ground, pair, (first, second), attempt.late)
        again, wrong = again + changed(landed), wrong + complaints
        if len(deaths) == len(points):
            break
        points = [point.sooner for point in points]
    landed = forked(partial(landed_files, ground.home))
    wrong += at_once(ground, pair, (None, None), 0.0)[1]
    for name, done in zip(pair.commands, pair.done, strict=True):
        (ended,) = wait(command(ground, name))
        wrong.append(complaint(ended, ground.log, done))
    difference = compare(undisturbed.left[pair.end], forked(partial(contents, ground.home)))
    seconds, again = time.monotonic() - started, again + changed(landed)
    return Outcome(attempt, deaths, difference, again, seconds, "; ".join(filter(None, wrong)))


def at_once(
    ground: Ground, pair: Pair, points: tuple[Point | None, Point | None], late: float
) -> tuple[list[str], list[str]]:
    """Run both; return the commands that were killed, and what is wrong with how they ended."""
    logs = ("first.log", "second.log")
    started = [
        command(ground, name, point=point, late=after, log=log)
        for name, point, after, log in zip(pair.commands, points, (0.0, late), logs, strict=True)
    ]
    ended = wait(*started)
    deaths = [name for name, each in zip(pair.commands, ended, strict=True) if each.killed]
    wrong = [
        complaint(each, ground.folder / log, refusal)
        for each, log, refusal in zip(ended, logs, pair.refusals, strict=True)
    ]
    return deaths, wrong
