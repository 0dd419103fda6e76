"""Where the files of a lake lie.

lake/events/run_id=RUN/shard-00000.parquet      ordered by layer, sample, position
lake/samples/run_id=RUN/shard-00000.parquet     the samples of that shard
lake/shards/run_id=RUN/shard-00000.parquet      its record: shards.py
lake/{runs,layers,vocabulary}/run_id=RUN/{table}.parquet
lake/counts/run_id=RUN/counts.parquet           of a run that has only these, and no shards
lake/replays/run_id=RUN/part-0123456789ab.parquet   what other routing would cost: replays.py
lake/names/RUN.txt                              a person's name for the run, if it has one
lake/readings/RUN.json                          how the run's text was read
lake/replaying/RUN.json                         the replay of it that is under way
lake/locks/RUN.lock, RUN.*.sharer               the process, or those, that capture the run
lake/VERSION                                    what a Gatehouse must know to read it
"""

from gatehouse.warehouse.errors import ANOTHER_HOME, GatehouseError
from gatehouse.warehouse.paths import checked_run_id, is_run_id
from gatehouse.warehouse.records import LAKE_VERSION, READABLE_VERSIONS
from gatehouse.warehouse.storage.addresses import Place
from gatehouse.warehouse.storage.places import storage_of
from gatehouse.warehouse.storage.storage import Entry

TABLES = ("runs", "layers", "vocabulary", "shards", "counts", "replays", "samples", "events")
"""The lake's folders of runs, in the order in which a run is removed from them."""

SHARD_TABLES = ("samples", "events")
"""Those of them that have a file for each shard."""


def shard_name(shard: int) -> str:
    """Return the name of a shard's file in each of its run's folders."""
    return f"shard-{shard:05d}.parquet"


class Layout:
    """The folders and files of the lake at `root`; creating the object changes nothing there.

    Args:
        root: a folder, or a place in a bucket.

    Raises:
        GatehouseError: a lake of another version is there, or its bucket cannot be asked.
    """

    def __init__(self, root: Place) -> None:
        self.root = root
        self.storage = storage_of(root)
        self._stated = self._stated_version()
        if self._stated is not None and self._stated not in READABLE_VERSIONS:
            raise GatehouseError(
                f"{root} is a lake of version {self._stated}, this Gatehouse reads versions "
                f"{READABLE_VERSIONS[0]} to {LAKE_VERSION}: {ANOTHER_HOME}"
            )

    def folder(self, table: str, run_id: str) -> Place:
        """Return the folder of a run in one of TABLES."""
        return self.root.joinpath(table, f"run_id={checked_run_id(run_id)}")

    def file(self, table: str, run_id: str) -> Place:
        """Return the file of a run in a table that has one file a run."""
        return self.folder(table, run_id) / f"{table}.parquet"

    def shard_file(self, table: str, run_id: str, shard: int) -> Place:
        """Return a shard's file in `samples`, `events` or `shards`."""
        return self.folder(table, run_id) / shard_name(shard)

    def run_ids(self) -> list[str]:
        """Return the names of all runs, readable or not, and of those removed only in part."""
        return sorted(set().union(*map(self.run_ids_in, TABLES)))

    def run_ids_in(self, table: str) -> list[str]:
        """Return the names of the runs that have a folder in one of TABLES, in no order."""
        found = self.storage.entries(self.root / table)
        return [_run_id_of(each) for each in found if _is_of_a_run(each)]

    def strangers(self) -> list[Place]:
        """Return what lies between the folders of runs and is none, as a copy made by hand."""
        return [
            self.root / table / each.name
            for table in sorted(TABLES)
            for each in sorted(self.storage.entries(self.root / table))
            if not (_is_of_a_run(each) or each.name.startswith("."))
        ]

    def state_version(self) -> None:
        """Let no earlier Gatehouse read a lake that holds what it does not know."""
        if self._stated != LAKE_VERSION:
            version = f"{LAKE_VERSION}\n"
            self.storage.publish(self.root / "VERSION", lambda path: path.write_text(version))
            self._stated = LAKE_VERSION

    def _stated_version(self) -> int | None:
        """Return the version of the lake; None if none is stated, or a crash left something else.

        Each of the lake's tables shows by its columns whether it is of this version.
        """
        try:
            return int(self.storage.read(self.root / "VERSION"))
        except (OSError, ValueError):
            return None


def _run_id_of(folder: Entry) -> str:
    return folder.name.removeprefix("run_id=")


def _is_of_a_run(entry: Entry) -> bool:
    return entry.is_folder and entry.name.startswith("run_id=") and is_run_id(_run_id_of(entry))
