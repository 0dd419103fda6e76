"""Delimited text as Arrow reads it: every cell as text; the first line shows the delimiter."""

import codecs
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from gatehouse.warehouse.contents.marked import NO_UTF8, Marked, as_it_was
from gatehouse.warehouse.contents.opened import Contents
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import counted, quoted

DELIMITERS = ",\t;|"
BLOCK_BYTES = 1 << 25
"""A row must fit in a block: the longest text that a cell can hold."""

NAMED_DELIMITER = re.compile(rb"sep=([,;|\t])")


class BrokenRow(NamedTuple):
    """A row with too many or too few cells, or one that a quote opens and nothing closes."""

    problem: str
    """The line that it begins in, and what is wrong there."""


def open_delimited(contents: Contents) -> "Delimited | None":
    """Open delimited text, None for an empty file.

    Cells may hold line ends, in quotes. Bytes that are not UTF-8 are not looked at: whoever takes
    a cell checks it.

    Raises:
        GatehouseError: it cannot be read so, as where a row is longer than a block; further errors
            of the kind while rows are read.
    """
    if not contents.head.removeprefix(codecs.BOM_UTF8).strip():
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
    """How a text is to be read: lines above the header, delimiter, who takes uneven rows."""

    above: int
    delimiter: str
    take: Callable[[pa_csv.InvalidRow], str]

    def names(self, head: bytes) -> list[str]:
        """Return the names of the columns, which may hold line ends."""
        return list(replace(self, take=lambda row: "skip").open(Marked(BytesIO(head))).schema.names)

    def open(
        self, source: Marked, column_types: dict[str, pa.DataType] | None = None
    ) -> pa_csv.CSVStreamingReader:
        return pa_csv.open_csv(
            pa.PythonFile(source, mode="r"),
            pa_csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, skip_rows=self.above),
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

    It gives batches of rows and, in their places between these, broken rows; it is read once.
    Blank lines, and rows of empty cells only, are passed over.
    """

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._uneven: deque[_SetAside] = deque()
        form = _Form(*_beginning(contents.head), self._set_aside)
        # the header is no row, but is numbered as one
        self._next_row = form.above + 2
        self._source = Marked(contents.stream)
        try:
            # each cell is read as text, whatever it looks like
            texts = dict.fromkeys(form.names(contents.head), pa.string())
            self._reader = form.open(self._source, texts)
            self.schema = self._reader.schema
            self._lines_within_cells = sum(name.count("\n") for name in self.schema.names)
        except (OSError, pa.ArrowException) as error:
            raise _not_delimited(contents, error) from error
        if any(NO_UTF8 in name for name in self.schema.names):
            raise _not_delimited(contents, "the names of its columns are not")

    def __iter__(self) -> Iterator[pa.RecordBatch | BrokenRow]:
        for batch, is_last in self._batches():
            while self._uneven and self._uneven[0].number - self._next_row <= batch.num_rows:
                even = batch.slice(0, self._uneven[0].number - self._next_row)
                yield self._passed(even)
                batch = batch.slice(even.num_rows)
                yield self._next_uneven()
            if is_last and self._is_open(batch):
                yield self._passed(batch.slice(0, batch.num_rows - 1))
                line = self._next_row + self._lines_within_cells
                yield BrokenRow(f"line {line} opens a quote that nothing closes")
            else:
                yield self._passed(batch)
        while self._uneven:
            yield self._next_uneven()

    def _batches(self) -> Iterator[tuple[pa.RecordBatch, bool]]:
        """Yield each batch, and whether it is the last one with rows."""
        last = None
        try:
            for batch in self._reader:
                if batch.num_rows:
                    if last is not None:
                        yield last, False
                    last = batch
        except (OSError, pa.ArrowException) as error:
            raise _not_delimited(self._contents, error) from error
        if last is not None:
            yield last, True

    def _is_open(self, batch: pa.RecordBatch) -> bool:
        """Return whether the last cell of all began with a quote and ended with the file.

        A cell with a line end is in quotes. Arrow takes it all the same, up to its last byte.
        """
        if not batch.num_rows:
            return False
        cell = batch.column(batch.num_columns - 1)[-1].as_buffer()
        closed = self._source.end.rstrip().endswith(b'"')
        return not closed and cell is not None and b"\n" in cell.to_pybytes()

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
        batch = batch if pc.all(holding).as_py() else batch.filter(holding)
        return batch if self._source.is_utf8 else as_it_was(batch)

    def _next_uneven(self) -> BrokenRow:
        row = self._uneven.popleft()
        self._next_row += 1
        line = row.number + self._lines_within_cells
        self._lines_within_cells += row.lines_within_cells
        cells, columns = counted(row.cells, "cell"), counted(row.columns, "column")
        return BrokenRow(f"line {line} has {cells}, and the header names {columns}")


def _beginning(head: bytes) -> tuple[int, str]:
    """Return how many lines are above the header, and the delimiter.

    The header is the first line that is not blank, but for one in which Excel names the delimiter.
    A delimiter that is not named is the most frequent one in the header, a comma where it has none.
    """
    lines = enumerate(head.removeprefix(codecs.BOM_UTF8).splitlines())
    above, header = next(found for found in lines if found[1].strip())
    if named := NAMED_DELIMITER.fullmatch(header):
        above = next((place for place, line in lines if line.strip()), above)
        return above, named[1].decode()
    outside = "".join(header.decode("utf-8", "replace").split('"')[::2])
    return above, max(DELIMITERS, key=lambda each: (outside.count(each), -DELIMITERS.index(each)))


def _not_delimited(contents: Contents, error: object) -> GatehouseError:
    shown = quoted(error) or "unreadable"
    return GatehouseError(
        f"{contents.where} is not readable CSV in UTF-8 ({shown}): write it again"
    )
