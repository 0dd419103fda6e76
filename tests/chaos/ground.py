"""The ground on which `make chaos` kills: the same start for every run, and what became of each."""

import json
import random
import shutil
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from gatehouse.flows.request import RunRequest
from gatehouse.warehouse import replays
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from tests.chaos.contents import Contents, Difference, compare, contents
from tests.chaos.plan import Attempt
from tests.chaos.processes import Ended, Moment, forked
from tests.chaos.run import build_steps, run
from tests.conftest import WORDS, save_tiny_mixtral

SAMPLES = 1_300
EARLIER = "earlier"
"""The name of the run that is there."""


@dataclass(frozen=True)
class Outcome:
    """What became of one warehouse: in which phases its runs died, and how it differs."""

    attempt: Attempt
    deaths: list[str]
    difference: Difference
    captured_again: int
    seconds: float
    failure: str = ""

    @property
    def survived(self) -> bool:
        return not (self.difference or self.failure or self.captured_again)

    @property
    def missed(self) -> bool:
        """Whether a point failed to kill; a moment may miss, as runs are not equally fast."""
        surely = [point for point in self.attempt.points if not isinstance(point, Moment)]
        return len(self.deaths) < len(surely)


@dataclass(frozen=True)
class Ground:
    """A folder in which a run is made over and over from the same start.

    The folder's name stays the same for all of its runs, as a home's name does.
    """

    folder: Path
    request: RunRequest
    earlier: RunRequest

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def trace(self) -> Path:
        """A folder with the routing that another engine is said to have recorded."""
        return Path(self.request.dataset).with_name("trace")

    @property
    def earlier_run(self) -> str:
        """The id of the earlier run."""
        (run_id,) = Lake(Paths(self.folder / "start").lake).run_ids()
        return run_id

    def lay(self) -> None:
        """Make the warehouse that every run starts from: one small run, captured and built."""
        self.folder.mkdir()
        ended = run(self.earlier, self.home, self.log, work=build_steps)
        if ended.status:
            raise RuntimeError(self.log.read_text())
        self.home.rename(self.folder / "start")
        (self.folder / "nothing").mkdir()

    def restore(self, scene: str = "start") -> None:
        """Go back to the start, or to another home that was kept under its name."""
        shutil.rmtree(self.home, ignore_errors=True)
        self.log.write_text("")
        shutil.copytree(self.folder / scene, self.home)

    def uninterrupted(self) -> tuple[Ended, "Reference"]:
        """Run without a kill; return when its phases began, and what it left.

        Raises:
            RuntimeError: the run failed; the message is its log.
        """
        self.restore()
        ended = run(self.request, self.home, self.log)
        if ended.status:
            raise RuntimeError(self.log.read_text())
        exact = forked(partial(contents, self.home))
        return ended, Reference(exact, forked(partial(contents, self.home, other_batches=True)))

    def attempt(self, attempt: Attempt, reference: "Reference") -> Outcome:
        """Kill runs where the attempt says, run once more, and compare."""
        started = time.monotonic()
        self.restore()
        deaths, again = [], 0
        landed: dict[Path, int] = {}
        for point in attempt.points:
            ended = run(self.request, self.home, self.log, point=point)
            if ended.killed:
                deaths.append(ended.phase if isinstance(point, Moment) else point.phase)
            again += changed(landed)
            landed = forked(partial(landed_files, self.home))
        last = replace(self.request, batch_size=attempt.batch_size)
        ended = run(last, self.home, self.log, threads=attempt.threads)
        failure, difference = "", Difference()
        if ended.status:
            failure = self.log.read_text().strip() or f"ended with {ended.status}"
        else:
            found = forked(partial(contents, self.home, other_batches=not attempt.same))
            difference = reference.compare(found, attempt)
        seconds = time.monotonic() - started
        return Outcome(attempt, deaths, difference, again + changed(landed), seconds, failure)


@dataclass(frozen=True)
class Reference:
    """What an uninterrupted run leaves, in full and without what depends on its batches."""

    exact: Contents
    without_batches: Contents

    def compare(self, found: Contents, attempt: Attempt) -> Difference:
        """Return how a warehouse differs."""
        expected = self.exact if attempt.same else self.without_batches
        return compare(expected, found, other_batches=not attempt.same)


def changed(files: dict[Path, int]) -> int:
    """Return how many of the files that are there have been written again since then."""
    return sum(
        path.exists() and path.stat().st_mtime_ns != written for path, written in files.items()
    )


def landed_files(home: Path) -> dict[Path, int]:
    """Return the files of events that are recorded, and of replays, and when they were written."""
    lake = Lake(Paths(home).lake)
    found = [path for run_id in lake.run_ids() for path in replays.parts(lake, run_id)]
    found += [
        lake.shard_file("events", run_id, shard)
        for run_id in lake.run_ids()
        for shard in lake.shards.finished(run_id)
    ]
    return {path: path.stat().st_mtime_ns for path in found}


def lay_ground(folder: Path, *, empty: bool) -> Ground:
    """Make the model, two corpora of short texts, and the ground of this process.

    Args:
        folder: where they go.
        empty: start from no warehouse instead of one with an earlier run.
    """
    model = folder / "tiny-mixtral"
    forked(lambda: str(save_tiny_mixtral(model)))
    requests = []
    for name, samples in ((EARLIER, 100), ("short", SAMPLES)):
        generator = random.Random(samples)
        path = folder / f"{name}.jsonl"
        with open(path, "w") as file:
            for number in range(samples):
                words = generator.choices(WORDS, k=generator.randint(1, 8))
                row = {"text": " ".join(words), "domain": "even" if number % 2 == 0 else "odd"}
                file.write(json.dumps(row) + "\n")
        request = RunRequest(model=str(model), dataset=str(path), batch_size=8, max_length=64)
        requests.append(request)
    lay_trace(folder / "trace")
    earlier, request = replace(requests[0], name=EARLIER), requests[1]
    ground = Ground(folder / "ground", request, earlier)
    if empty:
        (ground.folder / "start").mkdir(parents=True)
    else:
        ground.lay()
    return ground


def lay_trace(folder: Path) -> None:
    """Write files of the plain format, of random sequences of the tiny model: four shards."""
    folder.mkdir()
    generator = np.random.default_rng(SAMPLES)
    for number in range(5):
        with open(folder / f"{number}.jsonl", "w") as file:
            for _ in range(400):
                tokens = int(generator.integers(1, 9))
                experts = np.argsort(generator.random((tokens, 3, 4)), axis=2)[..., :2]
                weights = np.sort(generator.random(experts.shape))[..., ::-1]
                row = {"experts": experts.tolist(), "weights": weights.tolist()}
                file.write(json.dumps(row) + "\n")
