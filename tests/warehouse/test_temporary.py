"""The name of what is being written tells whether its writer has ended, where that can be known."""

import os
import subprocess
import sys

import pytest

from gatehouse.warehouse.files import write_atomically
from gatehouse.warehouse.writers import temporary
from gatehouse.warehouse.writers.temporary import is_dead, temporary_beside


@pytest.fixture(scope="module")
def ended() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_of_this_machine_it_is_known(tmp_path, ended):
    living = temporary_beside(tmp_path / "file.parquet")
    assert not is_dead(living)
    number = f"-{os.getpid()}-"
    assert is_dead(living.with_name(living.name.replace(number, f"-{ended}-")))


def test_of_another_machine_it_is_not(tmp_path, ended, monkeypatch):
    """Neither where its process's number is free here, nor where it is in use."""
    names = []
    with monkeypatch.context() as patch:
        patch.setattr(temporary, "_host", lambda: "0123abcd")
        for number in (ended, os.getpid()):
            patch.setattr(os, "getpid", lambda number=number: number)
            names.append(temporary_beside(tmp_path / "file.parquet"))
    assert [is_dead(name) for name in names] == [False, False]
    names[0].write_bytes(b"half")
    write_atomically(tmp_path / "file.parquet", lambda path: path.write_bytes(b"whole"))
    assert names[0].read_bytes() == b"half"


def test_two_writers_of_one_process_have_two_names(tmp_path):
    assert len({temporary_beside(tmp_path / "file") for _ in range(100)}) == 100


@pytest.mark.parametrize("name", [".file.removed.tmp", ".VERSION.tmp", "..tmp", ".file.1a.tmp"])
def test_of_what_is_called_otherwise_nothing_is_known(tmp_path, name):
    assert not is_dead(tmp_path / name)
