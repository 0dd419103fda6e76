"""Full and read-only disks, two writers, builds beside captures, what changes, clocks that jump."""

import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps import capture
from gatehouse.flows.upkeep import status
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from tests.flows.steps.test_resume import contents


@pytest.fixture(scope="module")
def request_(tmp_path_factory, tiny_mixtral) -> RunRequest:
    """1,100 texts of two words: three shards."""
    corpus = tmp_path_factory.mktemp("corpus") / "texts.jsonl"
    words = ["router", "expert", "the", "token"]
    texts = [f"{words[n % 4]} {words[n // 4 % 4]} {n}" for n in range(1_100)]
    corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return RunRequest(model=str(tiny_mixtral), dataset=str(corpus), batch_size=8, max_length=64)


@pytest.fixture(scope="module")
def whole(request_, tmp_path_factory) -> Paths:
    paths = Paths(tmp_path_factory.mktemp("whole"))
    capture.capture(request_, paths)
    return paths


def words_of(request: RunRequest) -> list[str]:
    words = ["--model", request.model, "--dataset", request.dataset]
    return [*words, "--batch-size", str(request.batch_size), "--max-length", "64"]


@pytest.fixture
def disk(tmp_path) -> Iterator["Disk"]:
    mounted = Disk(tmp_path / "disk")
    try:
        mounted.mount("size=300k")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small disk needs root")
    yield mounted
    subprocess.run(["umount", "--lazy", str(mounted.root)], check=True)


class Disk:
    """A file system in memory, as small as asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()

    def mount(self, options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.root)]
        subprocess.run(command, check=True, capture_output=True)

    def remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.root)], check=True)


def one_line(code: int, err: str, *parts: str) -> None:
    lines = [line for line in err.splitlines() if line.startswith("gatehouse: ")]
    assert code == 2 and len(lines) == 1 and "Traceback" not in err, err
    assert all(part in lines[0] for part in parts), lines


def test_a_full_disk_stops_a_capture_and_room_lets_it_go_on(run, disk, request_, whole):
    code, _, err = run("capture", *words_of(request_), "--home", disk.root)
    one_line(code, err, "No space left on device", "make room", "run the same command again")
    lake = Lake(disk.root / "lake")
    (run_id,) = lake.runs()
    assert 0 < len(lake.shards.finished(run_id)) < 3
    assert not list(disk.root.rglob("*.tmp"))
    assert run("verify", "--home", disk.root)[0] == 0, "what has landed is whole"
    disk.remount("size=50m")
    assert run("capture", *words_of(request_), "--home", disk.root)[0] == 0
    assert contents(Paths(disk.root)) == contents(whole)


@pytest.mark.parametrize("size", ["3m", "9m"])
def test_a_full_disk_stops_a_build_and_readers_keep_the_previous_marts(run, disk, captured, size):
    disk.remount("size=50m")
    shutil.copytree(captured, disk.root, dirs_exist_ok=True)
    os.utime(next((disk.root / "lake" / "events").rglob("shard-*.parquet")))
    before = (disk.root / "gatehouse.duckdb").read_bytes()
    used = shutil.disk_usage(disk.root).used
    disk.remount(f"size={used + int(size[:-1]) * 2**20}")
    code, _, err = run("build", "--home", disk.root)
    one_line(code, err, "No space left on device", "run the same command again")
    assert (disk.root / "gatehouse.duckdb").read_bytes() == before
    assert not (disk.root / "building").exists()


def test_a_home_that_can_only_be_read_still_answers(run, disk, request_, captured):
    disk.remount("size=50m")
    shutil.copytree(captured, disk.root, dirs_exist_ok=True)
    disk.remount("ro")
    home = ["--home", disk.root]
    for command in ("capture", "prepare", "run"):
        words = words_of(request_) if command != "prepare" else ["--dataset", request_.dataset]
        code, _, err = run(command, *words, *home)
        one_line(code, err, "Read-only file system")
    code, _, err = run("build", *home)
    one_line(code, err, "Read-only file system")
    assert run("status", *home)[0] == run("verify", *home)[0] == 0
    assert run("sql", "select count(*) as layers from fct_layer_routing", *home)[0] == 0


def test_a_second_capture_of_a_run_is_refused_and_told_of_the_first(run, request_, whole, tmp_path):
    paths = Paths(shutil.copytree(whole.root, tmp_path / "home"))
    lake = Lake(paths.lake)
    (run_id,) = lake.runs()
    with lake.locks.writing(run_id):
        code, _, err = run("capture", *words_of(request_), "--home", paths.root)
        one_line(code, err, f"{run_id} is being written by process {os.getpid()} on ")
        code, _, err = run("runs", "rm", run_id, "--yes", "--home", paths.root)
        one_line(code, err, "is being written by process")
        assert f"being written by process {os.getpid()}" in run("status", "--home", paths.root)[1]
    assert contents(paths) == contents(whole)
    assert run("capture", *words_of(request_), "--home", paths.root)[0] == 0


def test_a_build_beside_a_capture_counts_what_has_finished(run, captured, request_, tmp_path):
    home = Path(shutil.copytree(captured, tmp_path / "home"))
    program = [str(Path(sys.executable).with_name("gatehouse")), "capture"]
    program += [*words_of(request_)[:4], "--max-length", "64", "--batch-size", "1"]
    os.utime(next((home / "lake" / "events").rglob("shard-*.parquet")))
    capturing = subprocess.Popen([*program, "--home", str(home)], stderr=subprocess.PIPE, text=True)
    events = home / "lake" / "events"
    while capturing.poll() is None and len(list(events.rglob("shard-*.parquet"))) < 2:
        select.select([], [], [], 0.01)
    assert run("build", "--home", home)[0] == 0
    _, said = capturing.communicate()
    assert capturing.returncode == 0, said
    code, out, _ = run("build", "--home", home)
    assert code == 0 and "2 finished runs" in out
    assert run("verify", "--home", home)[0] == 0


def change_weights(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    path = folder / "model.safetensors"
    weights = load_file(path)
    weights["model.norm.weight"] = weights["model.norm.weight"] * 2
    save_file(weights, path, metadata={"format": "pt"})


def change_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["normalizer"] = {"type": "Lowercase"}
    path.write_text(json.dumps(tokenizer))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (change_weights, "the model's weights or config changed"),
        (change_tokenizer, "its tokenizer"),
    ],
)
def test_what_changed_under_the_same_name_begins_a_run_of_its_own(
    change, said, run, request_, tmp_path
):
    model, home = tmp_path / "model", tmp_path / "home"
    shutil.copytree(request_.model, model)
    words = ["capture", "--model", model, *words_of(request_)[2:], "--home", home]
    words += ["--num-samples", 40]
    assert run(*words)[0] == 0
    (first,) = Lake(home / "lake").runs()
    landed = contents(Paths(home))
    change(model)
    code, _, err = run(*words)
    assert code == 0 and f"{said}" in err and f"changed since {first}: starting a new run" in err
    assert len(Lake(home / "lake").runs()) == 2
    assert landed.items() <= contents(Paths(home)).items()
    Lake(home / "lake").shard_file("events", first, 0).unlink()
    code, _, err = run("verify", first, "--repair", "--home", home)
    one_line(code, err, f"{first} cannot be captured again, {said}", "nothing was overwritten")


def test_a_clock_that_jumps_back_changes_no_event(monkeypatch, request_, whole, tmp_path):
    times = iter(datetime(2031, 5, 1, tzinfo=UTC) - timedelta(days=day) for day in range(100))

    class Jumping(datetime):
        @classmethod
        def now(cls, zone=None):
            return next(times)

    monkeypatch.setattr("gatehouse.flows.steps.planned.datetime", Jumping)
    monkeypatch.setattr("gatehouse.warehouse.lake.datetime", Jumping)
    monkeypatch.setattr("gatehouse.warehouse.runs.shards.datetime", Jumping)
    paths = Paths(tmp_path / "home")
    summary = capture.capture(request_, paths)
    assert contents(paths) == contents(whole)
    record = Lake(paths.lake).run_record(summary.run_id)
    assert record["finished_at"] >= record["started_at"] and record["capture_seconds"] > 0
    assert "finished" in status.overview(paths)
