"""Where the runs of `make chaos` are killed: named points, and seeded moments of every phase."""

import random
from dataclasses import dataclass

from tests.chaos.processes import Call, Ended, Moment, Point, Rename
from tests.chaos.run import PHASES

SHARES = {
    "prepare": 12,
    "forward": 20,
    "write": 20,
    "build": 28,
    "tables": 6,
    "figures": 9,
    "page": 5,
}
"""How the moments are spread over the phases, in percent: most where most is at stake."""

NAMED = (
    Call("prepare", "gatehouse.ingest.numbering.split_of", 700),
    Call("prepare", "gatehouse.ingest.prepare.write_samples:after"),
    Call("forward", "gatehouse.models.zoo.ModelPlan.load"),
    Call("forward", "gatehouse.flows.steps.tokens.tokenize", 2),
    Call("forward", "gatehouse.models.capture.pad", 1),
    Call("forward", "gatehouse.models.capture.pad", 14),
    Call("forward", "gatehouse.models.capture.check_finite", 12),
    Call("write", "gatehouse.warehouse.lake.Lake.land_run"),
    Call("write", "gatehouse.warehouse.lake.Lake.land_run:after"),
    Call("write", "gatehouse.warehouse.lake.write_events", 1),
    Call("write", "gatehouse.warehouse.lake.write_events:after", 2),
    Call("write", "gatehouse.warehouse.runs.shards.Shards.record:after", 2),
    Call("write", "gatehouse.warehouse.runs.shards.Shards.record:after", 3),
    Call("write", "gatehouse.warehouse.lake.Lake.update_run", 2),
    Call("write", "gatehouse.warehouse.lake.Lake.update_run:after", 2),
    Call("prepare", "gatehouse.ingest.prepare.write_atomically:after"),
    Rename("prepare", "/samples.parquet"),
    Rename("write", "/layers.parquet"),
    Rename("write", "/vocabulary.parquet"),
    Rename("write", "/runs.parquet"),
    Rename("write", "/shard-00000.parquet"),
    Rename("write", "/shards/run_id="),
    Call("write", "os.fsync", 17),
    Call("write", "os.fsync", 18),
    Call("write", "os.fsync", 19),
    Call("write", "os.fsync", 20),
    Call("build", "gatehouse.flows.steps.build._start_from:after"),
    Call("build", "dbt.task.run.ModelRunner.execute", 1),
    Call("build", "dbt.task.run.ModelRunner.execute", 25),
    Call("build", "dbt.task.run.ModelRunner.execute:after", 53),
    Call("build", "dbt.task.test.TestRunner.execute", 1),
    Call("build", "dbt.task.test.TestRunner.execute:after", 60),
    Rename("build", "/gatehouse.duckdb"),
    Rename("tables", "/routing_stats.parquet"),
    Rename("tables", "/routing_stats.csv"),
    Rename("tables", "/analysis_summary.txt"),
    Rename("tables", "/validation_report.txt"),
    Rename("tables", "/validation.json"),
    Call("figures", "gatehouse.reports.results.files._draw", 2),
    Call("figures", "gatehouse.reports.results.files._draw:after", 3),
    Rename("figures", "/frequency_vs_entropy.png"),
    Rename("figures", "/frequency_vs_entropy.pdf"),
    Call("page", "gatehouse.reports.page.report.render:after"),
    Rename("page", "/report.html"),
)

OTHER_BATCHES = {
    f"batch size {batch_size}, threads {threads}": (batch_size, threads)
    for batch_size, threads in ((1, 1), (7, 1), (64, 1), (8, 2), (1, 2), (64, 2))
}
"""Groups of runs that are resumed so, instead of with batches of 8 texts and 1 thread."""

CAPTURE = ("prepare", "forward", "write")


@dataclass(frozen=True)
class Attempt:
    """One warehouse: where its runs are killed, and the batches and threads of the last one."""

    group: str
    points: tuple[Point, ...] = ()
    batch_size: int = 8
    threads: int = 1

    @property
    def same(self) -> bool:
        """Whether the last run has the batches and threads of the killed ones."""
        return (self.batch_size, self.threads) == (8, 1)


def dealt(group: str, points: list[Point]) -> list[Attempt]:
    """Deal points to warehouses, each killed in the order of the phases; then it runs to its end.

    A warehouse takes one point of the capture: a run that never reached a second one would finish.
    """
    early = [point for point in points if point.phase in CAPTURE]
    late = sorted(
        (point for point in points if point.phase not in CAPTURE),
        key=lambda point: PHASES.index(point.phase),
    )
    warehouses = len(early)
    return [
        Attempt(group, (point, *late[number::warehouses])) for number, point in enumerate(early)
    ]


def named() -> list[Attempt]:
    """Return the named points."""
    return dealt("named", list(NAMED))


def short() -> list[Attempt]:
    """Return ten points that cover every phase, for `make test`: one warehouse takes them all.

    It begins without a lake: only one that is new states its version.

    A process counts its own calls: its second `Shards.record` is that of the last shard here.
    """
    points = (
        Call("prepare", "gatehouse.ingest.numbering.split_of", 700),
        Rename("write", "/VERSION"),
        Rename("write", "/runs.parquet"),
        Call("forward", "gatehouse.models.capture.pad", 4),
        Call("write", "gatehouse.warehouse.lake.write_events", 1),
        Call("write", "gatehouse.warehouse.lake.write_events:after", 2),
        Call("write", "os.fsync", 2),
        Call("write", "gatehouse.warehouse.runs.shards.Shards.record:after", 2),
        Call("build", "dbt.task.test.TestRunner.execute", 1),
        Rename("figures", "/frequency_vs_entropy.png"),
    )
    return [Attempt("named", points)]


def moments(uninterrupted: Ended, points: int, seed: int) -> list[Attempt]:
    """Return seeded moments of every phase.

    Args:
        uninterrupted: when a run's phases begin.
        points: how many kills.
        seed: for everything random.
    """
    generator = random.Random(seed)
    phases = [phase for phase, share in SHARES.items() for _ in range(round(share * points / 100))]
    phases = (phases + list(SHARES))[:points]
    drawn: list[Point] = [moment_of(phase, uninterrupted, generator) for phase in phases]
    generator.shuffle(drawn)
    return dealt("random", drawn)


def variations(uninterrupted: Ended, seed: int) -> list[Attempt]:
    """Return kills in the middle of the capture, resumed with other batches and threads."""
    generator = random.Random(seed)
    return [
        Attempt(group, (point,), *batches)
        for group, batches in OTHER_BATCHES.items()
        for point in (
            Call("forward", "gatehouse.flows.steps.tokens.tokenize", 2),
            moment_of("forward", uninterrupted, generator),
            Call("write", "gatehouse.warehouse.lake.write_events", 3),
        )
    ]


def moment_of(phase: str, uninterrupted: Ended, generator: random.Random) -> Moment:
    """Draw a moment of a phase; a part of the phase is as likely as it is long."""
    ends = [seconds for seconds, _ in uninterrupted.marks[1:]] + [uninterrupted.seconds]
    parts = [
        end - begun
        for (begun, name), end in zip(uninterrupted.marks, ends, strict=True)
        if name == phase
    ]
    number = generator.choices(range(len(parts)), weights=parts)[0]
    return Moment(phase, number + 1, generator.uniform(0, parts[number]))
