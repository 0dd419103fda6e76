"""The read-only session: what it refuses, what it finds, and how it reports errors."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import closing

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gatehouse.warehouse.connect import (
    _why_not_opened,
    connect,
    errors_in_one_line,
    interruptible,
    query,
    relations,
    statements,
)
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths

MARTS = """
    create table dim_run as select 'a' as run_id;
    create table fct_layer_routing as select 'a' as run_id, 0 as layer, 1.5 as mean_entropy;
    create table int_partial as select 1 as n;
    create view stg_events as select 1 as token_id;
    create view events as select * from read_parquet(
        coalesce(getvariable('gatehouse_home'), '/nowhere') || '/lake/events/*.parquet'
    );
"""


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> Paths:
    """A home with a database of two marts and a view of a lake with one Parquet file."""
    paths = Paths(tmp_path_factory.mktemp("it's a home"))
    (paths.lake / "events").mkdir(parents=True)
    pq.write_table(pa.table({"token_id": [3, 4]}), paths.lake / "events" / "shard-0.parquet")
    with duckdb.connect(str(paths.database)) as writer:
        writer.execute("set variable gatehouse_home = $home", {"home": str(paths.root)})
        writer.execute(MARTS)
    return paths


@pytest.fixture
def connection(paths):
    with closing(connect(paths)) as opened:
        yield opened


def quoted(name: object) -> str:
    return "'" + str(name).replace("'", "''") + "'"


def refusal(connection, text: str) -> str:
    """Return the one line with which a statement is refused."""
    with pytest.raises(GatehouseError) as refused:
        query(connection, text).fetchall()
    assert len(str(refused.value).splitlines()) == 1
    return str(refused.value)


def test_views_find_the_lake_of_the_home_that_was_opened(connection, paths, tmp_path):
    assert query(connection, "select sum(token_id) from events").fetchall() == [(7,)]
    moved = Paths(tmp_path / "moved")
    (moved.lake / "events").mkdir(parents=True)
    pq.write_table(pa.table({"token_id": [50]}), moved.lake / "events" / "shard-0.parquet")
    moved.database.write_bytes(paths.database.read_bytes())
    with closing(connect(moved)) as elsewhere:
        assert elsewhere.sql("select token_id from events").fetchall() == [(50,)]


@pytest.mark.parametrize(
    "text",
    [
        "create table t as select 1",
        "insert into dim_run values ('b')",
        "drop table dim_run",
        "attach '/tmp/x.db'",
        "install httpfs",
        "set variable gatehouse_home = '/'",
        "pragma database_list",
        "explain analyze delete from dim_run",
        "update extensions",
        "disconnect",
        "select 1; drop table dim_run",
        "select 1; select 2",
        "",
        "-- nothing",
    ],
)
def test_what_is_not_one_reading_statement_is_refused(connection, text):
    assert "read-only: give one `select`" in refusal(connection, text)


def test_nothing_is_written_into_the_lake(connection, paths):
    target = paths.lake / "events" / "made.parquet"
    copy = f"copy (select 1 as token_id) to {quoted(target)}"
    with_copy = f"with written as ({copy}) from written"
    for text in (
        copy,
        with_copy,
        f"({with_copy})",
        f"-- a comment\n{with_copy};",
        f"export database {quoted(paths.lake / 'events')}",
    ):
        assert "read-only" in refusal(connection, text)
    assert [path.name for path in target.parent.iterdir()] == ["shard-0.parquet"]


def test_files_outside_the_lake_are_out_of_reach(connection, paths, tmp_path):
    outside = tmp_path / "secret.csv"
    outside.write_text("a\n1\n")
    (paths.lake / "events").joinpath("../../secret.csv").write_text("a\n1\n")
    for name in (outside, f"{paths.lake}/../secret.csv", f"{paths.root}/secret.csv"):
        assert "Permission Error" in refusal(connection, f"from read_csv({quoted(name)})")
    with pytest.raises(duckdb.Error, match="locked"):
        connection.execute("set enable_external_access = true")


def test_variables_of_the_program_are_not_tables(connection):
    found = pa.table({"secret": [1]})
    assert "found does not exist" in refusal(connection, "select * from found")
    assert found.num_rows == 1


def test_errors_keep_the_hint_of_the_database(connection):
    assert 'Did you mean "fct_layer_routing"?' in refusal(connection, "from fct_layer_routin")
    line = refusal(connection, "select mean_entrop\nfrom fct_layer_routing")
    assert '"mean_entrop" not found' in line and 'Candidate bindings: "mean_entropy"' in line
    assert "`describe TABLE`" in line
    assert 'syntax error at or near "from" in line 3' in refusal(connection, "select\n1\nfrom from")


def test_an_error_that_comes_with_the_rows_is_one_line_too(connection):
    late = "select cast(case when range < 9999 then '1' else 'one' end as int) from range(10000)"
    relation = query(connection, late)
    with (
        pytest.raises(GatehouseError, match="Could not convert string 'one'"),
        errors_in_one_line(),
    ):
        list(relation.to_arrow_reader(1000))


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("select 'é;--' as a ; ; -- é;", [("é;--",)]),
        ("/* a; */ values (1) -- b", [(1,)]),
        ("from dim_run", [("a",)]),
        ("with r as (select 2 as n) select n from r", [(2,)]),
        ("select range from range(3) order by range desc limit 2", [(2,), (1,)]),
        ("show tables", [(name,) for name in sorted("dim_run events".split())]),
    ],
)
def test_statements_of_every_kind_that_reads(connection, text, rows):
    assert query(connection, text).fetchall()[: len(rows)] == rows


def test_columns_of_one_name_are_numbered(connection):
    assert query(connection, "select 1 as a, 2 as a").columns == ["a", "a_1"]


def test_a_text_is_split_by_the_parser(connection):
    text = "select ';' as a; -- one; two\nselect 2;;\nfrom dim_run"
    assert [query(connection, each).fetchall() for each in statements(connection, text)] == [
        [(";",)],
        [(2,)],
        [("a",)],
    ]


def test_relations_begin_with_what_people_ask_for(connection):
    found = relations(connection)
    assert list(found) == ["fct_layer_routing", "events", "dim_run", "int_partial", "stg_events"]
    assert found["fct_layer_routing"] == ["run_id", "layer", "mean_entropy"]


@pytest.fixture
def pressed():
    """The signals that reached the handler they are meant for."""
    numbers = []
    previous = signal.signal(signal.SIGINT, lambda number, frame: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGINT, previous)


def test_ctrl_c_stops_a_query_and_the_session_goes_on(pressed):
    """The query reads nearly endless batches, and the second one sends the signal."""
    batch = pa.record_batch({"n": range(1000)})

    def batches():
        for number in range(100_000):
            if number == 1:
                signal.raise_signal(signal.SIGINT)
            yield batch

    with closing(duckdb.connect()) as session:
        reader = pa.RecordBatchReader.from_batches(batch.schema, batches())
        session.register("endless", reader)
        with pytest.raises(duckdb.InterruptException), interruptible(session):
            session.execute("select sum(n) from endless").fetchall()
        assert pressed == [signal.SIGINT]
        assert session.execute("select 1").fetchall() == [(1,)]


def test_ctrl_c_is_heard_while_the_main_thread_computes(pressed):
    """It is also heard if it comes a moment before the query starts."""
    busy = "select sum(a.range * b.range % 7) from range(200_000) a, range(200_000) b"
    session = duckdb.connect(config={"threads": 1})
    with closing(session), pytest.raises(duckdb.InterruptException), interruptible(session):
        signal.raise_signal(signal.SIGINT)
        session.execute(busy).fetchall()
    assert pressed == [signal.SIGINT]


def test_whoever_listened_for_signals_before_hears_them_during_a_query_too(pressed):
    heard, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    before = signal.set_wakeup_fd(wakeup)
    with closing(duckdb.connect()) as session, interruptible(session):
        signal.raise_signal(signal.SIGINT)
        assert os.read(heard, 1) == bytes([signal.SIGINT])
    assert signal.set_wakeup_fd(before) == wakeup
    os.close(heard)
    os.close(wakeup)


def test_without_ctrl_c_nothing_is_left_behind(pressed):
    handler, threads = signal.getsignal(signal.SIGINT), threading.active_count()
    with closing(duckdb.connect()) as session, interruptible(session):
        assert session.execute("select 1").fetchall() == [(1,)]
    assert pressed == [] and signal.getsignal(signal.SIGINT) is handler
    assert threading.active_count() == threads
    descriptor = signal.set_wakeup_fd(-1)
    assert descriptor == -1


def test_no_warehouse_and_a_broken_one_are_one_line(tmp_path):
    paths = Paths(tmp_path)
    with pytest.raises(GatehouseError, match=r"there is no .* yet: run `gatehouse run`"):
        connect(paths)
    paths.database.write_bytes(b"not a database" * 1000)
    with pytest.raises(GatehouseError, match=r"cannot open .*delete the file") as refused:
        connect(paths)
    assert len(str(refused.value).splitlines()) == 1


HOLDING = """
import duckdb, sys
held = duckdb.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


def test_a_database_that_is_open_elsewhere_says_where_and_is_not_to_be_deleted(tmp_path):
    paths = Paths(tmp_path)
    duckdb.connect(str(paths.database)).close()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(paths.database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(GatehouseError, match=f"process {holder.pid} .* close it") as refused:
            connect(paths)
    finally:
        holder.communicate("")
    assert "read-only" in str(refused.value) and "delete" not in str(refused.value)
    with connect(paths) as opened:
        assert opened.sql("select 1").fetchall() == [(1,)]


@pytest.mark.parametrize(
    ("said", "way_out"),
    [
        ("Trying to read a database file with storage version number 99", "newer DuckDB"),
        ("Unique file handle conflict: the file is already attached by x", "close that connection"),
        ("Corrupt database file: computed checksum 1", "delete the file"),
        ("Could not read from file: Input/output error", "put that right"),
    ],
)
def test_the_way_out_fits_the_cause(tmp_path, said, way_out):
    database = tmp_path / "gatehouse.duckdb"
    database.touch()
    message = _why_not_opened(database, duckdb.IOException(f"IO Error: {said}"))
    assert said in message and way_out in message
    assert ("delete" in message) == (way_out == "delete the file")


def test_a_query_from_a_terminal_that_is_not_in_utf_8_is_read_as_typed():
    with closing(duckdb.connect()) as session:
        typed = b"select '\xc3\xa9' as a".decode("ascii", "surrogateescape")
        assert statements(session, typed) == ["select '\u00e9' as a"]
        with pytest.raises(GatehouseError, match="not in UTF-8"):
            statements(session, b"select '\xe9'".decode("ascii", "surrogateescape"))
