"""Runs as earlier versions of the lake held them: their files lack what was added since."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gatehouse.warehouse.events import WRITING, Events
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.older import NARROWER
from gatehouse.warehouse.records import LAYERS, RUNS, SAMPLES, SHARDS
from gatehouse.warehouse.runs.shards import columns_of
from gatehouse.warehouse.tables import Content, read_table, write_table

SCHEMAS = {"runs": RUNS, "layers": LAYERS, "samples": SAMPLES}
SINCE_4 = {
    "runs": [
        "source",
        "source_files",
        "has_token_ids",
        "generate",
        "temperature",
        "seed",
        "output_norms",
    ],
    "layers": ["has_weights", "has_distribution", "ranked", "expert_bytes"],
    "samples": ["prompt_tokens", "turns"],
}
SINCE_3 = {
    "runs": [*SINCE_4["runs"], "lines", "document_field"],
    "layers": SINCE_4["layers"],
    "samples": [*SINCE_4["samples"], "document", "document_sha256"],
}


def make_older(lake: Lake, run_id: str, version: int) -> None:
    """Write a landed run's files as that version of the lake (3, 4 or 5) wrote them."""
    since = {3: SINCE_3, 4: SINCE_4, 5: {table: [] for table in SCHEMAS}}[version]
    for table, path in _files(lake, run_id):
        write_table(path, read_table(path, SCHEMAS[table]).drop_columns(since[table]))
    rows = []
    for shard, row in lake.shards.recorded(run_id).items():
        files = {table: lake.shard_file(table, run_id, shard) for table in ("samples", "events")}
        _narrow_weights(files["events"])
        rows.append(row | columns_of({table: Content.of(path) for table, path in files.items()}))
    for path in lake.shards.record_files(run_id):
        path.unlink()
    if rows:
        write_table(lake.file("shards", run_id), pa.Table.from_pylist(rows, schema=SHARDS))


def _narrow_weights(path: Path) -> None:
    """Write a file of events with weights as lakes before version 6 kept them."""
    parts = list(Events.in_file(path))
    if not parts:
        return
    index = parts[0].column_names.index("weights")
    schema = parts[0].schema.set(index, pa.field("weights", NARROWER["weights"]))
    encoding = {
        name: how for name, how in WRITING["column_encoding"].items() if "weights" not in name
    }
    with pq.ParquetWriter(path, schema, **WRITING | {"column_encoding": encoding}) as writer:
        for part in parts:
            writer.write_table(part.cast(schema))


def read_today(lake: Lake, run_id: str) -> dict[str, pa.Table]:
    """Return the run's row, layers and samples, with all columns."""
    found: dict[str, list[pa.Table]] = {table: [] for table in SCHEMAS}
    for table, path in _files(lake, run_id):
        found[table].append(read_table(path, SCHEMAS[table]))
    return {table: pa.concat_tables(parts) for table, parts in found.items()}


def _files(lake: Lake, run_id: str) -> Iterator[tuple[str, Path]]:
    yield "runs", lake.file("runs", run_id)
    yield "layers", lake.file("layers", run_id)
    for shard in lake.shards.recorded(run_id):
        yield "samples", lake.shard_file("samples", run_id, shard)
