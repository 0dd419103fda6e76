"""Prefect's own server of a run lives as long as the run, and no longer."""

import os
import select
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

GATEHOUSE = str(Path(sys.executable).with_name("gatehouse"))
SECONDS_TO_END = 60


def test_no_process_outlives_a_run_that_is_killed(tiny_mixtral, tmp_path):
    """Neither the server, which would go on listening for good, nor what watches it."""
    corpus = tmp_path / "texts.txt"
    corpus.write_text("the router sends every token to two experts of a layer\n" * 3_000)
    program = [GATEHOUSE, "run", "--model", str(tiny_mixtral), "--dataset", str(corpus)]
    running = subprocess.Popen(
        [*program, "--batch-size", "1", "--home", str(tmp_path / "home")],
        stderr=subprocess.DEVNULL,
        env={key: value for key, value in os.environ.items() if "PREFECT" not in key},
    )
    events = tmp_path / "home" / "lake" / "events"
    while running.poll() is None and not list(events.rglob("shard-*.parquet")):
        select.select([], [], [], 0.01)
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    watched = {int(child): os.pidfd_open(int(child)) for child in children}
    try:
        assert any(b"prefect.server" in command_line(child) for child in watched)
        running.kill()
        running.wait()
        ended, waited_for = set(), list(watched.values())
        while waited_for and (gone := select.select(waited_for, [], [], SECONDS_TO_END)[0]):
            ended |= set(gone)
            waited_for = [each for each in waited_for if each not in ended]
        assert not waited_for, "lives on"
    finally:
        for child in watched:
            with suppress(ProcessLookupError):
                os.kill(child, 9)


def command_line(process: int) -> bytes:
    return Path(f"/proc/{process}/cmdline").read_bytes()
