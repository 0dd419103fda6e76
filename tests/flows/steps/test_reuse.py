"""A run takes over what others of the same model have landed, and equals one that did not."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps import capture
from gatehouse.flows.upkeep.verify import verify_runs
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from tests.flows.steps.test_resume import TIMINGS

SAMPLES = 1_100
BY_ROUNDING = ["entropy", "confidence", "weights"]


@pytest.fixture(scope="module")
def request_(tiny_mixtral, tmp_path_factory) -> RunRequest:
    """1,100 short texts: three shards of 512, 512 and 76 samples."""
    generator = random.Random(17)
    path = tmp_path_factory.mktemp("corpus") / "texts.jsonl"
    words = ["router", "expert", "the", "token", "of"]
    texts = (" ".join(generator.choices(words, k=generator.randint(1, 6))) for _ in range(SAMPLES))
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return RunRequest(
        model=str(tiny_mixtral), dataset=str(path), num_samples=SAMPLES, batch_size=8, max_length=64
    )


@pytest.fixture(scope="module")
def at_once(request_, tmp_path_factory) -> dict:
    paths = Paths(tmp_path_factory.mktemp("once"))
    return contents(paths, capture.capture(request_, paths).run_id)


@pytest.fixture
def paths(tmp_path) -> Paths:
    return Paths(tmp_path / "home")


def contents(paths: Paths, run_id: str) -> dict:
    """Return a run's tables as rows, without the columns that only record times."""
    found = {}
    for path in sorted(paths.lake.rglob(f"run_id={run_id}/*.parquet")):
        table = pq.read_table(path, partitioning=None)
        kept = [name for name in table.column_names if name not in TIMINGS]
        found[str(path.relative_to(paths.lake))] = table.select(kept).to_pydict()
    return found


def captured_anew(paths: Paths, request: RunRequest, capsys) -> tuple[str, set[int]]:
    """Capture; return the run, and its shards whose events are not another run's file."""
    capsys.readouterr()
    run_id = capture.capture(request, paths).run_id
    files = (paths.lake / "events" / f"run_id={run_id}").iterdir()
    return run_id, {int(file.stem[-5:]) for file in files if file.stat().st_nlink == 1}


def test_more_samples_of_the_same_text_capture_only_what_is_new(request_, at_once, paths, capsys):
    fewer = capture.capture(replace(request_, num_samples=700), paths).run_id
    run_id, anew = captured_anew(paths, request_, capsys)
    # the second shard has 188 of its 512 samples there
    assert anew == {1, 2}
    assert f"shard 0 of {run_id}: landed by {fewer}, not captured again" in capsys.readouterr().err
    assert contents(paths, run_id) == at_once
    # one goes, the other stays whole
    for table in ("events", "samples"):
        Lake(paths.lake).shard_file(table, fewer, 0).unlink()
    assert verify_runs(run_id, paths, repair=False)[1]


def test_fewer_samples_are_all_there(request_, at_once, paths, capsys):
    more = capture.capture(request_, paths).run_id
    run_id, anew = captured_anew(paths, replace(request_, num_samples=1_024), capsys)
    assert anew == set() and "weights:" not in capsys.readouterr().err
    lake = Lake(paths.lake)
    assert lake.layers(run_id) == lake.layers(more)
    assert verify_runs(run_id, paths, repair=False)[1]


def test_the_samples_of_nights_make_one_run(request_, at_once, paths, capsys):
    """Their shards begin elsewhere: what is put together has the rounding of their batches."""
    for first, number in ((0, 300), (300, 500), (800, 300)):
        capture.capture(replace(request_, first_sample=first, num_samples=number), paths)
    run_id, _ = captured_anew(paths, request_, capsys)
    assert "weights:" not in capsys.readouterr().err
    found = contents(paths, run_id)
    assert found.keys() == at_once.keys()
    for name, columns in found.items():
        for column, values in columns.items():
            if column in BY_ROUNDING and column != "weights":
                assert values == pytest.approx(at_once[name][column], abs=1e-5)
            elif column not in ("weights", "events_bytes", "events_sha256"):
                assert values == at_once[name][column], (name, column)
    assert verify_runs(run_id, paths, repair=False)[1]


def test_what_is_not_the_same_is_captured(request_, at_once, paths, capsys, tmp_path):
    capture.capture(replace(request_, num_samples=1_024), paths)
    texts = Path(request_.dataset).read_text().splitlines(keepends=True)
    texts[600] = json.dumps({"text": "other words"}) + "\n"
    changed = tmp_path / "texts.jsonl"
    changed.write_text("".join(texts))
    assert captured_anew(paths, replace(request_, dataset=str(changed)), capsys)[1] == {1, 2}
    assert captured_anew(paths, replace(request_, max_length=32), capsys)[1] == {0, 1, 2}


def test_a_damaged_shard_is_not_passed_on(request_, at_once, paths, capsys):
    fewer = capture.capture(replace(request_, num_samples=600), paths).run_id
    events = Lake(paths.lake).shard_file("events", fewer, 0)
    content = bytearray(events.read_bytes())
    content[len(content) // 2] ^= 1
    events.write_bytes(content)
    run_id, anew = captured_anew(paths, request_, capsys)
    assert anew == {0, 1, 2} and contents(paths, run_id) == at_once
