"""What a build makes sure of before dbt reads a lake: its runs are whole, its files their own."""

from gatehouse.flows.steps.building.command import UNTOUCHED
from gatehouse.warehouse.errors import BrokenLaw, GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.replays import parts
from gatehouse.warehouse.tables import check_table
from gatehouse.warehouse.upkeep.health import REMOVE, Health, check_all_quickly


def checked_to_build(lake: Lake) -> dict[str, Health]:
    """Return a quick check of each run, of which at least one has finished.

    Raises:
        GatehouseError: none has, or as `checked`.
    """
    seen = checked(lake)
    if not any(health.is_finished for health in seen.values()):
        raise GatehouseError(
            f"no run in {lake.root} has finished: `gatehouse capture` lands or resumes one"
        )
    return seen


def checked(lake: Lake) -> dict[str, Health]:
    """Return a quick check of each run, leaving out the remnants of removed ones.

    Raises:
        GatehouseError: the names and sizes of a finished run's files show that it is not whole, a
            run's record cannot be read, or a folder is not that of a run.
    """
    for path in lake.strangers():
        # of other names, dbt reads nothing
        if path.match("run_id=*"):
            raise GatehouseError(
                f"{path} is not the folder of a run: `gatehouse verify --repair` sets it "
                f"aside; {UNTOUCHED}"
            )
    seen = check_all_quickly(lake)
    there = lake.storage.names(lake.root / "runs")
    seen = {run_id: health for run_id, health in seen.items() if f"run_id={run_id}" in there}
    for run_id, health in seen.items():
        # leftovers of a killed writer are never read
        problems = [problem for problem in health.problems if problem.cure != REMOVE]
        counted = health.record is None or health.is_finished
        if counted and problems and lake.locks.writer(run_id) is None:
            mending = f": `gatehouse verify {run_id} --repair` mends it"
            if problems[0].cure is None:
                mending = ""  # what is wrong names its own way out
            raise GatehouseError(f"{run_id}: {problems[0].what}{mending}; {UNTOUCHED}")
    return seen


def check_descriptions(lake: Lake, run_ids: list[str]) -> None:
    """Make sure that what dbt reads of the runs, beside what was checked, is theirs.

    Raises:
        GatehouseError: a table of layers or of the vocabulary, or a part of the replays, is damaged
            or of another run.
    """
    for run_id in run_ids:
        described = [lake.file(table, run_id) for table in ("layers", "vocabulary")]
        for path in [*described, *parts(lake, run_id)]:
            try:
                check_table(path)
            except BrokenLaw as error:
                raise GatehouseError(f"{run_id}: {error}; {UNTOUCHED}") from error
