"""What damages the lake of a `Place`, and what a person does about it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from gatehouse.warehouse.records import SAMPLES
from gatehouse.warehouse.tables import read_table, write_table
from gatehouse.warehouse.upkeep.verification import RUN_TABLES
from tests.flows.remedies.remedy import CAPTURE, Place
from tests.flows.upkeep.test_verify import flip

PIPED = CAPTURE.replace("{corpus}", "-")


def shard(place: Place) -> Path:
    """Return the run's only shard of events."""
    return place.lake.shard_file("events", place.run, 0)


def file(table: str, damage: Callable[[Path], object]) -> Callable[[Place], object]:
    """Return what does something to a small table of the run."""
    return lambda place: damage(place.lake.file(table, place.run))


def damaged(table: str) -> Callable[[Place], object]:
    """Return what flips a byte of a small table of the run."""
    return file(table, lambda path: flip(path, 0.3))


def of_another_run(table: str) -> Callable[[Place], object]:
    """Return what puts another run's table, with the same rows, in place of the run's."""

    def put(place: Place) -> None:
        path = place.lake.file(table, place.run)
        other = place.lake.file(table, "other")
        other.parent.mkdir()
        write_table(other, read_table(path, RUN_TABLES[path.stem]))
        other.replace(path)
        other.parent.rmdir()

    return put


def wide(place: Place) -> None:
    """Show the whole of a table's cells."""
    place.patch.setenv("COLUMNS", "2000")
    place.patch.setattr("gatehouse.flows.upkeep.status.os.isatty", lambda number: True)


def recorded_with(**values: object) -> Callable[[Place], object]:
    """Return what records other values of the run."""

    def record(place: Place) -> None:
        row = place.lake.run_record(place.run)
        assert row is not None
        place.lake.update_run(place.run, row | values)
        wide(place)

    return record


def of_another_dataset(place: Place) -> None:
    """Give a sample another name, in its file and in the shard's record."""
    path = place.lake.shard_file("samples", place.run, 0)
    row = place.lake.shards.recorded(place.run)[0]
    samples = pq.read_table(path, partitioning=None).cast(SAMPLES)
    names = ["another", *samples["name"].to_pylist()[1:]]
    write_table(path, samples.set_column(1, SAMPLES.field("name"), [names]))
    place.lake.shards.record(place.run, 0, samples, row["events"], seconds=row["seconds"])


def without(*tables: str) -> Callable[[Place], object]:
    """Return what removes the run's folders in some tables."""

    def remove(place: Place) -> None:
        for table in tables:
            shutil.rmtree(place.lake.folder(table, place.run))
        wide(place)

    return remove


def copied(place: Place) -> None:
    folder = shard(place).parent
    shutil.copytree(folder, folder.with_name(f"{folder.name} (copy)"))


def flipped(place: Place) -> None:
    """Flip a bit of the shard."""
    flip(shard(place), 0.3)


def version(number: int) -> Callable[[Place], object]:
    """Return what lets the lake be of another version."""
    return lambda place: (place.paths.lake / "VERSION").write_text(f"{number}\n")


def new_home(place: Place) -> None:
    place.patch.setenv("GATEHOUSE_HOME", str(place.folder / "another"))


def older_columns(place: Place) -> None:
    (place.paths.lake / "VERSION").unlink()
    path = place.lake.file("runs", place.run)
    write_table(path, read_table(path, RUN_TABLES[path.stem]).drop_columns(["first_sample"]))


def in_the_lake(place: Place) -> None:
    place.patch.setenv("GATEHOUSE_HOME", str(place.paths.lake / "events"))


def back_home(place: Place) -> None:
    place.patch.setenv("GATEHOUSE_HOME", str(place.home))


def damaged_to_be_seen(place: Place) -> None:
    shard(place).unlink()
    wide(place)


def changed_text(place: Place) -> None:
    shard(place).unlink()
    content = place.corpus.read_bytes()
    place.opened.callback(place.corpus.write_bytes, content)
    place.corpus.write_bytes(content.replace(b"router", b"gate"))


def lost_pipe(place: Place) -> None:
    shutil.rmtree(place.home)
    piped(place)
    assert place.carry_out(f"{PIPED}")[0] == 0
    (found,) = place.lake.run_ids()
    place.lake.shard_file("events", found, 0).unlink()
    shutil.rmtree(place.paths.prepared)


def piped(place: Place) -> None:
    place.patch.setattr("sys.stdin", place.opened.enter_context(place.corpus.open()))
