"""What the files of earlier lakes lack, and what stands for it: nothing is written anew."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gatehouse.warehouse.records import (
    CAPTURE,
    CAPTURED,
    EVENTS_WITH_NORMS,
    LAYERS,
    OUTPUT_NORMS,
    RUNS,
    SAMPLES,
)

_OF_RUNS = {
    "lines": False,
    "document_field": None,
    "source": CAPTURE,
    "source_files": None,
    "has_token_ids": True,
    "generate": None,
    "temperature": None,
    "seed": None,
    "output_norms": None,
}
_OF_SAMPLES = {
    "document": None,
    "document_sha256": pc.field("text_sha256"),
    "prompt_tokens": pc.field("tokens"),
    "turns": None,
}

ADDED: list[tuple[pa.Schema, dict[str, Any]]] = [
    (RUNS, _OF_RUNS),
    (LAYERS, CAPTURED | {"expert_bytes": None}),
    (SAMPLES, _OF_SAMPLES),
    # only runs with norms have them, of any version
    (EVENTS_WITH_NORMS, {OUTPUT_NORMS: None}),
]
"""Columns that were added to a table since lake version 3, and the value, or the column of the same
table, that a file without them means. The macro `lake` of the dbt project says the same."""

NARROWER = {"weights": pa.list_(pa.float16())}
"""Types that columns had before lake version 6, with the same values; DuckDB reads both alike."""


def is_readable(found: pa.Schema, schema: pa.Schema) -> bool:
    """Return whether a file's columns are those of a table, or lack only what was added since."""
    added = _added(schema)
    wanted = [field for field in schema if field.name not in added or field.name in found.names]
    return found.names == [field.name for field in wanted] and all(
        there.type in (field.type, NARROWER.get(field.name, field.type))
        for there, field in zip(found, wanted, strict=True)
    )


def completed(found: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with all the columns of its schema; those that a file lacks are filled in."""
    if found.num_columns == len(schema):
        return found
    columns = {name: found[name] for name in found.column_names}
    for name, meaning in _added(schema).items():
        if name not in columns:
            if isinstance(meaning, pc.Expression):
                columns[name] = found[str(meaning)]
            else:
                field = schema.field(name)
                columns[name] = pa.array([meaning] * found.num_rows, field.type)
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def _added(schema: pa.Schema) -> dict[str, Any]:
    # a schema is not hashable by its fields
    return next((columns for table, columns in ADDED if table is schema), {})
