"""Delimited text as Arrow reads it: every cell as text; the first line shows the delimiter."""

from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from gatehouse.warehouse.contents.opened import Contents
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import quoted

DELIMITERS = ",\t;|"
BLOCK_BYTES = 1 << 25
"""A row must fit in a block: the longest text that a cell can hold."""


def open_delimited(contents: Contents) -> Any:
    """Return a reader of record batches of strings, None for an empty file.

    Cells may hold line ends, in quotes. Bytes that are not UTF-8 are not looked at: whoever takes
    a cell checks it.

    Raises:
        GatehouseError: it cannot be read so, as where a row has too many or too few cells; further
            errors of the kind while batches are read.
    """
    if not contents.head.strip():
        return None
    try:
        reader = pa_csv.open_csv(
            pa.PythonFile(contents.stream, mode="r"),
            read_options=pa_csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
            parse_options=_dialect(contents),
            convert_options=pa_csv.ConvertOptions(
                check_utf8=False, column_types=dict.fromkeys(_header(contents), pa.string())
            ),
        )
        return _Batches(reader, contents)
    # column names that are not UTF-8 raise an error of Python's, not of Arrow's
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise _not_delimited(contents, error) from error


class _Batches:
    """The batches of a reader, whose errors name the file."""

    def __init__(self, reader: pa_csv.CSVStreamingReader, contents: Contents) -> None:
        self.schema = reader.schema
        self._reader, self._contents = reader, contents

    def __iter__(self) -> "_Batches":
        return self

    def __next__(self) -> pa.RecordBatch:
        try:
            return self._reader.read_next_batch()
        except (OSError, pa.ArrowException) as error:
            raise _not_delimited(self._contents, error) from error


def _dialect(contents: Contents) -> pa_csv.ParseOptions:
    return pa_csv.ParseOptions(delimiter=_delimiter(contents.head), newlines_in_values=True)


def _header(contents: Contents) -> list[str]:
    """Return the names of the columns: each is to be read as text, whatever its cells look like."""
    first = next(line for line in contents.head.splitlines() if line.strip())
    parsed = pa_csv.read_csv(pa.BufferReader(first + b"\n"), parse_options=_dialect(contents))
    return list(parsed.column_names)


def _delimiter(head: bytes) -> str:
    """Return the delimiter that is most frequent in the first line, a comma where there is none."""
    first = next((line for line in head.splitlines() if line.strip()), b"").decode(
        "utf-8", "replace"
    )
    outside = "".join(first.split('"')[::2])
    return max(DELIMITERS, key=lambda each: (outside.count(each), -DELIMITERS.index(each)))


def _not_delimited(contents: Contents, error: Exception) -> GatehouseError:
    shown = quoted(error) or "unreadable"
    return GatehouseError(
        f"{contents.where} is not readable CSV in UTF-8 ({shown}): write it again"
    )
