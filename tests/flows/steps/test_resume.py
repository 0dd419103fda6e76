"""Interrupted or not, the lake ends up the same, row for row."""

import json
import os
import random
import select
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps import capture
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from tests.conftest import without_prefect

TIMINGS = ["started_at", "finished_at", "capture_seconds", "seconds", "landed_at"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """1,100 short texts: three shards of 512, 512 and 76 samples."""
    generator = random.Random(11)
    path = tmp_path_factory.mktemp("corpus") / "short.jsonl"
    with open(path, "w") as file:
        for _ in range(1_100):
            words = generator.choices(["router", "expert", "the", "token", "of"], k=6)
            file.write(json.dumps({"text": " ".join(words[: generator.randint(1, 6)])}) + "\n")
    return path


@pytest.fixture(scope="module")
def request_(tiny_mixtral, corpus) -> RunRequest:
    return RunRequest(model=str(tiny_mixtral), dataset=str(corpus), batch_size=8, max_length=64)


@pytest.fixture(scope="module")
def uninterrupted(request_, tmp_path_factory) -> dict:
    paths = Paths(tmp_path_factory.mktemp("uninterrupted"))
    summary = capture.capture(request_, paths)
    assert summary.samples == 1_100
    return contents(paths)


def contents(paths: Paths) -> dict:
    """Return every file of the lake as rows, without the columns that only record times."""
    rows = {}
    for path in sorted(paths.lake.rglob("*.parquet")):
        table = pq.read_table(path, partitioning=None)
        table = table.drop_columns([name for name in TIMINGS if name in table.column_names])
        rows[str(path.relative_to(paths.lake))] = table.to_pydict()
    return rows


def test_a_finished_run_says_so_and_does_nothing(request_, tmp_path, capsys):
    paths = Paths(tmp_path)
    first = capture.capture(request_, paths)
    before = {path: path.stat().st_mtime_ns for path in paths.root.rglob("*.parquet")}
    assert capture.capture(request_, paths) == first
    assert {path: path.stat().st_mtime_ns for path in paths.root.rglob("*.parquet")} == before
    assert f"{first.run_id} is finished: nothing to capture" in capsys.readouterr().err


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: truncate(path)])
@pytest.mark.parametrize("table", ["events", "samples"])
def test_a_shard_that_went_missing_or_was_cut_is_captured_again(
    damage, table, request_, uninterrupted, tmp_path, capsys
):
    paths = Paths(tmp_path)
    run_id = capture.capture(request_, paths).run_id
    damage(Lake(paths.lake).shard_file(table, run_id, 1))
    capture.capture(request_, paths)
    assert f"shard 1 of {run_id} landed and went missing or changed" in capsys.readouterr().err
    assert contents(paths) == uninterrupted


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


WHOLE, NOT_YET, NO_EVENTS, NO_SAMPLES, CUT, UNRECORDED, HALF = range(7)


@settings(derandomize=True, deadline=None, max_examples=6)
@given(states=st.lists(st.integers(WHOLE, HALF), min_size=3, max_size=3))
def test_whatever_is_left_of_the_shards_the_same_command_completes_the_run(
    states, request_, uninterrupted, tmp_path_factory
):
    paths = Paths(tmp_path_factory.mktemp("left"))
    run_id = capture.capture(request_, paths).run_id
    lake = Lake(paths.lake)
    for shard, state in enumerate(states):
        samples, events = (lake.shard_file(table, run_id, shard) for table in ("samples", "events"))
        if state in (UNRECORDED, NOT_YET, HALF):
            lake.shard_file("shards", run_id, shard).unlink()
        if state in (NO_EVENTS, NOT_YET):
            events.unlink()
        if state in (NO_SAMPLES, NOT_YET, HALF):
            samples.unlink()
        if state == CUT:
            truncate(events)
        if state == HALF:
            samples.with_name(f".{samples.name}.1.tmp").write_bytes(b"PAR1")
    capture.capture(request_, paths)
    assert contents(paths) == uninterrupted
    assert not list(paths.root.rglob("*.tmp"))


@pytest.mark.parametrize("table", ["runs", "layers", "vocabulary"])
def test_what_a_run_is_can_be_told_again(table, request_, uninterrupted, tmp_path):
    paths = Paths(tmp_path)
    run_id = capture.capture(request_, paths).run_id
    truncate(Lake(paths.lake).file(table, run_id))
    capture.capture(request_, paths)
    assert contents(paths) == uninterrupted


def test_the_batch_size_changes_no_event(request_, uninterrupted, tmp_path):
    from dataclasses import replace

    paths = Paths(tmp_path)
    capture.capture(replace(request_, batch_size=1), paths)
    other = contents(paths)
    assert other.keys() == uninterrupted.keys()
    for name, columns in other.items():
        for column, values in columns.items():
            if column in ("entropy", "confidence"):
                assert values == pytest.approx(uninterrupted[name][column], abs=1e-5)
            elif column not in ("weights", "batch_size", "events_bytes", "events_sha256"):
                assert values == uninterrupted[name][column], (name, column)


@pytest.mark.parametrize(
    ("command", "number", "said"),
    [
        ("capture", signal.SIGINT, "interrupted"),
        ("run", signal.SIGINT, "interrupted"),
        ("capture", signal.SIGTERM, "terminated"),
    ],
)
def test_ended_by_a_signal_says_how_to_go_on(command, number, said, request_, tmp_path):
    """Ctrl-C reaches every process of the terminal's group; none of them may print a traceback."""
    program = [str(Path(sys.executable).with_name("gatehouse")), command]
    program += ["--model", request_.model, "--dataset", request_.dataset, "--max-length", "64"]
    running = subprocess.Popen(
        # small batches: two more shards take a while after the first
        [*program, "--batch-size", "1", "--home", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=without_prefect(),
        start_new_session=True,
    )
    events = tmp_path / "lake" / "events"
    while running.poll() is None and not list(events.rglob("shard-*.parquet")):
        select.select([], [], [], 0.01)
    os.killpg(running.pid, number) if number == signal.SIGINT else running.send_signal(number)
    out, err = running.communicate(timeout=120)
    assert (running.returncode, out) == (128 + number, ""), err
    # where the clock ends a slow process, Python counts what it had open in lines after this one
    assert [line for line in err.splitlines() if line.startswith(f"gatehouse: {said}; what has")]
    assert "Traceback" not in err and "Error" not in err, err
    assert capture.capture(request_, Paths(tmp_path)).samples == 1_100
