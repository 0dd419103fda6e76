"""Whatever is in a file given to --input, `validate` answers with a report or one line."""

import csv
import datetime
import decimal
import warnings

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.flows.console import bar
from gatehouse.reports.results.results import open_results
from gatehouse.reports.results.routing_stats import STATISTICS
from gatehouse.reports.results.selection import Selection
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths

ODD_NUMBERS = [None, float("nan"), float("inf"), -float("inf"), -1.0, 0.0, -0.0, 1e308, 1e-320, 0.5]
ODD_TEXTS = [
    "",
    " ",
    "\0",
    "a\nb",
    '"',
    ",",
    "=1+1",
    "nan",
    "😀",
    "\u202e",
    "e\u0301" * 50,
    "x" * 999,
]
ODD_INTEGERS = [None, -(2**63), -1, 0, 1, 2**31, 2**53 + 1, 2**63 - 1]

KINDS: dict[pa.DataType, st.SearchStrategy] = {
    pa.float64(): st.sampled_from(ODD_NUMBERS) | st.floats(),
    pa.float32(): st.sampled_from(ODD_NUMBERS[:6]),
    pa.float16(): st.sampled_from([0.5, 1.0, None]),
    pa.int64(): st.sampled_from(ODD_INTEGERS),
    pa.uint64(): st.sampled_from([None, 0, 1, 2**53 + 1, 2**64 - 1]),
    pa.int8(): st.integers(-128, 127),
    pa.bool_(): st.booleans() | st.none(),
    pa.null(): st.none(),
    pa.string(): st.sampled_from([*ODD_TEXTS, None, "1", " 2 ", "1e400", "0x10", "\u0661"]),
    pa.large_string(): st.sampled_from(ODD_TEXTS),
    pa.string_view(): st.sampled_from(ODD_TEXTS),
    pa.binary(): st.sampled_from([b"", b"\xff", None]),
    pa.decimal128(38, 3): st.sampled_from([decimal.Decimal("1.5"), None]),
    pa.decimal256(76, 0): st.sampled_from([decimal.Decimal(10) ** 75, None]),
    pa.timestamp("us"): st.just(datetime.datetime(2020, 1, 1)),
    pa.duration("us"): st.just(datetime.timedelta(1)),
    pa.date32(): st.just(datetime.date(2020, 1, 1)),
    pa.list_(pa.int64()): st.sampled_from([None, [], [1], [1, 2]]),
    pa.struct([("a", pa.int64())]): st.sampled_from([None, {"a": 1}]),
    pa.dictionary(pa.int32(), pa.string()): st.sampled_from([*ODD_TEXTS, None]),
    pa.dictionary(pa.int8(), pa.int64()): st.sampled_from([1, 2, None]),
    pa.dictionary(pa.int8(), pa.float64()): st.sampled_from([0.5, None]),
}


def plausible(name: str, rows: int) -> pa.Array:
    """A column that a lawful file could have."""
    kind = STATISTICS.field(name).type
    if name == "token_id":
        values = range(rows)
    elif name == "token_str":
        values = [f"token {row}" for row in range(rows)]
    elif name == "frequency":
        values = [1000 // (row + 1) + 1 for row in range(rows)]
    else:
        values = [1 if pa.types.is_integer(kind) else (row % 7 + 1) / 8 for row in range(rows)]
    return pa.array(values, kind)


@st.composite
def columns(draw, rows: int) -> pa.Array:
    kind = draw(st.sampled_from(list(KINDS)))
    return pa.array(draw(st.lists(KINDS[kind], min_size=rows, max_size=rows)), kind)


@st.composite
def tables(draw) -> pa.Table:
    """A lawful table, changed: values in a column, whole columns, their names, their number."""
    rows = draw(st.sampled_from([0, 1, 2, 3, 4, 12]))
    found = {name: plausible(name, rows) for name in STATISTICS.names}
    for name in draw(st.sets(st.sampled_from(STATISTICS.names), max_size=2)):
        found[name] = draw(columns(rows))
    for name in draw(st.sets(st.sampled_from(STATISTICS.names), max_size=1)):
        values, kind = found[name].to_pylist(), found[name].type
        if rows and kind in KINDS:
            values[draw(st.integers(0, rows - 1))] = draw(KINDS[kind])
            found[name] = pa.array(values, kind)
    names = list(found)
    arrays = list(found.values())
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(names) - 1))
        change = draw(st.sampled_from(["nothing", "drop", "rename", "double", "add", "layer"]))
        if change == "drop":
            del names[place], arrays[place]
        elif change == "rename":
            names[place] = draw(st.sampled_from([*ODD_TEXTS, "Frequency", *STATISTICS.names]))
        elif change in ("double", "add", "layer"):
            added = {"double": names[place], "layer": "layer"}.get(change)
            names.append(added if added is not None else draw(st.sampled_from(ODD_TEXTS)))
            arrays.append(draw(columns(rows)))
    return pa.table(arrays, names=names)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


def answered(path, layer=None) -> str:
    """What `validate` says about a file: a report, or one line that names the file."""
    selection = Selection(input=path, layer=layer)
    try:
        with warnings.catch_warnings():
            # an overflow would appear in the report as infinity
            warnings.simplefilter("error", RuntimeWarning)
            paths = Paths(path.parent)
            report = open_results(selection, paths, bar, every_layer=False).report_text
    except GatehouseError as error:
        line = str(error)
        assert line.isprintable() and str(path) in line and ": " in line
        return line
    assert "VAR Hypothesis Validation" in report
    return report


UNREADABLE = {
    "no UTF-8": pa.array([b"\xff"] * 12).cast(pa.string(), safe=False),
    "no UTF-8 in a dictionary": pa.array([b"\xff"] * 12)
    .cast(pa.string(), safe=False)
    .dictionary_encode(),
    "a line end in its type": pa.array([{"a\nb\x1b[2J": 1}] * 12),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_column_that_cannot_be_read_is_answered(folder, case):
    for name in ("token_str", "frequency"):
        found = {each: plausible(each, 12) for each in STATISTICS.names} | {name: UNREADABLE[case]}
        pq.write_table(pa.table(found), folder / "unreadable.parquet")
        assert f"the column {name} is not" in answered(folder / "unreadable.parquet")


@settings(max_examples=60)
@given(tables(), st.sampled_from([None, None, 0, 1]))
def test_any_parquet_table_is_answered(folder, table, layer):
    pq.write_table(table, folder / "any.parquet")
    answered(folder / "any.parquet", layer)


@settings(max_examples=60)
@given(tables(), st.sampled_from([None, None, 0, 1]), st.sampled_from("all minimal none".split()))
def test_any_csv_table_is_answered(folder, table, layer, quoting):
    style = {"all": csv.QUOTE_ALL, "minimal": csv.QUOTE_MINIMAL, "none": csv.QUOTE_NONE}[quoting]
    with open(folder / "any.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=style, escapechar="\\")
        writer.writerow(table.column_names)
        writer.writerows(zip(*(column.to_pylist() for column in table.columns)))
    answered(folder / "any.csv", layer)


def lawful_bytes(folder, suffix: str) -> bytes:
    table = pa.table({name: plausible(name, 12) for name in STATISTICS.names})
    path = folder / f"lawful{suffix}"
    if suffix == ".csv":
        table.to_pandas().to_csv(path, index=False)
    else:
        pq.write_table(table, path)
    return path.read_bytes()


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_any_damage_is_answered(folder, suffix):
    lawful, path = lawful_bytes(folder, suffix), folder / f"damaged{suffix}"
    path.write_bytes(lawful)
    assert answered(path).startswith("=")

    path.write_bytes(lawful.replace(b"frequency", b"frequenc\xff"))
    assert "is not readable" in answered(path)

    @settings(max_examples=60)
    @given(
        st.binary(max_size=200)
        | st.integers(0, len(lawful) - 1).map(lambda end: lawful[:end])
        | st.builds(
            lambda place, change: lawful[:place] + change + lawful[place + len(change) :],
            st.integers(0, len(lawful) - 1),
            st.binary(min_size=1, max_size=4),
        )
    )
    def damaged(content):
        path.write_bytes(content)
        answered(path)

    damaged()
