"""Delimited text as Arrow reads it: every cell as text; the first line shows the delimiter."""

import codecs
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from gatehouse.warehouse.contents.opened import Contents
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import counted, quoted

DELIMITERS = ",\t;|"
BLOCK_BYTES = 1 << 25
"""A row must fit in a block: the longest text that a cell can hold."""


class Uneven(NamedTuple):
    """A row with too many or too few cells: the line that it begins in, and how many there are."""

    line: int
    cells: int
    columns: int

    @property
    def problem(self) -> str:
        """Where it is in its file, and what is wrong with it."""
        cells, columns = counted(self.cells, "cell"), counted(self.columns, "column")
        return f"line {self.line} has {cells}, and its first line names {columns}"


def open_delimited(contents: Contents) -> "Delimited | None":
    """Open delimited text, None for an empty file.

    Cells may hold line ends, in quotes. Bytes that are not UTF-8 are not looked at: whoever takes
    a cell checks it.

    Raises:
        GatehouseError: it cannot be read so, as where a row is longer than a block; further errors
            of the kind while rows are read.
    """
    if not contents.head.strip():
        return None
    return Delimited(contents)


class _SetAside(NamedTuple):
    """What is kept of a row that Arrow leaves out, ahead of the rows before it."""

    number: int
    lines_within_cells: int
    cells: int
    columns: int


@dataclass(frozen=True)
class _Form:
    """How a text is to be read: lines before the header, delimiter, who takes uneven rows."""

    blank: int
    delimiter: str
    take: Callable[[pa_csv.InvalidRow], str]

    def names(self, head: bytes) -> list[str]:
        """Return the names of the columns, which may hold line ends."""
        return list(replace(self, take=lambda row: "skip").open(pa.BufferReader(head)).schema.names)

    def open(
        self, source: Any, column_types: dict[str, pa.DataType] | None = None
    ) -> pa_csv.CSVStreamingReader:
        return pa_csv.open_csv(
            source,
            pa_csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, skip_rows=self.blank),
            pa_csv.ParseOptions(
                delimiter=self.delimiter,
                newlines_in_values=True,
                ignore_empty_lines=False,  # so that a row's number leads to its line
                invalid_row_handler=self.take,
            ),
            pa_csv.ConvertOptions(check_utf8=False, column_types=column_types),
        )


class Delimited:
    """Rows of delimited text: `schema` has the names of their cells, all of which are text.

    It gives batches of rows and, in their places between these, `Uneven` rows; it is read once.
    Blank lines, and rows of empty cells only, are passed over.
    """

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._uneven: deque[_SetAside] = deque()
        blank, first = _first_line(contents.head)
        # the header is no row, but is numbered as one
        self._next_row = blank + 2
        form = _Form(blank, _delimiter(first), self._set_aside)
        try:
            # each cell is read as text, whatever it looks like
            texts = dict.fromkeys(form.names(contents.head), pa.string())
            self._reader = form.open(pa.PythonFile(contents.stream, mode="r"), texts)
            self.schema = self._reader.schema
            self._lines_within_cells = sum(name.count("\n") for name in self.schema.names)
        # column names that are not UTF-8 raise an error of Python's, not of Arrow's
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            raise _not_delimited(contents, error) from error

    def __iter__(self) -> Iterator[pa.RecordBatch | Uneven]:
        for batch in self._batches():
            while self._uneven and self._uneven[0].number - self._next_row <= batch.num_rows:
                even = batch.slice(0, self._uneven[0].number - self._next_row)
                yield self._passed(even)
                batch = batch.slice(even.num_rows)
                yield self._next_uneven()
            yield self._passed(batch)
        while self._uneven:
            yield self._next_uneven()

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._reader
        except (OSError, pa.ArrowException) as error:
            raise _not_delimited(self._contents, error) from error

    def _set_aside(self, row: pa_csv.InvalidRow) -> str:
        within = row.text.count("\n")
        self._uneven.append(_SetAside(row.number, within, row.actual_columns, row.expected_columns))
        return "skip"

    def _passed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Count the rows of a batch and their lines, and return those that hold something."""
        self._next_row += batch.num_rows
        holding = pa.array([False] * batch.num_rows, pa.bool_())
        for column in batch.columns:
            within = pc.sum(pc.count_substring(column, "\n")).as_py()
            self._lines_within_cells += within or 0
            holding = pc.or_(holding, pc.greater(pc.binary_length(column), 0))
        return batch if pc.all(holding).as_py() else batch.filter(holding)

    def _next_uneven(self) -> Uneven:
        row = self._uneven.popleft()
        self._next_row += 1
        line = row.number + self._lines_within_cells
        self._lines_within_cells += row.lines_within_cells
        return Uneven(line, row.cells, row.columns)


def _first_line(head: bytes) -> tuple[int, bytes]:
    """Return the first line that is not blank, and how many blank ones are before it."""
    lines = head.removeprefix(codecs.BOM_UTF8).splitlines()
    return next((place, line) for place, line in enumerate(lines) if line.strip())


def _delimiter(first: bytes) -> str:
    """Return the delimiter that is most frequent in the first line, a comma where there is none."""
    outside = "".join(first.decode("utf-8", "replace").split('"')[::2])
    return max(DELIMITERS, key=lambda each: (outside.count(each), -DELIMITERS.index(each)))


def _not_delimited(contents: Contents, error: Exception) -> GatehouseError:
    shown = quoted(error) or "unreadable"
    return GatehouseError(
        f"{contents.where} is not readable CSV in UTF-8 ({shown}): write it again"
    )
