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

from flows import commands
from flows.request import RunRequest
from warehouse.lake import Lake
from warehouse.paths import CHECKOUT, Paths

TIMINGS = ["started_at", "finished_at", "capture_seconds"]


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
    summary = commands.capture(request_, paths)
    assert summary.samples == 1_100
    return contents(paths)


def contents(paths: Paths) -> dict:
    """Return every file of the lake as rows, without what only tells the time."""
    rows = {}
    for path in sorted(paths.lake.rglob("*.parquet")):
        table = pq.read_table(path, partitioning=None)
        table = table.drop_columns([name for name in TIMINGS if name in table.column_names])
        rows[str(path.relative_to(paths.lake))] = table.to_pydict()
    return rows


def killed_run(point: str, count: int, request_: RunRequest, paths: Paths) -> None:
    command = [sys.executable, str(CHECKOUT / "tests" / "flows" / "kill_at.py"), point, str(count)]
    command += ["capture", "--model", request_.model, "--dataset", request_.dataset]
    command += ["--batch-size", "8", "--max-length", "64", "--home", str(paths.root)]
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.mark.parametrize(
    ("point", "count", "landed"),
    [
        ("ingest.numbering.split_of", 700, 0),
        ("models.capture.pad", 2, 0),
        ("models.capture.pad", 14, 1),
        ("warehouse.lake.write_table", 3, 0),
        ("warehouse.lake.write_events", 1, 0),
        ("warehouse.lake.write_events:after", 2, 2),
        ("os.fsync", 19, 1),
    ],
    ids=[
        "while preparing",
        "in the first batch",
        "in the middle of a shard",
        "while landing the run",
        "between samples and events",
        "right after a shard has landed",
        "while flushing",
    ],
)
def test_killed_and_resumed_equals_uninterrupted(
    point, count, landed, request_, uninterrupted, tmp_path
):
    paths = Paths(tmp_path / "home")
    killed_run(point, count, request_, paths)
    run_folders = list((paths.lake / "events").glob("run_id=*"))
    finished = [p for folder in run_folders for p in folder.glob("shard-*.parquet")]
    assert len(finished) == landed
    before = {path: path.stat().st_mtime_ns for path in finished}
    commands.capture(request_, paths)
    assert contents(paths) == uninterrupted
    assert {path: path.stat().st_mtime_ns for path in finished} == before, "captured again"


def test_a_finished_run_says_so_and_does_nothing(request_, tmp_path, capsys):
    paths = Paths(tmp_path)
    first = commands.capture(request_, paths)
    before = {path: path.stat().st_mtime_ns for path in paths.root.rglob("*.parquet")}
    assert commands.capture(request_, paths) == first
    assert {path: path.stat().st_mtime_ns for path in paths.root.rglob("*.parquet")} == before
    assert f"{first.run_id} is finished: nothing to capture" in capsys.readouterr().err


def test_a_damaged_shard_stops_the_run_until_it_is_deleted(request_, uninterrupted, tmp_path):
    from warehouse.errors import GatehouseError

    paths = Paths(tmp_path)
    run_id = commands.capture(request_, paths).run_id
    shard = paths.lake / "events" / f"run_id={run_id}" / "shard-00001.parquet"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(GatehouseError, match=r"shard-00001\.parquet is damaged"):
        commands.capture(request_, paths)
    assert Lake(paths.lake).run_record(run_id)["finished_at"] is not None
    shard.unlink()
    commands.capture(request_, paths)
    assert contents(paths) == uninterrupted


def test_the_batch_size_changes_no_event(request_, uninterrupted, tmp_path):
    from dataclasses import replace

    paths = Paths(tmp_path)
    commands.capture(replace(request_, batch_size=1), paths)
    other = contents(paths)
    assert other.keys() == uninterrupted.keys()
    for name, columns in other.items():
        for column, values in columns.items():
            if column in ("entropy", "confidence"):
                assert values == pytest.approx(uninterrupted[name][column], abs=1e-5)
            elif column not in ("weights", "batch_size"):
                assert values == uninterrupted[name][column], (name, column)


@pytest.mark.parametrize("command", ["capture", "run"])
def test_interrupted_by_hand_says_how_to_go_on(command, request_, tmp_path):
    """Ctrl-C reaches every process of the terminal's group; none of them may print a traceback."""
    program = [str(Path(sys.executable).with_name("gatehouse")), command]
    program += ["--model", request_.model, "--dataset", request_.dataset, "--max-length", "64"]
    environment = {key: value for key, value in os.environ.items() if "PREFECT" not in key}
    running = subprocess.Popen(
        # small batches: two more shards take a while after the first
        [*program, "--batch-size", "1", "--home", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    events = tmp_path / "lake" / "events"
    while running.poll() is None and not list(events.rglob("shard-*.parquet")):
        select.select([], [], [], 0.01)
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate()
    assert (running.returncode, out) == (130, ""), err
    assert err.splitlines()[-1].startswith("gatehouse: interrupted; what has landed stays")
    assert "Traceback" not in err and "Error" not in err, err
    assert commands.capture(request_, Paths(tmp_path)).samples == 1_100
