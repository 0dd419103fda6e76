"""What the command line says of errors that the user's surroundings cause, and how it prints."""

import errno
import os

import duckdb
import pytest

from gatehouse.flows.cli.app import need_a_width, said_of
from gatehouse.flows.upkeep import status


def test_a_working_folder_that_is_gone_is_named(tmp_path, monkeypatch):
    gone = FileNotFoundError(errno.ENOENT, "No such file or directory")
    assert "working folder" not in said_of(gone)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    assert said_of(gone).startswith("the working folder is gone: change to one that is there")


def test_no_memory_for_a_library_is_no_bug_of_it():
    said = "libtorch_cpu.so: failed to map segment from shared object"
    assert said_of(ImportError(said)).startswith("memory ran out")
    assert said_of(ImportError("no such module")) == ""


def test_a_user_without_a_home_is_told_to_name_one():
    """As in a container whose user has no entry in /etc/passwd."""
    assert said_of(RuntimeError("Could not determine home directory.")).startswith(
        "this user has no"
    )
    assert said_of(RuntimeError("a bug")) == ""


def test_a_terminal_without_columns_still_shows_words(monkeypatch):
    """A container's terminal may have none, and rich then prints nothing at all."""
    for columns, kept in (("0", False), ("5", False), ("80", True), ("wide", True)):
        monkeypatch.setenv("COLUMNS", columns)
        need_a_width()
        assert ("COLUMNS" in os.environ) == kept


class Panic(BaseException):
    """As a library written in Rust raises it: no `Exception`."""


@pytest.mark.parametrize(
    "error", [Panic("called `unwrap()`\non an `Err`"), TypeError("a \x1b bug")]
)
def test_what_nobody_foresaw_is_one_line_that_names_the_command(run, monkeypatch, home, error):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(status, "overview", fail)
    code, out, err = run("status", "--home", home)
    assert (code, out) == (2, "") and len(err.splitlines()) == 1 and "\x1b" not in err
    assert f"cannot do `gatehouse status --home {home}`: {type(error).__name__}: " in err
    assert "PYTHONDEVMODE=1 the same command shows where" in err


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit()])
def test_what_ends_the_process_ends_it(run, monkeypatch, home, error):
    def end(*arguments):
        raise error

    monkeypatch.setattr(status, "overview", end)
    if isinstance(error, SystemExit):
        assert run("status", "--home", home)[0] == 3
    else:
        with pytest.raises(GeneratorExit):
            run("status", "--home", home)


def test_a_database_that_turns_out_damaged_is_one_line_with_a_way_out():
    damaged = duckdb.IOException("Corrupt database file: computed checksum 1 does not match 2")
    assert said_of(damaged).startswith("the database is damaged (Corrupt database file")
    assert "`gatehouse verify --repair`" in said_of(damaged)
    # another file that cannot be read is not the database
    other = duckdb.IOException('Could not read enough bytes from file "shard-00000.parquet"')
    assert "verify" not in said_of(other)
