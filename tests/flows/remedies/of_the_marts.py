"""Faults of the database, and names of runs that the marts do not have."""

from collections.abc import Callable
from contextlib import closing
from types import SimpleNamespace

import duckdb

from gatehouse.flows.steps.building import command
from gatehouse.warehouse.notes.run_names import name_run
from tests.flows.remedies.damages import without
from tests.flows.remedies.of_the_lake import BUILD, REPAIR, VERIFY
from tests.flows.remedies.remedy import Place, Remedy

VALIDATE = "gatehouse validate"
BLOCKS = """
    select distinct block_id from pragma_storage_info('fct_token_routing') where block_id >= 0
"""
HEADERS, BYTES_OF_A_BLOCK = 3 << 12, 1 << 18
"""Of a file of DuckDB's."""

LISTS = "`gatehouse status` lists the runs"


def changed(statement: str) -> Callable[[Place], object]:
    """Return what changes the database with a statement."""

    def change(place: Place) -> None:
        with closing(duckdb.connect(str(place.paths.database))) as connection:
            connection.execute(statement)

    return change


def no_database(place: Place) -> None:
    place.paths.database.unlink()


def no_database_at_all(place: Place) -> None:
    place.paths.database.write_bytes(b"no database" * 5_000)


def altered(place: Place) -> None:
    """Alter the blocks of a mart's rows, which shows only when they are read."""
    with closing(duckdb.connect(str(place.paths.database), read_only=True)) as connection:
        blocks = connection.execute(BLOCKS).fetchall()
    with open(place.paths.database, "r+b") as file:
        for (block,) in blocks:
            file.seek(HEADERS + block * BYTES_OF_A_BLOCK)
            file.write(b"altered")


def lost_runs(place: Place) -> None:
    no_database_at_all(place)
    (place.paths.lake / "runs").rename(place.folder / "runs")
    for table in ("layers", "vocabulary", "shards", "samples", "events"):
        (place.paths.lake / table).rename(place.folder / table)


def failing_dbt(
    reason: str, what: str, holds: Callable[[Place], bool]
) -> Callable[[Place], object]:
    """Return what makes one of dbt's commands fail with a reason while that holds."""

    def fail(place: Place) -> None:
        run_dbt = command.run_dbt

        def fails(words: tuple[str, ...], target: object) -> object:
            if words[0] == what and holds(place):
                return SimpleNamespace(success=False, exception=OSError(reason), result=None)
            return run_dbt(words, target)

        place.patch.setattr(command, "run_dbt", fails)

    return fail


def full(place: Place) -> bool:
    return not (place.folder / "room").exists()


def is_damaged(place: Place) -> bool:
    return place.paths.database.stat().st_size == 11 * 5_000


def failing_docs(place: Place) -> None:
    no_database_at_all(place)
    failing_dbt("Corrupt database file", "docs", is_damaged)(place)


def two_of_one_name(place: Place) -> None:
    for run in (place.run, "another-run"):
        name_run(place.lake.root, run, "night")


DAMAGED = "the database is damaged (…): `gatehouse verify --repair` builds it afresh"
DIFFER = "the marts disagree with the lake: … (--repair builds the marts afresh)"

ROWS = (
    Remedy(
        "no database",
        VALIDATE,
        "there is no … yet: run `gatehouse run`, or `gatehouse build` if a capture has finished",
        "`gatehouse build`",
        no_database,
    ),
    Remedy(
        "no database",
        "gatehouse docs",
        "there is no … yet: run `gatehouse build` first",
        "run `gatehouse build` first",
        no_database,
    ),
    Remedy(
        "a database that is none",
        VALIDATE,
        "cannot open …: …; delete the file and run `gatehouse build` (the lake has everything)",
        "delete the file and run `gatehouse build`",
        no_database_at_all,
        no_database,
    ),
    Remedy(
        "a database altered where it is read",
        VALIDATE,
        DAMAGED,
        "`gatehouse verify --repair`",
        altered,
    ),
    Remedy(
        "a database altered where it is read",
        VERIFY,
        "the database is damaged: … (--repair builds the marts afresh)",
        "--repair",
        altered,
        done=REPAIR,
    ),
    Remedy(
        "a database that is none, and a lake without runs",
        VERIFY,
        "cannot open …: …; delete the file and run `gatehouse build` (the lake has everything) "
        "(--repair builds the marts afresh)",
        "--repair",
        lost_runs,
        done=REPAIR,
    ),
    Remedy(
        "dbt's documentation of a damaged database",
        "gatehouse docs",
        "dbt docs failed: …; what was built before is untouched: `gatehouse verify --repair` "
        "builds it afresh",
        "`gatehouse verify --repair`",
        failing_docs,
    ),
    Remedy(
        "a disk that is full while dbt builds",
        BUILD,
        "dbt build failed: …; what was built before is untouched: put that right and run the same "
        "command again",
        "put that right and run the same command again",
        failing_dbt("[Errno 28] No space left on device", "build", full),
        lambda place: (place.folder / "room").touch(),
    ),
    Remedy(
        "marts altered",
        VERIFY,
        DIFFER,
        "--repair",
        changed("update fct_token_routing set frequency = frequency + 1 where layer = 1"),
        done=REPAIR,
    ),
    Remedy(
        "a run in the marts that the lake has not",
        VERIFY,
        "is in the marts but is not a finished run of the lake (--repair builds the marts afresh)",
        "--repair",
        without("runs", "layers", "vocabulary", "shards", "samples", "events"),
        done=REPAIR,
    ),
    Remedy(
        "a mart missing",
        VALIDATE,
        "the marts do not fit this version of Gatehouse (…): run `gatehouse build`",
        "run `gatehouse build`",
        changed("drop table fct_token_routing"),
    ),
    Remedy(
        "a mart missing",
        "gatehouse sql --examples layers_at_a_glance",
        "example layers_at_a_glance: …; `gatehouse build` makes the tables it reads",
        "`gatehouse build` makes the tables it reads",
        changed("drop table fct_layer_routing"),
    ),
    Remedy(
        "tokens missing from one layer",
        f"{VALIDATE} --layer all",
        "the run's MoE layers hold different tokens: `gatehouse verify --repair` builds the marts "
        "afresh",
        "`gatehouse verify --repair`",
        changed("delete from fct_token_routing where layer = 1 and token_id % 2 = 0"),
    ),
    Remedy(
        "marts without a run",
        VALIDATE,
        "no run has finished: `gatehouse status` shows what is captured",
        "`gatehouse status`",
        changed("delete from dim_run"),
        then="gatehouse status",
    ),
    Remedy(
        "an unknown run",
        f"{VALIDATE} --run nightly",
        f"no finished run 'nightly' is built: {LISTS}, and `gatehouse build` adds those that have "
        "finished",
        LISTS,
        then=f"{VALIDATE} --run {{run}}",
    ),
    Remedy(
        "an unknown run",
        f"{VERIFY} nightly",
        f"there is no run 'nightly': {LISTS}",
        LISTS,
        then=f"{VERIFY} {{run}}",
    ),
    Remedy(
        "an unknown run",
        "gatehouse runs rm nightly",
        f"there is no run 'nightly': {LISTS}",
        LISTS,
        then="gatehouse runs rm {run}",
    ),
    Remedy(
        "a name that no run can have",
        "gatehouse runs rm Night/1",
        f"'Night/1' is not a run id: {LISTS}",
        LISTS,
        then="gatehouse runs rm {run}",
    ),
    Remedy(
        "two runs of one name",
        f"{VALIDATE} --run night",
        "'night' names another-run, RUN: give one of these run ids",
        "give one of these run ids",
        two_of_one_name,
        then=f"{VALIDATE} --run {{run}}",
    ),
    Remedy(
        "a removal without an answer",
        "gatehouse runs rm {run}",
        "remove RUN with its …? Add --yes to agree",
        "--yes",
        lambda place: place.patch.setattr("sys.stdin.isatty", lambda: False),
        done=("gatehouse runs rm {run} --yes",),
        then="gatehouse status",
    ),
)
