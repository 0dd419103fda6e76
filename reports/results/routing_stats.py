"""Per-token routing statistics as files: written for a run, read and checked from anywhere."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from gatehouse.reports.verdict.usable import NEEDED, Excluded, usable_rows
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import write_atomically
from gatehouse.warehouse.spreadsheets import guarded

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
QUOTED_CHARACTERS = 120
MISSING_IN_CSV = ("", "NA", "NULL", "null", "None")


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
            formula (`warehouse.spreadsheets`).

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
        path: a .parquet or .csv file with at least the columns of NEEDED.
        layer: index among the MoE layers, for a file with a `layer` column.

    Raises:
        GatehouseError: the file is not what its name says, lacks a column, has one of the wrong
            type, lacks the layer, repeats a token, or has fewer than 3 usable rows.
    """
    table, names = _read(path)
    unclear = [name for name in NEEDED if names.count(name) != 1]
    if unclear:
        raise GatehouseError(
            f"{path} lacks or repeats the column {', '.join(unclear)}: "
            "`gatehouse run` writes files that have each once"
        )
    if table.num_rows == 0:
        raise GatehouseError(f"{path} has no rows: capture a text with at least 3 distinct tokens")
    known = [name for name in ("layer", *STATISTICS.names) if names.count(name) == 1]
    frame = pd.DataFrame({name: _column(table, name, path) for name in known})
    frame, layer = _one_layer(frame, layer, path)
    usable, excluded = usable_rows(frame, str(path))
    repeated = int(usable["token_id"].duplicated().sum())
    if repeated:
        raise GatehouseError(
            f"{path} has {repeated:,} token ids more than once: "
            "give one row per token, or a `layer` column"
        )
    return Table(usable, excluded, layer)


def _read(path: Path) -> tuple[pa.Table, list[str]]:
    """Read the file as Arrow, by its suffix; return it with the names of its columns."""
    if path.suffix not in (".parquet", ".csv"):
        raise GatehouseError(f"{path} is neither .parquet nor .csv: name a file of either kind")
    if not path.is_file():
        raise GatehouseError(f"there is no file {path}: check the name given to --input")
    try:
        if path.suffix == ".parquet":
            # partitioning=None: a folder named key=value must not add a column
            table = pq.read_table(path, partitioning=None)
        else:
            # numbers come as text first, so that one bad cell is an error about its column
            header = pa_csv.open_csv(path, parse_options=_csv_dialect()).schema.names
            text = pa_csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()))
            table = pa_csv.read_csv(path, parse_options=_csv_dialect(), convert_options=text)
        return table, table.column_names
    # column names that are not UTF-8 raise an error of Python's, not of Arrow's
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        kind = "Parquet" if path.suffix == ".parquet" else "CSV in UTF-8"
        reason = _quoted(error) or "unreadable"
        raise GatehouseError(f"{path} is not readable {kind} ({reason}): write it again") from error


def _quoted(words: object) -> str:
    """Return the first line of a library's message, without control characters from the file."""
    first = next(iter(str(words).splitlines()), "")[:QUOTED_CHARACTERS]
    return "".join(char if char.isprintable() else "\ufffd" for char in first)


def _csv_dialect() -> pa_csv.ParseOptions:
    # tokens may be line breaks
    return pa_csv.ParseOptions(newlines_in_values=True)


def _column(table: pa.Table, name: str, path: Path) -> pd.Series:
    """Return one column as text or float64; missing numbers are nan."""
    column = table[name]
    wanted = "text in UTF-8" if name == "token_str" else "numbers"
    try:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        textual = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        if name == "token_str":
            if not textual:
                raise pa.ArrowInvalid
            # nothing has checked the bytes so far
            column.validate(full=True)
            text = pc.fill_null(column, "")
            return text.to_pandas()
        if textual and path.suffix == ".csv":
            trimmed = pc.utf8_trim_whitespace(column)
            missing = pc.is_in(trimmed, pa.array(MISSING_IN_CSV))
            column = pc.if_else(missing, pa.scalar(None, pa.string()), trimmed)
        elif textual or not (_is_number(column.type) or pa.types.is_null(column.type)):
            raise pa.ArrowInvalid
        return column.cast(pa.float64()).to_pandas().astype("float64")
    except pa.ArrowException as error:
        raise GatehouseError(
            f"{path}: the column {name} is not {wanted} but {_quoted(table[name].type)}: "
            "write it with the types of `gatehouse run`"
        ) from error


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
