"""The formats of a result: what is written reads back as what was asked for."""

import csv
import io
import json
import math
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from gatehouse.flows import console
from gatehouse.flows.sql import tabular
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import printable

FORMULAS = ("=1+1", "+1", "-x", "@sum", "-", "\t=1", "\r=1", "'=1", "\n", "\r", "\n\n")
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
VALUES = st.lists(
    st.tuples(
        st.none() | TEXT | st.sampled_from([*FORMULAS, "-5", "a,b", 'a"b', "x\ny", "", "NULL"]),
        st.none() | st.floats(width=64),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.lists(st.none() | st.floats(width=32), max_size=3),
    ),
    max_size=8,
)
SCHEMA = pa.schema(
    {
        "text": pa.string(),
        "double": pa.float64(),
        "whole": pa.int64(),
        "list": pa.list_(pa.float32()),
    }
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def written(folder):
    """`written(rows, form)`: the file that DuckDB's relation of these rows was written to."""
    with closing(duckdb.connect()) as session:

        def written(rows: list[tuple], form: str) -> Path:
            named = [dict(zip(SCHEMA.names, row)) for row in rows]
            table = pa.Table.from_pylist(named, schema=SCHEMA)
            tabular.write(session.from_arrow(table), form, folder / f"result.{form}")
            return folder / f"result.{form}"

        yield written


def same(found: object, expected: object) -> bool:
    """Return whether two values are equal, NaN equal to itself, -0.0 unequal to 0.0."""
    return repr(found) == repr(expected)


@settings(max_examples=25)
@given(VALUES)
def test_parquet_gives_back_every_value(written, rows):
    table = pq.read_table(written(rows, "parquet"))
    assert same([tuple(row.values()) for row in table.to_pylist()], rows)


@settings(max_examples=25)
@given(VALUES)
def test_csv_gives_back_every_value(written, rows):
    path = written(rows, "csv")
    options = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(("text", "list"), pa.string())
        | {"double": pa.float64(), "whole": pa.int64()},
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    parse = pa_csv.ParseOptions(newlines_in_values=True)
    found = pa_csv.read_csv(path, convert_options=options, parse_options=parse).to_pylist()
    for row, (text, double, whole, numbers) in zip(found, rows, strict=True):
        assert row["text"] == text
        assert same((row["double"], row["whole"]), (double, whole))
        assert (row["list"] is None) == (numbers is None)
        if numbers is not None:
            parts = [each.strip() for each in row["list"][1:-1].split(",") if each.strip()]
            assert same([None if p == "NULL" else as_float32(float(p)) for p in parts], numbers)


def test_csv_for_a_spreadsheet_is_asked_for(folder):
    with closing(duckdb.connect()) as session:
        relation = session.from_arrow(pa.table({"@name": ["=1+1", "-5", "a"]}))
        form = tabular.chosen_format("csv", None, spreadsheet_safe=True)
        tabular.write(relation, form, folder / "safe.csv")
    assert (folder / "safe.csv").read_text().split() == ['"\'@name"', '"\'=1+1"', '"-5"', '"a"']
    with pytest.raises(GatehouseError, match="--format csv"):
        tabular.chosen_format("json", None, spreadsheet_safe=True)


def as_float32(value: float) -> float:
    return pa.scalar(value, pa.float32()).as_py()


@settings(max_examples=25)
@given(VALUES)
def test_json_gives_back_every_value_but_nan(written, rows):
    text = written(rows, "json").read_text()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    found = [tuple(row.values()) for row in json.loads(text, parse_constant=refuse)]
    assert same(found, [tuple(map(finite, row)) for row in rows])


def finite(value: object) -> object:
    if isinstance(value, list):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@settings(max_examples=30)
@given(st.lists(TEXT | st.sampled_from(["a|b", "<s>", "_x_", "[a](b)", "\\|", "`", "&lt;", "**"])))
def test_markdown_shows_every_value_as_it_is(written, texts):
    """What a CommonMark parser with GitHub's tables makes of it, but for spaces at the ends."""
    rows = [(text, None, None, None) for text in texts]
    source = written(rows, "markdown").read_text()
    parsed = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(source)
    cells = [token for token in parsed if token.type == "inline"]
    assert [parsed[0].type, len(cells)] == ["table_open", 4 + 4 * len(rows)]
    for cell, text in zip(cells[4::4], texts, strict=True):
        assert {each.type for each in cell.children or []} <= {"text", "text_special"}
        shown = "".join(each.content for each in cell.children or [])
        assert shown.split() == printable(text).split()


def test_markdown_keeps_a_row_on_its_line_and_numbers_to_the_right(written):
    lines = written([("x\ny\r\x1b[31m", 0.1, -7, [0.5])], "markdown").read_text().splitlines()
    assert lines[1:] == ["| --- | ---: | ---: | --- |", r"| x\ny\r\x1b[31m | 0.1 | -7 | [0.5] |"]


def test_a_table_on_the_screen_turns_no_words_around_and_steers_nothing(capfd):
    with closing(duckdb.connect()) as session:
        rows = session.from_arrow(pa.table({"a\u202ename": ["\u202e\x1b[31mtxet\u2066", "text"]}))
        tabular.show(rows, "table")
    shown = capfd.readouterr().out
    assert "\\u202e" in shown and "\\u2066" in shown and "a\\u202ename" in shown
    assert shown.splitlines() == [printable(line) for line in shown.splitlines()]


@pytest.mark.parametrize("form", ["csv", "json", "parquet", "markdown"])
def test_a_result_of_many_batches_is_whole(folder, form):
    """Over ten batches of text and two row groups of Parquet, in order."""
    target = folder / f"many.{form}"
    with closing(duckdb.connect()) as session:
        tabular.write(session.sql("select range as n from range(130_000)"), form, target)
    if form == "parquet":
        found = pq.read_table(target)["n"].to_pylist()
        assert pq.read_metadata(target).num_row_groups > 1
    elif form == "json":
        found = [row["n"] for row in json.loads(target.read_text())]
    else:
        lines = target.read_text().splitlines()[1 if form == "csv" else 2 :]
        found = [int(line.strip("| ")) for line in lines]
    assert found == list(range(130_000))


def test_types_that_a_format_has_not_are_written_as_text(folder):
    select = """
        select
            interval '-1 day' as span, '101'::bit as bits, 1::hugeint as huge,
            1.50 as exact, map {1: 'x'} as map, date '2025-01-02' as day,
            timestamp '2025-01-02 03:04:05.5' as moment, {'a': 'nan'::float} as struct,
            timestamptz '2025-01-02 03:04:05+00' as instant, 'b'::enum ('b') as kind
    """
    with closing(duckdb.connect()) as session:
        for form in ("csv", "json", "parquet"):
            tabular.write(session.sql(select), form, folder / f"types.{form}")
    (row,) = json.loads((folder / "types.json").read_text())
    instant = datetime.fromisoformat(row.pop("instant"))
    assert instant == datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert row == {
        "span": "-1 day",
        "bits": "101",
        "huge": 1,
        "exact": 1.5,
        "map": {"1": "x"},
        "day": "2025-01-02",
        "moment": "2025-01-02T03:04:05.5",
        "struct": {"a": None},
        "kind": "b",
    }
    (row,) = csv.DictReader(io.StringIO((folder / "types.csv").read_text()))
    assert (row["span"], row["exact"], row["map"]) == ("-1 day", "1.50", "{1=x}")
    (row,) = pq.read_table(folder / "types.parquet").to_pylist()
    assert row["span"] == "-1 day" and row["day"].isoformat() == "2025-01-02"


@pytest.mark.parametrize("form", ["table", *tabular.SUFFIXES.values()])
def test_a_long_query_gives_a_sign_of_life(form, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(console, "SECONDS_OF_SILENCE", 0)
    with closing(duckdb.connect()) as session:
        relation = session.sql(
            "select sum(sqrt(a.range * b.range)) from range(3000) a, range(3000) b"
        )
        if form == "parquet":
            tabular.write(relation, form, tmp_path / "result.parquet")
        else:
            tabular.show(relation, form)
    assert "running the query, 0:00:00 so far" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_stream_that_is_not_in_utf_8_gives_back_every_character(monkeypatch, form):
    text = "é€😀\n"
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", errors="backslashreplace")
    monkeypatch.setattr(sys, "stdout", stream)
    with closing(duckdb.connect()) as session:
        tabular.show(session.from_arrow(pa.table({"é": [text]})), form)
    written = stream.buffer.getvalue().decode()
    read = json.loads(written) if form == "json" else list(csv.DictReader(io.StringIO(written)))
    assert read == [{"é": text}]


@pytest.mark.parametrize("form", ["csv", "json"])
@pytest.mark.parametrize("reader", ["a person", "a program"])
def test_a_terminal_gets_no_escapes_and_a_pipe_gets_every_byte(monkeypatch, form, reader):
    text = "\x1b]0;x\a\u202e\x7f\x9b"
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(stream, "isatty", lambda: reader == "a person", raising=False)
    monkeypatch.setattr(sys, "stdout", stream)
    with closing(duckdb.connect()) as session:
        tabular.show(session.from_arrow(pa.table({text: [text]})), form)
    written = stream.buffer.getvalue().decode()
    if form == "json":
        assert json.loads(written) == [{text: text}]
    if form == "json" or reader == "a person":
        assert written.split("\n") == [printable(line) for line in written.split("\n")]
    else:
        assert list(csv.DictReader(io.StringIO(written))) == [{text: text}]
