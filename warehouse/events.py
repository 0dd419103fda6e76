"""The events of one shard, a part at a time: those of long texts do not fit into memory at once."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gatehouse.warehouse.older import NARROWER
from gatehouse.warehouse.records import EVENTS, EVENTS_WITH_NORMS, OUTPUT_NORMS
from gatehouse.warehouse.storage.addresses import Place
from gatehouse.warehouse.storage.places import storage_of
from gatehouse.warehouse.tables import Content, open_table

PART_ROWS = 1_000_000
"""The most events of a part, which becomes a row group of the lake's file."""

INTEGER_COLUMNS = ["sample_id", "position", "token_id", "layer", "experts.list.element"]

WRITING: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": [*INTEGER_COLUMNS, "top_expert"],
    "column_encoding": dict.fromkeys(
        ("weights.list.element", "entropy", "confidence"), "BYTE_STREAM_SPLIT"
    ),
    "write_page_checksum": True,
}


BEYOND_FLOAT16 = 0x1FFF
"""Bits of a float32's fraction for which float16 has no room."""


class Events:
    """Events in the order (layer, sample, position), in parts of one layer each.

    Args:
        num_rows: how many there are.
        parts: gives them, from the first one on, each time it is called; of a layer's parts all
            but the last have PART_ROWS rows.
        schema: EVENTS, or EVENTS_WITH_NORMS.
    """

    def __init__(
        self,
        num_rows: int,
        parts: Callable[[], Iterator[pa.Table]],
        schema: pa.Schema = EVENTS,
    ) -> None:
        self.num_rows = num_rows
        self.schema = schema
        self._parts = parts

    def __iter__(self) -> Iterator[pa.Table]:
        return self._parts()

    def table(self) -> pa.Table:
        """Return all of them as one table."""
        return pa.concat_tables([self.schema.empty_table(), *self])

    @classmethod
    def of(cls, table: pa.Table) -> "Events":
        """Return the events of a table that is in that order."""
        return cls(table.num_rows, lambda: parts_of(table), _schema_of(table))

    @classmethod
    def in_file(cls, path: Place) -> "Events":
        """Return the events of one of the lake's files.

        Raises:
            BrokenLaw: the file is missing, damaged, or has another schema; while iterating, a part
                of it is damaged.
        """

        def parts() -> Iterator[pa.Table]:
            with open_table(path, EVENTS_WITH_NORMS) as file:
                for row_group in range(file.num_row_groups):
                    rows = file.read_row_group(row_group)
                    yield from parts_of(rows.cast(_schema_of(rows)))

        with open_table(path, EVENTS_WITH_NORMS) as file:
            return cls(file.metadata.num_rows, parts, _schema_of(file.schema_arrow.empty_table()))


def _schema_of(table: pa.Table) -> pa.Schema:
    return EVENTS_WITH_NORMS if OUTPUT_NORMS in table.column_names else EVENTS


def parts_of(table: pa.Table) -> Iterator[pa.Table]:
    """Yield the parts of a table in which the events of a layer follow one another."""
    start = 0
    for end in pc.run_end_encode(table["layer"].combine_chunks()).run_ends.to_pylist():
        for first in range(start, end, PART_ROWS):
            yield table.slice(first, min(PART_ROWS, end - first))
        start = end


def write_events(path: Place, parts: Iterable[pa.Table], schema: pa.Schema = EVENTS) -> Content:
    """Write events, each part as a row group; nothing stays on disk if a part raises an error.

    Returns:
        What was written, whichever file lies at `path` since.
    """
    norms = {f"{OUTPUT_NORMS}.list.element": "BYTE_STREAM_SPLIT"}
    encoding = WRITING["column_encoding"] | (norms if OUTPUT_NORMS in schema.names else {})

    def write(temporary: Path) -> Content:
        with pq.ParquetWriter(
            temporary, schema, **WRITING | {"column_encoding": encoding}
        ) as writer:
            for part in parts:
                writer.write_table(_rounded(part.cast(schema)), row_group_size=PART_ROWS)
        return Content.of(temporary)

    return storage_of(path).publish(path, write)


def _rounded(part: pa.Table) -> pa.Table:
    """Return events whose weights are float16 values."""
    flat = pc.list_flatten(part["weights"]).combine_chunks().view(pa.uint32())
    if not pc.max(pc.bit_wise_and(flat, pa.scalar(BEYOND_FLOAT16, pa.uint32()))).as_py():
        return part
    # rounding takes longer than to see that it was done
    wide = EVENTS.field("weights").type
    weights = part["weights"].cast(NARROWER["weights"]).cast(wide)
    return part.set_column(part.column_names.index("weights"), "weights", weights)
