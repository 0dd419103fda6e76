"""The interactive shell, typed into through a pipe: statements, commands, Ctrl-C, a new build."""

import os
import signal
import stat
from collections.abc import Callable
from contextlib import closing

import duckdb
import pyarrow as pa
import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from gatehouse.flows.sql import examples, session, shell, tabular
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths

CTRL_C, CTRL_D, UP, ENTER = "\x03", "\x04", "\x1b[A", "\r"
LATEST = "demo-pydoc-0123456789"
MARTS = """
    create table dim_run as select unnest(['old-run', 'demo-pydoc-0123456789']) as run_id,
        unnest([1, 2]) as finished_at;
    create table fct_layer_routing as select 'old-run' as run_id, 0 as layer, 0.5 as mean_entropy;
    comment on table fct_layer_routing is 'One row per run and layer: how it routed. And more.';
    comment on column fct_layer_routing.mean_entropy is 'In nats.';
    create table dim_layer as select 'old-run' as run_id, 0 as layer, 8 as num_experts;
    create view events as select 1 as token_id, 0 as layer;
    create view stg_events as from events;
"""


def make_database(paths: Paths, name: str = "gatehouse.duckdb", extra: str = "") -> None:
    with duckdb.connect(str(paths.root / name)) as writer:
        writer.execute(MARTS + extra)


@pytest.fixture
def paths(tmp_path) -> Paths:
    """A home with a database of a few tables of two runs."""
    paths = Paths(tmp_path / "home")
    paths.root.mkdir()
    make_database(paths)
    return paths


@pytest.fixture
def typed(paths, capfd) -> Callable[..., tuple[str, str]]:
    """`typed(keys…)`: what the shell prints, as results in CSV and as errors, until Ctrl-D."""

    def typed(*keys: str, form: str = "csv") -> tuple[str, str]:
        with create_pipe_input() as keyboard:
            keyboard.send_text("".join(keys) + CTRL_D)
            with create_app_session(input=keyboard, output=DummyOutput()):
                shell.interact(paths, form)
        out, err = capfd.readouterr()
        banner, _, said = out.partition("Ctrl-D leaves.\n")
        assert said is not None and banner
        return said, err

    return typed


def test_the_banner_tells_the_runs_and_the_filter(paths, capfd):
    with create_pipe_input() as keyboard:
        keyboard.send_text(CTRL_D)
        with create_app_session(input=keyboard, output=DummyOutput()):
            shell.interact(paths, "table")
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) <= 6
    assert str(paths.database) in lines[0] and f"2 finished runs, the latest {LATEST}" in lines[0]
    assert any(f"`where run_id = '{LATEST}'` reads that run's files only" in each for each in lines)


def test_a_statement_may_take_several_lines_and_a_line_several_statements(typed):
    said, err = typed(
        "select 1 as a" + ENTER,
        "-- not the end;" + ENTER,
        "from dim_layer;" + ENTER,
        "select ';" + ENTER,
        "' as b; select 2 as c; -- done" + ENTER,
    )
    assert said == '"a"\n1\n"b"\n";\n"\n"c"\n2\n' and err == ""


def test_an_error_is_one_line_and_the_shell_goes_on(typed):
    said, err = typed(
        "selec 1;" + ENTER,
        "from dim_laye;" + ENTER,
        "drop table dim_layer;" + ENTER,
        "select error('a' || chr(10) || 'b');" + ENTER,
        ".nothing" + ENTER,
        ENTER,
        "from dim_layer select num_experts;" + ENTER,
    )
    assert said == '"num_experts"\n8\n'
    syntax, table, read_only, raised, command = err.splitlines()
    assert "syntax error" in syntax and 'Did you mean "dim_layer"?' in table
    assert "read-only" in read_only and "a" in raised and ".help lists them" in command


def test_ctrl_c_drops_a_statement_that_is_being_typed(typed):
    said, err = typed(
        "drop this" + ENTER, "and this" + CTRL_C, "select 5 as n;" + ENTER, "select" + CTRL_C
    )
    assert said == '"n"\n5\n' and err == ""


def test_ctrl_c_stops_a_query_that_runs(typed, monkeypatch):
    """The query reads batches without end; the second one brings the signal."""
    batch = pa.record_batch({"n": range(1000)})

    def batches():
        for number in range(100_000):
            if number == 1:
                signal.raise_signal(signal.SIGINT)
            yield batch

    with closing(duckdb.connect()) as opened:
        reader = pa.RecordBatchReader.from_batches(batch.schema, batches())
        opened.register("endless", reader)
        monkeypatch.setattr(session, "connect", lambda paths, **_: opened)
        before = signal.getsignal(signal.SIGINT)
        said, err = typed("from endless select sum(n);" + ENTER, "select 6 as n;" + ENTER)
    assert said.endswith('"n"\n6\n') and err == "interrupted\n"
    assert signal.getsignal(signal.SIGINT) == before


def test_the_history_is_kept_in_the_home(typed, paths):
    typed("select 7 as n;" + ENTER, ".quit" + ENTER)
    assert stat.S_IMODE((paths.root / "sql_history").stat().st_mode) == 0o600
    said, _ = typed(UP + UP + ENTER)
    assert said == '"n"\n7\n'


def test_a_home_that_cannot_be_written_has_no_history(typed, paths):
    (paths.root / "sql_history").mkdir()
    assert typed("select 8 as n;" + ENTER)[0] == '"n"\n8\n'


@pytest.mark.parametrize("word", [".quit", ".exit", "exit", "quit;", "EXIT", " .exit ;"])
def test_quit_leaves_at_once(typed, word):
    said, err = typed(word + ENTER, "select 9;" + ENTER)
    assert (said, err) == ("", "")


def test_the_mode_is_how_results_are_printed(typed):
    said, err = typed(
        ".mode json" + ENTER,
        "select 1 as n;" + ENTER,
        ".mode" + ENTER,
        ".mode xml" + ENTER,
        ".mode markdown;" + ENTER,
        "select 2 as n;" + ENTER,
    )
    assert said == '[\n{"n":1}\n]\njson\n| n |\n| ---: |\n| 2 |\n'
    assert err == "no mode xml: choose one of table, csv, json, markdown\n"


def test_results_go_to_a_file_and_back_to_the_screen(typed, tmp_path):
    target = tmp_path / "two words.json"
    said, err = typed(
        f".output {target}" + ENTER,
        "select 1 as n;" + ENTER,
        ".output" + ENTER,
        ".mode csv" + ENTER,
        "select 2 as n;" + ENTER,
    )
    assert (said, err) == ('"n"\n2\n', "")
    assert target.read_text() == '[\n{"n":1}\n]\n'


def test_results_never_go_into_the_warehouse(typed, paths, tmp_path):
    before = paths.database.read_bytes()
    (tmp_path / "link.csv").symlink_to(paths.database)
    for name in (paths.database, paths.lake / "x.csv", tmp_path / "link.csv"):
        said, err = typed(f".output {name}" + ENTER, "select 1 as n;" + ENTER)
        assert said == '"n"\n1\n' and "belongs to the warehouse" in err
    _, err = typed(f".output {tmp_path}/no/such.csv" + ENTER, ".output x.parquet" + ENTER)
    assert "there is no folder" in err and "--output FILE.parquet" in err
    assert paths.database.read_bytes() == before


def test_the_schema_is_what_makes_a_table(typed):
    said, err = typed(".schema dim_layer" + ENTER, ".schema dim_laye" + ENTER)
    assert said.startswith("CREATE TABLE dim_layer(") and said.endswith(");\n")
    assert "did you mean dim_layer?" in err
    every, _ = typed(".schema" + ENTER)
    assert said in every and "CREATE VIEW events" in every and "stg_events" not in every.split()


def test_tables_and_columns_come_with_what_they_mean(typed):
    said, _ = typed(".tables" + ENTER)
    assert said.splitlines()[0] == "fct_layer_routing  One row per run and layer: how it routed"
    *tables, others = said.splitlines()
    names = ["fct_layer_routing", "events", "dim_layer", "dim_run"]
    assert [line.split()[0] for line in tables] == names
    assert others == "`show tables` also lists the 1 table they are built from."
    said, err = typed(".columns fct_layer_routing;" + ENTER, ".columns dim_laye" + ENTER)
    assert said.splitlines()[2].split() == ["mean_entropy", "decimal(2,1)", "In", "nats."]
    assert "did you mean dim_layer?" in err


def test_help_names_every_command(typed):
    said, _ = typed(".help" + ENTER)
    assert [line.split()[0] for line in said.splitlines()] == [
        ".tables",
        ".columns",
        ".schema",
        ".examples",
        ".example",
        ".mode",
        ".output",
        ".help",
        ".exit",
    ]
    assert ".columns needs a name" in typed(".columns" + ENTER)[1]


def test_examples_run_from_the_shell(typed, monkeypatch):
    example = examples.Example(
        "how_many", "How many runs? A number.", "select count(*) as n from {{ ref('dim_run') }}"
    )
    monkeypatch.setattr(examples, "library", lambda: {"how_many": example})
    assert "how_many\n    How many runs?\n" in typed(".examples" + ENTER)[0]
    assert typed(".example how_many" + ENTER)[0] == '"n"\n2\n'
    said, _ = typed(".example how_many" + ENTER, form="table")
    assert said.startswith("How many\n\nHow many runs? A number.\n\n┌")
    assert "did you mean how_many?" in typed(".example how_man" + ENTER)[1]


def test_a_build_meanwhile_is_seen_and_said(typed, paths, monkeypatch):
    """The new database takes the old one's place after the first statement."""
    make_database(paths, "new.duckdb", "create table fct_new as select 3 as n;")
    show_each = tabular.show_each

    def then_build(*arguments: object) -> None:
        show_each(*arguments)
        if (paths.root / "new.duckdb").exists():
            os.replace(paths.root / "new.duckdb", paths.database)

    monkeypatch.setattr(tabular, "show_each", then_build)
    said, err = typed("select 1 as n;" + ENTER, "from fct_new;" + ENTER, "from fct_new;" + ENTER)
    assert said == '"n"\n1\n' + 2 * '"n"\n3\n'
    assert err == "the warehouse was rebuilt: reading the new one\n"


def test_a_session_outlives_a_database_that_is_gone_for_a_while(paths):
    with closing(session.Session(paths)) as opened:
        assert not opened.follow()
        os.rename(paths.database, paths.root / "away")
        for _ in range(2):
            with pytest.raises(GatehouseError, match=r"there is no .* yet"):
                opened.follow()
        os.rename(paths.root / "away", paths.database)
        assert opened.follow() and not opened.follow()
        assert opened.connection.sql("select count(*) from dim_run").fetchall() == [(2,)]


def test_the_catalog_is_the_warehouse_s_own(paths):
    with closing(session.Session(paths)) as opened:
        catalog = opened.completer.catalog
    assert catalog.runs == [LATEST, "old-run"]
    assert catalog.tables["dim_layer"] == ["run_id", "layer", "num_experts"]
    assert set(catalog.examples) == set(examples.library())
