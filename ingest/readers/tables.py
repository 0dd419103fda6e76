"""Tables of texts: Parquet, Arrow files and streams, and delimited text, a row a document."""

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gatehouse.ingest.fields import Fields
from gatehouse.ingest.rows import Broken, Document, document_of, known_columns
from gatehouse.warehouse.contents.delimited import BrokenRow, open_delimited
from gatehouse.warehouse.contents.first_bytes import ARROW_STREAM, PARQUET
from gatehouse.warehouse.contents.opened import Contents
from gatehouse.warehouse.errors import GatehouseError

BATCH_ROWS = 256
NOT_UTF8 = "write the file again with UTF-8 text"
MEND_VALUE = "correct it, or write its column as text"
UNREADABLE = (OverflowError, LookupError)
"""What Arrow raises of a date beyond Python's calendar, and of a time zone that is none."""

MEND_ROW = "put cells that hold the delimiter in quotes, or mend the line"


def read_table(
    contents: Contents, name: str, domain: str, fields: Fields
) -> Iterator[Document | Broken]:
    """Yield the documents of a Parquet file, an Arrow file or an Arrow stream.

    Raises:
        GatehouseError: it is damaged, or a column is missing that is needed.
    """
    read = _arrow if contents.table not in (PARQUET, None) else _parquet
    kind = "Arrow" if read is _arrow else "Parquet" if contents.table else "Parquet or Arrow"
    try:
        batches = read(contents, fields)
        yield from _documents(batches, contents.where, name, domain, fields)
    # text that is cut out of its place raises an error of Python's own
    except (OSError, pa.ArrowException, SystemError) as error:
        raise GatehouseError(
            f"{contents.where} is damaged or not {kind}: write or copy it again"
        ) from error


def _parquet(contents: Contents, fields: Fields) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(contents.seekable(), pre_buffer=False) as file:
        columns = known_columns(contents.where, file.schema_arrow.names, fields)
        yield from file.iter_batches(batch_size=BATCH_ROWS, columns=columns)


def _arrow(contents: Contents, fields: Fields) -> Iterator[pa.RecordBatch]:
    if contents.table == ARROW_STREAM:
        with pa.ipc.open_stream(contents.stream) as stream:
            columns = known_columns(contents.where, stream.schema.names, fields)
            for batch in stream:
                yield from _slices(batch.select(columns))
        return
    with pa.ipc.open_file(contents.seekable()) as file:
        columns = known_columns(contents.where, file.schema.names, fields)
        for index in range(file.num_record_batches):
            yield from _slices(file.get_batch(index).select(columns))


def _slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    for start in range(0, batch.num_rows, BATCH_ROWS):
        yield batch.slice(start, BATCH_ROWS)


def read_delimited(
    contents: Contents, name: str, domain: str, fields: Fields
) -> Iterator[Document | Broken]:
    """Yield the documents of delimited text with the names of its columns in the first line.

    Raises:
        GatehouseError: the text is not delimited, or a column is missing that is needed.
    """
    reader = open_delimited(contents)
    if reader is None:
        return
    columns = known_columns(contents.where, reader.schema.names, fields)
    pieces = (
        piece
        for found in reader
        for piece in ([found] if isinstance(found, BrokenRow) else _slices(found.select(columns)))
    )
    yield from _documents(pieces, contents.where, name, domain, fields)


def _documents(
    pieces: Iterable[pa.RecordBatch | BrokenRow], place: str, name: str, domain: str, fields: Fields
) -> Iterator[Document | Broken]:
    for index, row in enumerate(row for piece in pieces for row in _rows(piece)):
        where = f"{place} row {index}"
        if isinstance(row, BrokenRow):
            yield Broken(f"{place} {row.problem}", MEND_ROW)
        elif isinstance(row, UnicodeDecodeError):
            yield Broken(f"{where} is not UTF-8", NOT_UTF8)
        elif isinstance(row, Exception):
            yield Broken(f"{where} holds a value that cannot be read ({row})", MEND_VALUE)
        else:
            yield document_of(row, where, f"{name}:{index}", domain, fields)


def _rows(
    batch: pa.RecordBatch | BrokenRow,
) -> Iterator[dict[str, Any] | BrokenRow | Exception]:
    """Yield the rows of a batch; a broken row as it is.

    A row whose text is not UTF-8, or with a value that Python has no room for, such as a date of
    the year 10000, is yielded as the error that says so.
    """
    if isinstance(batch, BrokenRow):
        yield batch
        return
    try:
        yield from batch.to_pylist()
    except (UnicodeDecodeError, *UNREADABLE):
        for index in range(batch.num_rows):
            yield _row(batch.slice(index, 1))


def _row(batch: pa.RecordBatch) -> dict[str, Any] | Exception:
    try:
        (row,) = batch.to_pylist()
    except (UnicodeDecodeError, *UNREADABLE) as error:
        return error
    return dict(row)
