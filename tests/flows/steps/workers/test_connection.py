"""Connections to workers: whatever goes wrong is one line."""

import os
import signal
import subprocess
import sys

import pytest

from gatehouse.flows.request import Workers
from gatehouse.flows.steps.workers import connection
from gatehouse.flows.steps.workers.connection import connected
from gatehouse.warehouse.errors import GatehouseError

pytest.importorskip("distributed", reason="without the extra `cluster`")

NOBODY = Workers(scheduler="tcp://127.0.0.1:1")


@pytest.mark.parametrize(
    ("number", "scheduler", "line"),
    [
        (0, None, "--workers 0: give a number of processes, 1 or more"),
        (-3, None, "--workers -3: give a number"),
        (2, "tcp://127.0.0.1:1", "leave one of them out"),
        (None, "tcp://127.0.0.1:1", "no Dask scheduler answers there"),
        (None, "nothing at all", "no Dask scheduler answers there"),
    ],
)
def test_bad_input_is_one_line(number, scheduler, line, monkeypatch):
    monkeypatch.setattr(connection, "SECONDS_TO_ANSWER", 1)
    with pytest.raises(GatehouseError, match=line), opened(number, scheduler):
        pass


def opened(number, scheduler):
    return connected(Workers.asked(number, scheduler), [])


def test_nothing_asked_is_no_workers():
    assert Workers.asked(None, None) is None


def test_without_dask_the_line_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.config", None)
    monkeypatch.setitem(sys.modules, "dask", None)
    with (
        pytest.raises(GatehouseError, match=r"pip install 'gatehouse\[cluster\]'"),
        connected(NOBODY, []),
    ):
        pass


def test_settings_of_dask_that_cannot_be_read_are_one_line(monkeypatch, tmp_path):
    (tmp_path / "dask.yaml").write_text("a: [")
    for name in [each for each in sys.modules if each.partition(".")[0] == "dask"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setenv("DASK_CONFIG", str(tmp_path))
    with (
        pytest.raises(GatehouseError, match=r"settings cannot be read .*: correct them in "),
        connected(NOBODY, []),
    ):
        pass


class Future:
    """What Dask gives for a call that it could not have made."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def result(self) -> None:
        raise self.error


def test_what_dask_raises_is_one_line():
    from distributed import CancelledError, KilledWorker

    lines = {
        KilledWorker("work", None, 3): "every worker that had the same work was killed, 4 of them",
        ModuleNotFoundError("No module named 'gatehouse'"): "cannot run this Gatehouse",
        RuntimeError("Error during deserialization of the task graph"): "install the same packages",
        CancelledError("work"): "the Dask scheduler has gone",
    }
    for error, line in lines.items():
        with pytest.raises(GatehouseError, match=line):
            connection._result(Future(error))
    with pytest.raises(ZeroDivisionError):
        connection._result(Future(ZeroDivisionError()))
    killed = connection.explained(KilledWorker("work", None, 3), "captured shard 3", "use fewer")
    assert "captured shard 3 was killed, 4 of them: if memory ran out, use fewer" in str(killed)


def test_a_scheduler_that_goes_is_one_line(monkeypatch):
    """Its only worker, and then the scheduler itself, end while work is waited for."""
    monkeypatch.setattr(connection, "SECONDS_BETWEEN_LOOKS", 0.1)
    code = (
        "import distributed\n"
        "with distributed.LocalCluster(n_workers=1, processes=False, host='127.0.0.1', "
        "dashboard_address=None, protocol='tcp') as cluster:\n"
        "    print(cluster.scheduler_address, flush=True)\n"
        "    input()\n"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        workers = Workers(scheduler=server.stdout.readline().strip())
        with (
            pytest.raises(GatehouseError, match=r"the Dask scheduler .*has gone"),
            connected(workers, []) as connected_,
        ):
            assert connected_.hosts() == ["127.0.0.1"]
            assert list(connected_.results(abs, [-3])) == [3]
            for _ in connected_.results(end, [0]):
                pass
    finally:
        server.kill()
        server.communicate()


def end(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
