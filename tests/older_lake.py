"""Runs as earlier versions of the lake held them: their files lack what was added since."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from gatehouse.warehouse.files import read_table, write_table
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.records import LAYERS, RUNS, SAMPLES

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
    """Write a landed run's files as that version of the lake (3 or 4) wrote them."""
    since = {3: SINCE_3, 4: SINCE_4}[version]
    for table, path in _files(lake, run_id):
        write_table(path, read_table(path, SCHEMAS[table]).drop_columns(since[table]))
    for shard, row in lake.shards(run_id).items():
        samples = read_table(lake.shard_file("samples", run_id, shard), SAMPLES)
        lake.record_shard(run_id, shard, samples, row["events"], seconds=row["seconds"])


def read_today(lake: Lake, run_id: str) -> dict[str, pa.Table]:
    """Return the run's row, layers and samples, with all columns."""
    found: dict[str, list[pa.Table]] = {table: [] for table in SCHEMAS}
    for table, path in _files(lake, run_id):
        found[table].append(read_table(path, SCHEMAS[table]))
    return {table: pa.concat_tables(parts) for table, parts in found.items()}


def _files(lake: Lake, run_id: str) -> Iterator[tuple[str, Path]]:
    yield "runs", lake.file("runs", run_id)
    yield "layers", lake.file("layers", run_id)
    for shard in lake.shards(run_id):
        yield "samples", lake.shard_file("samples", run_id, shard)
