"""Faults of the lake's files: shards, records, folders, versions."""

import shutil
from pathlib import Path

from gatehouse.warehouse.records import LAKE_VERSION, READABLE_VERSIONS
from tests.flows.remedies.damages import (
    PIPED,
    back_home,
    changed_text,
    copied,
    damaged,
    damaged_to_be_seen,
    file,
    flipped,
    in_the_lake,
    lost_pipe,
    new_home,
    of_another_dataset,
    of_another_run,
    older_columns,
    piped,
    recorded_with,
    shard,
    version,
    wide,
    without,
)
from tests.flows.remedies.remedy import CAPTURE, Remedy

VERIFY, STATUS, BUILD = "gatehouse verify", "gatehouse status", "gatehouse build"
REMOVE = "gatehouse runs rm {run}"
REPAIR = ("gatehouse verify --repair",)
UNTOUCHED = "; what was built before is untouched"
ANOTHER_HOME = "name another folder with --home or GATEHOUSE_HOME"
WRITTEN_ANEW = "run the same `gatehouse capture` again, which writes it anew"
AGAIN = f"{WRITTEN_ANEW}, or remove the run with `gatehouse runs rm RUN`"
MENDS = "`gatehouse verify RUN --repair` mends it"


def of_version(number: int) -> str:
    """Return what is said of a lake of another version."""
    reads = f"this Gatehouse reads versions 3 to {LAKE_VERSION}: {ANOTHER_HOME}"
    return f"… is a lake of version {number}, {reads}"


ROWS = (
    Remedy(
        "no run in the home",
        BUILD,
        "no run in … has finished: `gatehouse capture` lands or resumes one",
        "`gatehouse capture`",
        lambda place: shutil.rmtree(place.home),
        done=(CAPTURE,),
    ),
    Remedy(
        "a run that was broken off",
        STATUS,
        "unfinished: run it again to resume",
        "run it again",
        recorded_with(finished_at=None),
        done=(CAPTURE,),
    ),
    Remedy(
        "a shard deleted",
        VERIFY,
        "shard 0 is missing or has another size (--repair captures it again)",
        "--repair",
        lambda place: shard(place).unlink(),
        done=REPAIR,
    ),
    Remedy(
        "a shard deleted",
        STATUS,
        "damaged: shard 0 is missing or has another size: `gatehouse verify --repair`",
        "`gatehouse verify --repair`",
        damaged_to_be_seen,
    ),
    Remedy(
        "a shard deleted",
        BUILD,
        f"RUN: shard 0 is missing or has another size: {MENDS}{UNTOUCHED}",
        MENDS,
        lambda place: shard(place).unlink(),
    ),
    Remedy(
        "a byte of a shard flipped",
        VERIFY,
        "shard 0 has other bytes in `events` than were recorded (--repair captures it again)",
        "--repair",
        flipped,
        done=REPAIR,
    ),
    Remedy(
        "a run's record damaged",
        BUILD,
        f"…/runs.parquet is damaged or missing: {AGAIN}{UNTOUCHED}",
        WRITTEN_ANEW,
        damaged("runs"),
        done=(CAPTURE,),
    ),
    Remedy(
        "a run's record damaged",
        VERIFY,
        f"…/runs.parquet is damaged or missing: {AGAIN}",
        "remove the run with `gatehouse runs rm RUN`",
        damaged("runs"),
    ),
    Remedy(
        "a run's record is that of another run",
        VERIFY,
        f"…/runs.parquet is that of run_id=other/runs.parquet: {AGAIN}",
        WRITTEN_ANEW,
        of_another_run("runs"),
        done=(CAPTURE,),
    ),
    Remedy(
        "a run's record lost",
        VERIFY,
        "has no row in `runs`: run the same `gatehouse capture` again, or remove the run with "
        "`gatehouse runs rm RUN`",
        "run the same `gatehouse capture` again",
        file("runs", Path.unlink),
        done=(CAPTURE,),
    ),
    Remedy(
        "a run's record lost",
        STATUS,
        "has no row in `runs`: run the same `gatehouse capture` again, or remove the run with "
        "`gatehouse runs rm RUN`",
        "remove the run with `gatehouse runs rm RUN`",
        lambda place: (file("runs", Path.unlink)(place), wide(place)),
    ),
    Remedy(
        "a run's record says what another run's does",
        VERIFY,
        "its row in `runs` is of another run: remove it with `gatehouse runs rm RUN` and run its "
        "capture again",
        "remove it with `gatehouse runs rm RUN` and run its capture again",
        recorded_with(max_length=64),
        done=(REMOVE, CAPTURE),
    ),
    Remedy(
        "samples of another dataset",
        VERIFY,
        "its samples are not those of its dataset: remove it with `gatehouse runs rm RUN` and run "
        "its capture again",
        "remove it with `gatehouse runs rm RUN` and run its capture again",
        of_another_dataset,
        done=(REMOVE, CAPTURE),
    ),
    Remedy(
        "a table of layers damaged",
        BUILD,
        f"…/layers.parquet is damaged or missing: {MENDS}{UNTOUCHED}",
        MENDS,
        damaged("layers"),
    ),
    Remedy(
        "a table of layers is that of another run",
        BUILD,
        f"…/layers.parquet is that of run_id=other/layers.parquet: {MENDS}{UNTOUCHED}",
        MENDS,
        of_another_run("layers"),
    ),
    Remedy(
        "the table of shards lost",
        VERIFY,
        "its table of shards is missing (--repair records the shards that are there)",
        "--repair",
        lambda place: place.lake.shard_file("shards", place.run, 0).unlink(),
        done=REPAIR,
    ),
    Remedy(
        "a half-written file left by a kill",
        VERIFY,
        "….tmp was never finished (--repair removes it)",
        "--repair",
        lambda place: shard(place).with_name(".shard-00009.parquet.1.tmp").touch(),
        done=REPAIR,
    ),
    Remedy(
        "a foreign file in a run's folder",
        VERIFY,
        "…/notes.txt does not belong to this run (--repair sets it aside)",
        "--repair",
        lambda place: shard(place).with_name("notes.txt").write_text("mine"),
        done=REPAIR,
    ),
    Remedy(
        "a run's folder copied by hand",
        BUILD,
        "… (copy) is not the folder of a run: `gatehouse verify --repair` sets it aside"
        f"{UNTOUCHED}",
        "`gatehouse verify --repair`",
        copied,
    ),
    Remedy(
        "a removal killed halfway",
        STATUS,
        "damaged: leftovers of a run: `gatehouse runs rm RUN` removes them",
        "`gatehouse runs rm RUN`",
        without("runs", "layers"),
    ),
    Remedy(
        "the text changed under its name",
        "gatehouse verify --repair",
        "RUN cannot be captured again, … changed since: restore that and run the same command; "
        "nothing was overwritten",
        "restore that and run the same command",
        changed_text,
        lambda place: place.opened.close(),
    ),
    Remedy(
        "the text of a pipe lost",
        "gatehouse verify --repair",
        "the text came through a pipe, and …/prepared has lost it: pipe it in again with the "
        "command of that run",
        "pipe it in again with the command of that run",
        lost_pipe,
        piped,
        done=(PIPED,),
    ),
    Remedy(
        "a lake of an older version",
        CAPTURE,
        of_version(READABLE_VERSIONS[0] - 1),
        ANOTHER_HOME,
        version(READABLE_VERSIONS[0] - 1),
        new_home,
    ),
    Remedy(
        "a lake of a newer version, and --home",
        f"{CAPTURE} --home {{home}}",
        of_version(LAKE_VERSION + 1),
        ANOTHER_HOME,
        version(LAKE_VERSION + 1),
        then=f"{CAPTURE} --home {{folder}}/another",
    ),
    Remedy(
        "the columns of an older version",
        VERIFY,
        "does not have the columns that this Gatehouse reads: it is not of lake version 3 to "
        f"{LAKE_VERSION}; {ANOTHER_HOME}",
        ANOTHER_HOME,
        older_columns,
        new_home,
    ),
    Remedy(
        "a home in the lake of another",
        STATUS,
        "…/lake/events lies in a lake: name …, or another home",
        "name …",
        in_the_lake,
        back_home,
    ),
)
