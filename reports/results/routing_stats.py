"""Per-token routing statistics as files: written for a run, read and checked from anywhere."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from gatehouse.reports.verdict.usable import NEEDED, Excluded, usable_rows
from gatehouse.warehouse.contents.delimited import BrokenRow, open_delimited
from gatehouse.warehouse.contents.first_bytes import ARROW_FILE, ARROW_STREAM, NO_TEXT
from gatehouse.warehouse.contents.names import unpacked_name
from gatehouse.warehouse.contents.opened import Contents, opened
from gatehouse.warehouse.contents.spreadsheets import guarded
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import write_atomically
from gatehouse.warehouse.plain_text import quoted

STATISTICS = pa.schema(
    [
        ("token_id", pa.int32()),
        ("token_str", pa.string()),
        ("frequency", pa.int64()),
        ("mean_entropy", pa.float64()),
        ("std_entropy", pa.float64()),
        ("mean_confidence", pa.float64()),
        ("std_confidence", pa.float64()),
        ("routing_consistency", pa.float64()),
        ("top_expert", pa.int32()),
        ("min_entropy", pa.float64()),
        ("max_entropy", pa.float64()),
    ]
)
"""One row per token, the most frequent first: frequency in occurrences, entropy in nats,
standard deviations null for a token seen once."""

LAYER = pa.field("layer", pa.int16())
MISSING_IN_CSV = ("", "NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NULL", "null", "None")
"""Cells without a number, as other programs write them; nan and NaN are numbers."""
DELIMITED = (".csv", ".tsv")
READABLE = (*DELIMITED, ".parquet", ".arrow", ".feather")


@dataclass(frozen=True)
class Table:
    """The usable rows of a file, the most frequent token first, and the excluded ones.

    `layer` is the index among the MoE layers, None where the file does not say.
    """

    frame: pd.DataFrame
    excluded: Excluded
    layer: int | None


def write_statistics(
    frame: pd.DataFrame, target: Path, *, spreadsheet_safe: bool = False
) -> tuple[Path, Path]:
    """Write the table as Parquet and CSV, each whole or not at all; return both paths.

    Args:
        frame: the columns of STATISTICS, with or without a leading `layer`.
        target: a folder, or the file's own name ending in .parquet or .csv (both are written).
        spreadsheet_safe: in the CSV, put a `'` before tokens that a spreadsheet would take for a
            formula (`warehouse.contents.spreadsheets`).

    Raises:
        GatehouseError: the folder is not writable.
    """
    named = target.suffix in (".parquet", ".csv")
    parquet = target.with_suffix(".parquet") if named else target / "routing_stats.parquet"
    fields = [LAYER, *STATISTICS] if "layer" in frame.columns else list(STATISTICS)
    table = pa.Table.from_pandas(frame, schema=pa.schema(fields), preserve_index=False)
    table = table.replace_schema_metadata(None)
    text = parquet.with_suffix(".csv")
    write_atomically(parquet, lambda path: pq.write_table(table, path, compression="zstd"))
    if spreadsheet_safe:
        place = table.column_names.index("token_str")
        table = table.set_column(place, "token_str", guarded(table["token_str"]))
    write_atomically(text, lambda path: pa_csv.write_csv(table, path))
    return parquet, text


def read_statistics(path: Path, layer: int | None = None) -> Table:
    """Read routing statistics made by this or another program.

    Args:
        path: a .parquet, .arrow, .csv or .tsv file, packed or not, with the columns of NEEDED.
        layer: index among the MoE layers, for a file with a `layer` column.

    Raises:
        GatehouseError: the file is not what its name says, lacks a column, has one of the wrong
            type, lacks the layer, repeats a token, or has fewer than 3 usable rows.
    """
    table, from_text = _read(path)
    names = table.column_names
    unclear = [name for name in NEEDED if names.count(name) != 1]
    if unclear:
        raise GatehouseError(
            f"{path} lacks or repeats the column {', '.join(unclear)}: "
            "`gatehouse run` writes files that have each once"
        )
    if table.num_rows == 0:
        raise GatehouseError(f"{path} has no rows: capture a text with at least 3 distinct tokens")
    known = [name for name in ("layer", *STATISTICS.names) if names.count(name) == 1]
    frame = pd.DataFrame({name: _column(table, name, path, from_text) for name in known})
    frame, layer = _one_layer(frame, layer, path)
    usable, excluded = usable_rows(frame, str(path))
    repeated = int(usable["token_id"].duplicated().sum())
    if repeated:
        raise GatehouseError(
            f"{path} has {repeated:,} token ids more than once: "
            "give one row per token, or a `layer` column"
        )
    return Table(usable, excluded, layer)


def _read(path: Path) -> tuple[pa.Table, bool]:
    """Read the file as Arrow, by its first bytes and name; return whether every cell is text."""
    if not path.is_file():
        folder = ", it is a folder: name a file in it" if path.is_dir() else ""
        way_out = folder or ": check the name given to --input"
        raise GatehouseError(f"there is no file {path}{way_out}")
    with opened(path) as contents:
        if contents.unreadable and contents.unreadable != NO_TEXT:
            what, remedy = contents.unreadable
            raise GatehouseError(f"{path} is {what}: {remedy}")
        suffix = next((end for end in READABLE if unpacked_name(path).lower().endswith(end)), None)
        if contents.table is None and suffix is None:
            raise GatehouseError(
                f"{path} is neither .parquet, .arrow, .csv nor .tsv: name a file of these kinds"
            )
        if contents.table is None and suffix in DELIMITED:
            return _read_text(contents), True
        return _read_table(contents), False


def _read_text(contents: Contents) -> pa.Table:
    # numbers come as text first, so that one bad cell is an error about its row
    reader = open_delimited(contents)
    if reader is None:
        raise GatehouseError(
            f"{contents.where} is empty, not readable CSV in UTF-8: write it again"
        )
    batches = []
    for found in reader:
        if isinstance(found, BrokenRow):
            raise GatehouseError(f"{contents.where} {found.problem}: mend the line")
        batches.append(found)
    table = pa.Table.from_batches(batches, reader.schema)
    try:
        for column in table.columns:
            column.validate(full=True)
    except pa.ArrowException as error:
        raise GatehouseError(
            f"{contents.where} is not readable CSV in UTF-8 ({quoted(error)}): write it again"
        ) from error
    return table


def _read_table(contents: Contents) -> pa.Table:
    try:
        if contents.table == ARROW_STREAM:
            with pa.ipc.open_stream(contents.stream) as stream:
                return stream.read_all()
        if contents.table == ARROW_FILE:
            with pa.ipc.open_file(contents.seekable()) as file:
                return file.read_all()
        # partitioning=None: a folder named key=value must not add a column
        table = pq.read_table(contents.seekable(), partitioning=None)
        _ = table.column_names
        return table
    # column names that are not UTF-8 raise an error of Python's, not of Arrow's
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        reason = quoted(error) or "unreadable"
        raise GatehouseError(
            f"{contents.where} is not readable Parquet ({reason}): write it again"
        ) from error


def _column(table: pa.Table, name: str, path: Path, from_text: bool) -> pd.Series:
    """Return one column as text or float64; missing numbers are nan."""
    column = table[name]
    wanted = "text in UTF-8" if name == "token_str" else "numbers"
    try:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_string_view(column.type):
            column = column.cast(pa.large_string())
        textual = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        if name == "token_str":
            if not textual:
                raise pa.ArrowInvalid
            # nothing has checked the bytes so far
            column.validate(full=True)
            text = pc.fill_null(column, "")
            return text.to_pandas()
        if from_text:
            column = _numbers(column, name, path)
        elif textual or not (_is_number(column.type) or pa.types.is_null(column.type)):
            raise pa.ArrowInvalid
        return column.cast(pa.float64()).to_pandas().astype("float64")
    except pa.ArrowException as error:
        raise GatehouseError(
            f"{path}: the column {name} is not {wanted} but {quoted(table[name].type)}: "
            "write it with the types of `gatehouse run`"
        ) from error


def _numbers(column: pa.ChunkedArray, name: str, path: Path) -> pa.ChunkedArray:
    """Return cells of text as numbers, null where one says that it has none.

    Raises:
        GatehouseError: a cell is something else; the message names its row.
    """
    trimmed = pc.utf8_trim_whitespace(column)
    missing = pc.is_in(trimmed, pa.array(MISSING_IN_CSV))
    column = pc.if_else(missing, pa.scalar(None, pa.string()), trimmed)
    try:
        return column.cast(pa.float64())
    except pa.ArrowInvalid:
        row, cell = next(each for each in enumerate(column.to_pylist()) if not _is_numeral(each[1]))
        raise GatehouseError(
            f"{path}: the column {name} is not numbers but has {quoted(repr(cell))} in row {row}: "
            "write numbers with a point and no other separator, and leave a missing one empty"
        ) from None


def _is_numeral(cell: str | None) -> bool:
    try:
        pa.scalar(cell, pa.string()).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _one_layer(
    frame: pd.DataFrame, layer: int | None, path: Path
) -> tuple[pd.DataFrame, int | None]:
    """Reduce a table of several layers to the one asked for, without its `layer` column."""
    if "layer" not in frame.columns:
        if layer is not None:
            raise GatehouseError(f"{path} has no column `layer`: leave --layer out")
        return frame, None
    if not (frame["layer"] % 1 == 0).all():
        raise GatehouseError(f"{path} has rows whose layer is not a whole number: correct them")
    layers = sorted(int(value) for value in frame["layer"].unique())
    found = ", ".join(map(str, layers))
    if layer is None and len(layers) != 1:
        raise GatehouseError(f"{path} holds the layers {found}: choose one with --layer")
    chosen = layers[0] if layer is None else layer
    if chosen not in layers:
        raise GatehouseError(f"{path} has no layer {chosen}: it holds the layers {found}")
    return frame[frame["layer"] == chosen].drop(columns="layer"), chosen
