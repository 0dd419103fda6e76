"""The lake: Parquet files that appear whole or not at all; a finished shard is the checkpoint.

    lake/events/run_id=RUN/shard-00000.parquet      ordered by layer, sample, position
    lake/samples/run_id=RUN/shard-00000.parquet     the samples of that shard
    lake/{runs,layers,vocabulary}/run_id=RUN/{table}.parquet

A shard's samples land before its events, so a landed events file means a complete shard.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from warehouse.errors import GatehouseError
from warehouse.integrity import check_events
from warehouse.paths import checked_run_id
from warehouse.records import EVENTS, LAKE_VERSION, LAYERS, RUNS, SAMPLES, VOCABULARY

ROW_GROUP_ROWS = 1_000_000
BYTE_STREAM_SPLIT = {"entropy": "BYTE_STREAM_SPLIT", "confidence": "BYTE_STREAM_SPLIT"}
INTEGER_COLUMNS = ["sample_id", "position", "token_id", "layer", "experts.list.element"]


class Lake:
    """The lake in the folder `root`; creating the object touches nothing on disk.

    Raises:
        GatehouseError: the folder holds a lake of another version.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        marker = root / "VERSION"
        if marker.exists() and marker.read_text().strip() != str(LAKE_VERSION):
            raise GatehouseError(
                f"{root} is a lake of version {marker.read_text().strip()[:20]}, this Gatehouse "
                f"reads version {LAKE_VERSION}: name another folder with GATEHOUSE_HOME"
            )

    def runs(self) -> dict[str, dict[str, Any]]:
        """Return run id -> row of `runs`, the latest start last."""
        files = (self.root / "runs").glob("run_id=*/runs.parquet")
        found = {
            path.parent.name.removeprefix("run_id="): read_table(path, RUNS).to_pylist()[0]
            for path in files
        }
        return dict(sorted(found.items(), key=lambda run: run[1]["started_at"]))

    def run_record(self, run_id: str) -> dict[str, Any] | None:
        """Return the run's row of `runs`, or None where there is no such run."""
        path = self._folder("runs", run_id) / "runs.parquet"
        return read_table(path, RUNS).to_pylist()[0] if path.exists() else None

    def land_run(
        self, run_id: str, record: dict[str, Any], layers: pa.Table, vocabulary: pa.Table
    ) -> None:
        """Land what a run is before its first shard."""
        write_atomically(self.root / "VERSION", lambda path: path.write_text(f"{LAKE_VERSION}\n"))
        write_table(self._folder("layers", run_id) / "layers.parquet", layers.cast(LAYERS))
        vocabulary_path = self._folder("vocabulary", run_id) / "vocabulary.parquet"
        write_table(vocabulary_path, vocabulary.cast(VOCABULARY))
        self.update_run(run_id, record)

    def update_run(self, run_id: str, record: dict[str, Any]) -> None:
        """Replace the run's row of `runs`."""
        table = pa.Table.from_pylist([record], schema=RUNS)
        write_table(self._folder("runs", run_id) / "runs.parquet", table)

    def layers(self, run_id: str) -> pa.Table:
        """Return the run's MoE layers, schema LAYERS."""
        return read_table(self._folder("layers", run_id) / "layers.parquet", LAYERS)

    def finished_shards(self, run_id: str) -> set[int]:
        """Return the numbers of the run's landed shards.

        Raises:
            GatehouseError: a landed file is not readable Parquet of the right schema.
        """
        finished = set()
        for path in sorted(self._folder("events", run_id).glob("shard-*.parquet")):
            samples = self._folder("samples", run_id) / path.name
            check_readable(path, EVENTS)
            check_readable(samples, SAMPLES)
            finished.add(int(path.stem.removeprefix("shard-")))
        return finished

    def land_shard(self, run_id: str, shard: int, samples: pa.Table, events: pa.Table) -> None:
        """Check one shard's samples (schema SAMPLES) and events (EVENTS) and publish them.

        Raises:
            GatehouseError: the events are not exactly the samples' tokens times the MoE layers,
                or a value is out of range; nothing is written then.
        """
        check_events(events, samples, self.layers(run_id))
        name = f"shard-{shard:05d}.parquet"
        write_table(self._folder("samples", run_id) / name, samples.cast(SAMPLES))
        write_events(self._folder("events", run_id) / name, events.cast(EVENTS))

    def tokens(self, run_id: str) -> tuple[int, int]:
        """Return (tokens landed, tokens dropped by the maximum length) so far."""
        files = sorted(self._folder("samples", run_id).glob("shard-*.parquet"))
        finished = {f"shard-{shard:05d}.parquet" for shard in self.finished_shards(run_id)}
        tables = [read_table(path, SAMPLES) for path in files if path.name in finished]
        return (
            sum(sum(table["tokens"].to_pylist()) for table in tables),
            sum(sum(table["dropped_tokens"].to_pylist()) for table in tables),
        )

    def _folder(self, table: str, run_id: str) -> Path:
        return self.root / table / f"run_id={checked_run_id(run_id)}"


def write_events(path: Path, events: pa.Table) -> None:
    """Write events ordered by (layer, sample, position), a new row group at each new layer."""

    def write(temporary: Path) -> None:
        with pq.ParquetWriter(
            temporary,
            EVENTS,
            compression="zstd",
            use_dictionary=[*INTEGER_COLUMNS, "top_expert"],
            column_encoding=BYTE_STREAM_SPLIT,
            write_page_checksum=True,
        ) as writer:
            start = 0
            runs = pc.run_end_encode(events["layer"].combine_chunks())
            for end in runs.run_ends.to_pylist():
                writer.write_table(events.slice(start, end - start), row_group_size=ROW_GROUP_ROWS)
                start = end

    write_atomically(path, write)


def write_table(path: Path, table: pa.Table) -> None:
    """Write a small table."""
    write_atomically(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write(temporary path)` make the file, flush it to disk, then rename it into place.

    Raises:
        GatehouseError: the disk is full or not writable; the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises:
        GatehouseError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> GatehouseError:
    """Return the error that says what could not be written and what to do."""
    return GatehouseError(
        f"cannot write {path}: {error.strerror or error}; make room or name another folder with "
        "GATEHOUSE_HOME, then run the same command again"
    )


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """Read one of the lake's small files.

    Raises:
        GatehouseError: the file is missing, damaged, or has another schema.
    """
    check_readable(path, schema)
    # partitioning=None: the hive folder must not add a column that the schema has not
    return pq.read_table(path, schema=schema, partitioning=None)


def check_readable(path: Path, schema: pa.Schema) -> None:
    """Refuse a missing, damaged or foreign Parquet file by name.

    Raises:
        GatehouseError: says which file, and to delete it and run again.
    """
    try:
        found = pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise GatehouseError(
            f"{path} is damaged or missing: delete that shard's files under events/ and samples/ "
            "and run the same command again, it is captured anew"
        ) from error
    if not found.equals(schema):
        raise GatehouseError(
            f"{path} has other columns than this Gatehouse writes: it is not of lake version "
            f"{LAKE_VERSION}; name another folder with GATEHOUSE_HOME"
        )
