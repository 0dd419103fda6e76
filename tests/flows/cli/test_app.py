"""What the command line says of errors that the user's surroundings cause, and how it prints."""

import errno
import os

from gatehouse.flows.cli.app import need_a_width, said_of


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
