"""What the benches rest on: made-up lakes, compared answers, watched processes."""

import io
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from gatehouse.warehouse.lake import Lake
from tests.bench.build import watch
from tests.bench.inference import made_up, measured
from tests.bench.lake import FEW, MANY, RUN_ID, lake_of, linked
from tests.bench.statistics import EXACT, ROUNDED, disagreements

SAMPLES, EVENTS_IN_A_SAMPLE = 3, FEW.events_in_a_sample


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A home with a made-up lake of three samples; landing it passes the lake's own checks."""
    return lake_of(tmp_path_factory.mktemp("made"), SAMPLES * EVENTS_IN_A_SAMPLE)


def events(home, run_id: str = RUN_ID) -> pa.Table:
    (path,) = (home / "lake" / "events" / f"run_id={run_id}").iterdir()
    return pq.read_table(path, partitioning=None)


def test_a_made_up_lake_is_as_large_as_asked_for_and_landed_once(made):
    lake = Lake(made / "lake")
    assert lake.shards.finished(RUN_ID) == {0}
    assert lake.shards.tokens(RUN_ID) == (SAMPLES * 512, 0)
    assert events(made).num_rows == SAMPLES * EVENTS_IN_A_SAMPLE
    (path,) = (lake.root / "events").rglob("*.parquet")
    before = path.stat()
    lake_of(made, SAMPLES * EVENTS_IN_A_SAMPLE)
    assert path.stat() == before
    lake_of(made.with_name("larger"), 4 * EVENTS_IN_A_SAMPLE)
    assert events(made.with_name("larger")).num_rows == 4 * EVENTS_IN_A_SAMPLE


def test_runs_of_two_seeds_read_the_same_text_in_another_way(made, tmp_path):
    other = lake_of(tmp_path / "other", SAMPLES * EVENTS_IN_A_SAMPLE, seed=1)
    home = linked(tmp_path / "both", {"a": made, "b": other})
    assert all(path.exists() for path in (home / "lake").rglob("*"))
    assert list(Lake(home / "lake").runs()) == ["a", "b"]
    first, second = events(home, "a"), events(home, "b")
    for column in ("sample_id", "position", "layer", "token_id"):
        assert first[column] == second[column]
    same = np.mean(first["top_expert"].to_numpy() == second["top_expert"].to_numpy())
    assert 1 / 8 < same < 0.9


def test_many_experts_are_distinct_and_each_set_is_as_likely(tmp_path):
    home = lake_of(tmp_path, MANY.events_in_a_sample, shape=MANY)
    (layers,) = (
        Lake(home / "lake")
        .layers(RUN_ID)
        .group_by(["num_experts", "top_k"])
        .aggregate([("layer", "count")])
        .to_pylist()
    )
    assert layers == {"num_experts": 128, "top_k": 8, "layer_count": 48}
    landed = events(home)
    experts = np.stack(landed["experts"].to_numpy(zero_copy_only=False))
    assert experts.shape == (MANY.events_in_a_sample, 8)
    # the lists hardly repeat, which is what the lake is for
    assert len(np.unique(experts, axis=0)) > 0.99 * len(experts)
    others = np.bincount(
        ((experts[:, 1:].astype(int) - experts[:, :1]) % 128).reshape(-1), minlength=128
    )
    assert others[0] == 0 and others[1:].min() > 0.8 * others[1:].mean()


@pytest.mark.parametrize("column", [*EXACT, *ROUNDED])
def test_another_answer_is_a_disagreement(column):
    numbers = np.arange(1.0, 9.0)
    ours = pa.table({name: numbers for name in [*EXACT, *ROUNDED]})
    ours = ours.set_column(7, "std_entropy", pa.array([None, *numbers[1:]]))
    assert disagreements(ours, ours.take([3, 1, 2, 0, 7, 6, 5, 4])) == []
    other = ours.set_column(ours.column_names.index(column), column, pa.array(numbers + 2e-6))
    assert column in disagreements(ours, other)
    assert disagreements(ours, ours.drop_columns([column])) == [column]
    assert disagreements(ours, ours.slice(1)) == ["7 rows instead of 8"]


def test_a_watched_process_shows_its_memory_and_what_it_printed():
    code = "held = b'x' * 100_000_000; sum(range(10_000_000)); print('done')"
    watched = watch([sys.executable, "-c", code], {}, cores=1)
    assert watched.printed == "done\n"
    assert watched.peak > 100_000_000
    started, ended = watched.moments[[0, -1]]
    assert watched.peak_between(started, ended) > 100_000_000
    assert watched.cpu_between(started, ended) <= watched.cpu[-1]


def test_a_watched_process_that_fails_says_why():
    with pytest.raises(RuntimeError, match="no such engine"):
        watch([sys.executable, "-c", "raise SystemExit('no such engine')"], {}, cores=1)


def test_caches_are_measured_on_what_they_serve():
    screen = Console(file=io.StringIO(), width=100)
    ((what, seconds, budget, is_met),) = measured(made_up(600, 2, 8, 2), screen)
    assert (what, budget, is_met) == ("all caches, CPU seconds", "30.00", float(seconds) <= 30)
    assert [line.split()[1] for line in screen.file.getvalue().splitlines() if "%" in line] == [
        *("lru", "lfu", "belady", "static")
    ]
