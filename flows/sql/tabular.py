"""A query's result as a table, CSV, JSON, Parquet or Markdown; all but the table stream."""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from gatehouse.flows.console import (
    answer,
    answer_data,
    json_that_can_be_printed,
    print_every_character,
    working,
)
from gatehouse.warehouse.connect import errors_in_one_line, interruptible, query, statements
from gatehouse.warehouse.contents import spreadsheets
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import write_atomically
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.plain_text import printable
from gatehouse.warehouse.reserved import check_output

SUFFIXES = {".csv": "csv", ".json": "json", ".parquet": "parquet", ".md": "markdown"}
CSV_FOR_SPREADSHEETS = "csv for spreadsheets"
TABLE_ROWS = 1_000
TEXT_ROWS = 10_000
ROW_GROUP_ROWS = 122_880
NUMBERS = set(
    "tinyint smallint integer bigint hugeint utinyint usmallint uinteger ubigint uhugeint "
    "decimal float double".split()
)
"""Types of numbers, by DuckDB's names."""

WRITTEN_BY_ARROW = NUMBERS | {"boolean", "date", "null"}
"""Types that Arrow writes to CSV; all others are written as DuckDB's own text."""

TIMESTAMPS = {"timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns"}
TIMESTAMPS |= {"timestamp with time zone"}
NEVER_A_FORMULA = TIMESTAMPS | {"interval"}

ISO_8601 = r"regexp_replace(replace(cast(#{0} as varchar), ' ', 'T'), '([+-]\d\d)$', '\1:00')"
"""DuckDB's text of a timestamp with the T, and with the minutes of its offset."""

NOT_IN_PARQUET = {"interval", "bit", "bignum", "union", "variant"}
MARKDOWN_ESCAPED = re.compile(r"[\\`*|<~&$]|(?<![^\W_])_|_(?![^\W_])|](?=\()")


running = partial(working, "running the query")
"""A sign of life until a result begins to come."""


def chosen_format(name: str | None, output: Path | None, *, spreadsheet_safe: bool = False) -> str:
    """Return the format that is named, or that the file's suffix names; with neither, table.

    Args:
        name: one of the formats.
        output: the file to write.
        spreadsheet_safe: the format is CSV, and the result of this is CSV for a spreadsheet.

    Raises:
        GatehouseError: no format for a file is named, Parquet without a file, or another format
            than CSV for a spreadsheet.
    """
    found = _format(name, output)
    if not spreadsheet_safe:
        return found
    if found != "csv":
        raise GatehouseError("--spreadsheet-safe is for CSV: add --format csv")
    return CSV_FOR_SPREADSHEETS


def _format(name: str | None, output: Path | None) -> str:
    if output is None:
        if name == "parquet":
            raise GatehouseError("--format parquet needs a file: add --output FILE.parquet")
        return name or "table"
    found = name or SUFFIXES.get(output.suffix.lower())
    if found in (None, "table"):
        raise GatehouseError(
            f"no format for {output}: name it {', '.join(SUFFIXES)}, or add --format csv, json, "
            "parquet or markdown"
        )
    return str(found)


def checked_output(output: Path, paths: Paths) -> Path:
    """Return the file to write, links resolved.

    Raises:
        GatehouseError: it is a folder or a device, its folder is missing or read-only, or it is
            the warehouse's own.
    """
    target = output.expanduser().resolve()
    check_output(output.expanduser(), paths)
    if target.is_dir():
        raise GatehouseError(f"{output} is not a file: name one")
    if not target.parent.is_dir():
        raise GatehouseError(f"there is no folder {target.parent}: make it, or name another file")
    if not os.access(target.parent, os.W_OK):
        raise GatehouseError(f"{target.parent} is not writable: name another file")
    return target


def show(relation: duckdb.DuckDBPyRelation, form: str) -> None:
    """Print a result on standard output; a table has at most 1,000 rows, and says if it had more.

    Raises:
        GatehouseError: the query fails while it runs.
    """
    try:
        if form == "table":
            # as wide as the terminal, or in a file as wide as it needs
            wide = shutil.get_terminal_size().columns if os.isatty(1) else 100_000
            with running(), errors_in_one_line(), redirect_stdout(StringIO()) as table:
                relation.show(max_rows=TABLE_ROWS, max_width=wide)
            answer(table.getvalue())
        else:
            if form in ("csv", CSV_FOR_SPREADSHEETS):
                print_every_character()
            for part in TEXTS[form](relation):
                answer_data(json_that_can_be_printed(part) if form == "json" else part)
        sys.stdout.flush()
    except BrokenPipeError:
        # `| head` has read enough; what Python still wants to print has to go somewhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show_each(connection: duckdb.DuckDBPyConnection, text: str, form: str) -> None:
    """Print the result of each statement of a text; Ctrl-C stops the one that is running.

    Raises:
        GatehouseError: a statement is not valid, or fails; results before it are printed.
    """
    for statement in statements(connection, text):
        with interruptible(connection):
            show(query(connection, statement), form)


def write(relation: duckdb.DuckDBPyRelation, form: str, target: Path) -> None:
    """Write a result to a file, whole or not at all.

    Raises:
        GatehouseError: the query fails while it runs, or the file cannot be written.
    """
    if form == "parquet":
        write_atomically(target, lambda temporary: _write_parquet(relation, temporary))
        return

    def write_text(temporary: Path) -> None:
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            file.writelines(TEXTS[form](relation))

    write_atomically(target, write_text)


def _write_parquet(relation: duckdb.DuckDBPyRelation, temporary: Path) -> None:
    columns = [
        f"cast(#{number} as varchar)" if kind.id in NOT_IN_PARQUET else f"#{number}"
        for number, kind in enumerate(relation.types, start=1)
    ]
    batches = _batches(_projected(relation, columns), ROW_GROUP_ROWS)
    first = next(batches)
    with pq.ParquetWriter(temporary, first.schema, compression="zstd") as writer:
        writer.write_batch(first)
        for batch in batches:
            writer.write_batch(batch)


def _csv(
    relation: duckdb.DuckDBPyRelation, safe: Callable[[pa.Array], pa.Array] = lambda texts: texts
) -> Iterator[str]:
    """Yield CSV: strings in quotes, null as nothing, floats in the fewest digits that are exact.

    Text and names are written as `safe` returns them.
    """
    columns, texts = [], []
    for number, kind in enumerate(relation.types):
        as_it_is = kind.id in WRITTEN_BY_ARROW
        columns.append(f"#{number + 1}" if as_it_is else f"cast(#{number + 1} as varchar)")
        if not as_it_is and kind.id not in NEVER_A_FORMULA:
            texts.append(number)
    names = safe(pa.array(relation.columns, pa.string())).to_pylist()
    options = pa_csv.WriteOptions(include_header=True)
    for batch in _batches(_projected(relation, columns), TEXT_ROWS):
        cells = list(batch.columns)
        for number in texts:
            cells[number] = safe(cells[number])
        stream = pa.BufferOutputStream()
        pa_csv.write_csv(pa.RecordBatch.from_arrays(cells, names=names), stream, options)
        yield stream.getvalue().to_pybytes().decode()
        options = pa_csv.WriteOptions(include_header=False)


def _json(relation: duckdb.DuckDBPyRelation) -> Iterator[str]:
    """Yield one array of objects, one per line; NaN and infinities are null."""
    values = [
        ISO_8601.format(number) if kind.id in TIMESTAMPS else f"#{number}"
        for number, kind in enumerate(relation.types, start=1)
    ]
    names = [_quoted(name, "'") for name in relation.columns]
    fields = ", ".join(map(": ".join, zip(names, values, strict=True)))
    with errors_in_one_line():
        objects = relation.project(f"cast(to_json({{{fields}}}) as varchar) as object")
    separator = "[\n"
    for batch in _batches(objects, TEXT_ROWS):
        for text in batch[0].to_pylist():
            yield separator + _finite(text)
            separator = ",\n"
    yield "[]\n" if separator == "[\n" else "\n]\n"


def _finite(text: str) -> str:
    """Return an object as valid JSON: DuckDB writes NaN and Infinity as bare words."""
    if "NaN" in text or "Infinity" in text:
        return json.dumps(json.loads(text, parse_constant=lambda _: None), ensure_ascii=False)
    return text


def _markdown(relation: duckdb.DuckDBPyRelation) -> Iterator[str]:
    """Yield a GitHub table, numbers to the right; marks and line ends in values are escaped."""
    columns = [f"cast(#{number} as varchar)" for number in range(1, len(relation.types) + 1)]
    sides = ["---:" if kind.id in NUMBERS else "---" for kind in relation.types]
    yield _markdown_row(relation.columns) + _markdown_line(sides)
    for batch in _batches(_projected(relation, columns), TEXT_ROWS):
        yield "".join(
            _markdown_row(row)
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
        )


def _markdown_row(values: Iterable[str | None]) -> str:
    escaped = (MARKDOWN_ESCAPED.sub(r"\\\g<0>", value or "") for value in values)
    return _markdown_line(map(printable, escaped))


def _markdown_line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _projected(relation: duckdb.DuckDBPyRelation, columns: list[str]) -> duckdb.DuckDBPyRelation:
    """Return the relation with these expressions under its own columns' names."""
    names = [_quoted(name, '"') for name in relation.columns]
    with errors_in_one_line():
        return relation.project(", ".join(map(" as ".join, zip(columns, names, strict=True))))


def _quoted(name: str, mark: str) -> str:
    return mark + name.replace(mark, 2 * mark) + mark


def _batches(relation: duckdb.DuckDBPyRelation, rows: int) -> Iterator[pa.RecordBatch]:
    """Yield a result in batches as DuckDB makes them, at least one; never all of it in memory."""
    with running(), errors_in_one_line():
        reader = relation.to_arrow_reader(rows)
        batch = next(reader, None)
    try:
        yield pa.RecordBatch.from_pylist([], schema=reader.schema)
        while batch is not None:
            yield batch
            with errors_in_one_line():
                batch = next(reader, None)
    finally:
        # until then the connection takes no other query
        reader.close()


TEXTS: dict[str, Callable[[duckdb.DuckDBPyRelation], Iterator[str]]] = {
    "csv": _csv,
    CSV_FOR_SPREADSHEETS: partial(_csv, safe=spreadsheets.guarded),
    "json": _json,
    "markdown": _markdown,
}
