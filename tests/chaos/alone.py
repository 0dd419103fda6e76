"""A command killed wherever it is, and run again, beside `gatehouse run`."""

import random
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.paths import Paths
from tests.chaos.contents import compare, contents
from tests.chaos.ground import Ground, Outcome, changed, landed_files
from tests.chaos.plan import Attempt
from tests.chaos.processes import Call, Moment, Point, Rename, Started, forked, start, wait
from tests.chaos.scenes import End, Undisturbed, command, complaint

LAKE = "gatehouse.warehouse.lake"
SHARDS = "gatehouse.warehouse.runs.shards.Shards"
FOLDER = "gatehouse.warehouse.storage.folder.Folder"
REMOVAL = "gatehouse.warehouse.upkeep.removal"
MEND = "gatehouse.flows.upkeep.mend"
REUSE = "gatehouse.flows.steps.reuse"
REPLAYS = "gatehouse.warehouse.replays"


@dataclass(frozen=True)
class Kind:
    """A command, where it is killed, and what it leaves.

    Attributes:
        command: a key of `scenes.WORDS`.
        scene: the home it starts from.
        named: for each warehouse, the points at which one after another is killed.
        moments: how many warehouses are killed at two seeded moments each.
        end: what the home holds at last.
        done: how it may refuse if the killed one had done all of its work.
    """

    command: str
    scene: str
    named: tuple[tuple[Point, ...], ...]
    moments: int
    end: End
    done: str = ""

    @property
    def commands(self) -> tuple[str]:
        """As of `scenes.Kind`."""
        return (self.command,)


def _points(phase: str, *named: str) -> tuple[Point, ...]:
    """Return points by their functions and counts, or by the ends of names after `rename to`."""
    points: list[Point] = []
    for each in named:
        function, _, count = each.partition(" ")
        if function.startswith("/"):
            points.append(Rename(phase, function))
        else:
            points.append(Call(phase, function, int(count or 1)))
    return tuple(points)


KINDS = {
    "runs rm": Kind(
        "runs-rm",
        "whole",
        (
            # its mark, the first of its tables, the last
            _points(
                "runs-rm", f"{FOLDER}.make_folder:after", f"{FOLDER}.remove_folder 2", "os.rmdir"
            ),
            _points("runs-rm", "os.rename:after 1", f"{FOLDER}.remove_folder 5", "shutil.rmtree 1"),
            _points(
                "runs-rm",
                "gatehouse.flows.upkeep.remove.remove_folder",
                "gatehouse.flows.upkeep.remove.rebuild",
                "dbt.task.run.ModelRunner.execute 30",
                "/gatehouse.duckdb",
                f"{REMOVAL}.forget_reading",
                f"{REMOVAL}.forget_name",
            ),
            _points("runs-rm", "gatehouse.flows.upkeep.remove.remove_folder:after"),
            _points("runs-rm", "gatehouse.flows.upkeep.remove.rebuild:after"),
            _points("runs-rm", f"{REMOVAL}.forget_name:after"),
        ),
        2,
        ("whole", ("runs-rm",)),
        "there is no run 'earlier'",
    ),
    "docs": Kind("docs", "whole", (), 4, ("whole", ())),
    "prepare": Kind(
        "prepare",
        "start",
        (
            _points("prepare", "gatehouse.ingest.numbering.split_of 700", "/samples.parquet"),
            _points("prepare", "gatehouse.ingest.prepare.write_samples:after", "/test.parquet"),
        ),
        6,
        ("start", ("prepare",)),
    ),
    "verify --repair": Kind(
        "verify-repair",
        "damaged",
        (
            _points("verify-repair", f"{MEND}.set_aside", f"{LAKE}.write_events:after"),
            _points("verify-repair", "shutil.move:after", f"{SHARDS}.record:after"),
            _points("verify-repair", f"{MEND}.rebuild"),
            _points("verify-repair", "/gatehouse.duckdb"),
        ),
        2,
        ("damaged", ("verify-repair",)),
    ),
    "replay": Kind(
        "replay",
        "whole",
        (
            _points("replay", "gatehouse.models.zoo.ModelPlan.load", f"{REPLAYS}.write_table"),
            _points("replay", f"{REPLAYS}.write_table:after 2", f"{REPLAYS}.write_table 2"),
            _points("replay", "/replays/run_id=", "gatehouse.models.batches.pad 8"),
            _points("replay", "dbt.task.run.ModelRunner.execute 30", "/gatehouse.duckdb"),
        ),
        4,
        ("whole", ("replay",)),
    ),
    "capture, taking over": Kind(
        "capture-part",
        "whole",
        (
            _points("capture-part", f"{LAKE}.Lake.land_run:after", "os.link:after 1"),
            _points("capture-part", "os.link 2", f"{SHARDS}.add", f"{REUSE}._put_together"),
            _points("capture-part", f"{LAKE}.write_events:after", f"{LAKE}.Lake.update_run"),
        ),
        6,
        ("whole", ("capture-part",)),
    ),
}
"""By the group of their attempts."""


def alone(undisturbed: Undisturbed, seed: int) -> list[Attempt]:
    """Return the kills of every kind: at named points, and at seeded moments."""
    generator = random.Random(seed)
    attempts = []
    for group, kind in KINDS.items():
        if kind.command not in undisturbed.seconds:
            continue
        seconds = undisturbed.seconds[kind.command]
        moments = [
            # what is left to do after the first kill may take less time
            tuple(
                Moment(kind.command, 1, generator.uniform(0, most))
                for most in (seconds, seconds / 2)
            )
            for _ in range(kind.moments)
        ]
        attempts += [Attempt(group, points) for points in (*kind.named, *moments)]
    return attempts


def killed_alone(ground: Ground, attempt: Attempt, undisturbed: Undisturbed) -> Outcome:
    """Kill a command where the attempt says, time after time, run it once more, and compare.

    A reader queries the marts meanwhile, and must be answered every time.
    """
    started, kind = time.monotonic(), KINDS[attempt.group]
    ground.restore(kind.scene)
    deaths, again, wrong, points = [], 0, list[str](), [*attempt.points, None]
    reader = reading(ground)
    while points:
        point = points.pop(0)
        landed = forked(partial(landed_files, ground.home))
        (ended,) = wait(command(ground, kind.command, point=point))
        again += changed(landed)
        wrong.append(complaint(ended, ground.log, kind.done))
        if ended.killed:
            deaths.append(kind.command)
        elif isinstance(point, Moment) and not deaths:
            wrong.append(read_to_the_end(reader, ground))
            ground.restore(kind.scene)
            reader = reading(ground)
            points.insert(0, point.sooner)
    wrong.append(read_to_the_end(reader, ground))
    if kind.command == "docs" and not _is_whole(Paths(ground.home).lineage_page):
        wrong.append("the page is not whole")
    found = forked(partial(contents, ground.home))
    difference = compare(undisturbed.left[kind.end], found)
    seconds = time.monotonic() - started
    return Outcome(attempt, deaths, difference, again, seconds, "; ".join(filter(None, wrong)))


def reading(ground: Ground) -> Started:
    """Start a process that queries the marts until it is killed."""
    paths = Paths(ground.home)

    def query(mark: Callable[[str], None]) -> None:
        while True:
            with closing(connect(paths)) as connection:
                connection.execute("select run_id, sum(tokens) from dim_run group by run_id")
                connection.fetchall()
            mark("answered")
            time.sleep(0.05)

    return start(query, ground.folder / "reader.log")


def read_to_the_end(reader: Started, ground: Ground) -> str:
    """End a reader; return what it said if it was not answered every time."""
    reader.kill()
    (ended,) = wait(reader)
    log = ground.folder / "reader.log"
    return "" if ended.killed and ended.marks else f"a reader: {log.read_text()[-600:]}"


def _is_whole(page: Path) -> bool:
    return page.exists() and page.read_text().rstrip().endswith("</html>")
