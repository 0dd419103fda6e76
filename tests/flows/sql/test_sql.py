"""Queries without the shell: files of results, statements from a pipe, the examples."""

import io
import json
import os
import re
import sys
from pathlib import Path

import duckdb
import pytest

from gatehouse.flows.sql import answer, examples
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> Paths:
    """A home with a database of one table of 1,500 rows."""
    paths = Paths(tmp_path_factory.mktemp("home"))
    paths.lake.mkdir()
    with duckdb.connect(str(paths.database)) as writer:
        writer.execute("create table numbers as select range as n from range(1500)")
    return paths


def test_the_suffix_names_the_format_and_an_option_overrides_it(paths, tmp_path):
    for name, form in {"a.CSV": None, "b.json": None, "c.md": None, "d.json": "csv"}.items():
        answer.sql("select n from numbers limit 1", paths, form, tmp_path / name)
    first = {path.name: path.read_text()[:3] for path in tmp_path.iterdir()}
    assert first == {"a.CSV": '"n"', "b.json": "[\n{", "c.md": "| n", "d.json": '"n"'}


def test_files_that_may_not_be_written_are_refused(paths, tmp_path):
    (tmp_path / "link.csv").symlink_to(paths.database)
    (tmp_path / "folder.csv").mkdir()
    refused = {
        tmp_path / "x.txt": "no format for",
        tmp_path / "folder.csv": "is not a file",
        tmp_path / "none" / "x.csv": "there is no folder",
        paths.lake / "x.csv": "belongs to the warehouse",
        paths.lake / ".." / "lake" / "events" / "x.parquet": "belongs to the warehouse",
        tmp_path / "link.csv": "belongs to the warehouse",
        Path("/dev/null"): "no format for",
    }
    before = paths.database.read_bytes()
    for target, message in refused.items():
        with pytest.raises(GatehouseError, match=message) as error:
            answer.sql("select 1", paths, None, target)
        assert len(str(error.value).splitlines()) == 1
    with pytest.raises(GatehouseError, match="is a device"):
        answer.sql("select 1", paths, "csv", Path("/dev/null"))
    with pytest.raises(GatehouseError, match="--format parquet needs a file"):
        answer.sql("select 1", paths, "parquet")
    assert paths.database.read_bytes() == before and not list(paths.lake.iterdir())


def test_a_query_that_fails_half_way_leaves_the_file_as_it_was(paths, tmp_path):
    target = tmp_path / "numbers.csv"
    answer.sql("select 1 as before", paths, None, target)
    late = "select cast(if(range < 30000, '1', 'one') as int) as n from range(40000)"
    for form in ("csv", "json", "parquet", "markdown"):
        with pytest.raises(GatehouseError, match="Could not convert string 'one'"):
            answer.sql(late, paths, form, target)
    assert [path.name for path in tmp_path.iterdir()] == ["numbers.csv"]
    assert target.read_text() == '"before"\n1\n'


def test_a_table_shows_a_thousand_rows_and_says_so(paths, capfd):
    answer.sql("select n from numbers", paths)
    out = capfd.readouterr().out
    assert len(re.findall(r"^│ +\d+ │$", out, flags=re.M)) == 1000
    assert "1500 rows" in out and "1000 shown" in out


@pytest.fixture
def piped(monkeypatch, paths, capfd):
    """`piped(text, form)`: what `gatehouse sql` prints for statements on standard input."""

    def piped(text: str, form: str | None = None, output: Path | None = None) -> str:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        answer.sql(None, paths, form, output)
        return capfd.readouterr().out

    return piped


def test_statements_of_a_pipe_are_answered_one_by_one(piped, tmp_path):
    text = "select ';' as a; -- nothing; here\nselect 2 as b"
    assert piped(text, "csv") == '"a"\n";"\n"b"\n2\n'
    assert piped("") == ""
    assert piped("select 3 as c;", None, tmp_path / "c.json") == ""
    assert json.loads((tmp_path / "c.json").read_text()) == [{"c": 3}]


def test_an_error_ends_a_pipe_and_what_came_before_is_printed(piped, capfd):
    with pytest.raises(GatehouseError, match="no_such does not exist"):
        piped("select 1 as a; from no_such; select 2 as b", "csv")
    assert capfd.readouterr().out == '"a"\n1\n'
    with pytest.raises(GatehouseError, match="read-only"):
        piped("select 1; drop table numbers")


def test_a_reader_that_leaves_ends_the_output_quietly(paths, monkeypatch):
    """As `| head` does, for each form of output."""
    for form in ("csv", "json", "markdown", "table"):
        read, write = os.pipe()
        os.close(read)
        with open(write, "w") as stdout:
            monkeypatch.setattr(sys, "stdout", stdout)
            answer.sql("select repeat('x', 999) as x from range(2000)", paths, form)


def test_examples_are_listed_with_their_questions(capfd):
    answer.sql_examples([], Paths(Path("/no/such/home")))
    out = capfd.readouterr().out
    for name, example in examples.library().items():
        assert f"{name}\n    {example.question}\n" in out
        assert example.question.endswith("?")


def test_an_unknown_example_is_refused_with_the_one_that_was_meant(paths):
    with pytest.raises(GatehouseError, match="did you mean layers_at_a_glance"):
        answer.sql_examples(["layers_at_glance"], paths)
    with pytest.raises(GatehouseError, match="lists them"):
        answer.sql_examples(["xyz"], paths)
    with pytest.raises(GatehouseError, match="name one"):
        answer.sql_examples(["all"], paths, None, Path("all.csv"))


def test_an_example_on_an_older_warehouse_says_to_build(paths):
    with pytest.raises(GatehouseError, match=r"example .* does not exist.*`gatehouse build`"):
        answer.sql_examples(["layers_at_a_glance"], paths)
