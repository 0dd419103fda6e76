"""Prefect's own server for a run lives as long as the run, however that ends."""

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from gatehouse.warehouse.paths import PACKAGE
from tests.conftest import without_prefect

PROGRAM = """
import sys, types

class Waiting(types.ModuleType):
    def work_ahead(self, request, paths):
        "Leave the text for the flow."

    def __getattr__(self, name):
        from prefect import flow

        @flow
        def pipeline(**parameters):
            print("up", flush=True)
            sys.stdin.read()
            return "done"

        return pipeline

sys.modules["gatehouse.flows.pipeline"] = Waiting("gatehouse.flows.pipeline")
sys.argv = ["gatehouse", "run"]
from gatehouse.flows.cli.app import main
main()
"""
"""The real command with a flow that waits instead of capturing."""

SECONDS_TO_END = 60


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGKILL, -9), (signal.SIGTERM, 143)],
    ids=["kill -9", "SIGTERM"],
)
def test_no_process_outlives_a_run(number, code, home):
    running = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=without_prefect(),
        cwd=PACKAGE,
    )
    assert running.stdout.readline() == "up\n", running.stderr.read()
    children = children_of(running.pid)
    try:
        assert any(b"prefect.server" in command_line(child) for child in children)
        running.send_signal(number)
        err = running.communicate()[1]
        assert running.returncode == code and "Traceback" not in err, err
        assert not outliving(children)
    finally:
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def test_a_server_is_stopped_once():
    """By Prefect, by a signal or at the end of the process; a later call finds nothing to do."""
    from gatehouse.flows.prefect_server import OwnServer

    server = OwnServer(port=1)
    server.watcher = watcher = subprocess.Popen(
        ["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    server.stop()
    server.stop()
    assert watcher.returncode == 0


def children_of(process: int) -> dict[int, int]:
    """Return child -> a file descriptor that becomes readable when it ends."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return {int(child): os.pidfd_open(int(child)) for child in children}


def command_line(process: int) -> bytes:
    return Path(f"/proc/{process}/cmdline").read_bytes()


def outliving(children: dict[int, int]) -> set[int]:
    """Return the children that have not ended in time."""
    living = {ending: child for child, ending in children.items()}
    while living and (ended := select.select(list(living), [], [], SECONDS_TO_END)[0]):
        for ending in ended:
            del living[ending]
    return set(living.values())
