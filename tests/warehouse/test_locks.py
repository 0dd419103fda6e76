"""A lock names its holder, refuses a second one, and ends with its process."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.writers.locks import exclusive, exclusive_after_waiting, holder
from tests.conftest import files_of_at_most

HOLD = """
import sys
from pathlib import Path
from gatehouse.warehouse.writers.locks import exclusive
with exclusive(Path(sys.argv[1]), str):
    print(flush=True)
    sys.stdin.read()
"""


def refusal(other: str) -> str:
    return f"held by {other}"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "locks" / "run.lock"


@pytest.fixture
def other(path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def test_the_second_is_refused_and_told_who_is_first(path, other):
    assert holder(path).startswith(f"process {other.pid} on ")
    with pytest.raises(GatehouseError, match=f"held by process {other.pid} on .* since "):
        exclusive(path, refusal).__enter__()


def test_a_killed_process_leaves_no_lock(path, other):
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert path.exists() and holder(path) is None
    with exclusive(path, refusal):
        assert holder(path).startswith(f"process {os.getpid()} on ")
    assert holder(path) is None and not path.exists()


def test_a_lock_is_for_threads_of_one_process_too(path):
    with exclusive(path, refusal), pytest.raises(GatehouseError, match=f"process {os.getpid()}"):
        exclusive(path, refusal).__enter__()
    with exclusive(path, refusal):
        pass


def test_a_lock_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(GatehouseError, match="cannot write"):
        exclusive(tmp_path, refusal).__enter__()


@pytest.mark.parametrize("take", [exclusive, exclusive_after_waiting])
def test_a_file_system_without_locks_is_named_with_the_way_out(path, monkeypatch, take):
    def refuse(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(GatehouseError, match=f"cannot write {path}: .*locked.*GATEHOUSE_HOME"):
        take(path, refusal).__enter__()


def test_a_lock_is_held_where_not_a_byte_can_be_written(path):
    with files_of_at_most(0), exclusive(path, refusal):
        assert holder(path) == "another process"
    assert not path.exists()
