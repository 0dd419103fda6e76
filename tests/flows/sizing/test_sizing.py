"""A dry run tells what a run then takes, and lands nothing."""

import re
from array import array
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from gatehouse.flows.request import RunRequest
from gatehouse.flows.sizing import answer, trial
from gatehouse.flows.sizing.measured import BUILDS, build_of
from gatehouse.flows.steps import tokens
from gatehouse.flows.steps.capture import capture
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.storage.addresses import ObjectPath
from tests.conftest import write_texts


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_mixtral) -> tuple[RunRequest, Paths]:
    """A run of 40 short texts, and its home."""
    folder = tmp_path_factory.mktemp("sizing")
    texts = write_texts(folder / "texts.jsonl")
    return RunRequest(model=str(tiny_mixtral), dataset=str(texts)), Paths(folder / "home")


@pytest.fixture(scope="module")
def told(place):
    request, paths = place
    found = answer.forecast(request, paths)
    assert not paths.lake.exists()
    return found


@pytest.fixture(scope="module")
def landed(place, told):
    request, paths = place
    return capture(request, paths)


def files_of(lake: Lake, table: str) -> int:
    return sum(path.stat().st_size for path in (lake.root / table).rglob("*.parquet"))


def test_it_tells_the_events_and_bytes_that_land(place, told, landed):
    assert told.is_exact
    assert (told.samples, told.tokens) == (landed.samples, landed.tokens)
    assert told.events == landed.tokens * landed.moe_layers
    # a batch is a small file, of which its ends are a larger part
    size = files_of(Lake(place[1].lake), "events")
    assert size < told.lake_bytes < 2 * size
    assert told.fits
    assert told.capture_seconds == pytest.approx(
        told.tokens * told.trial.seconds / told.trial.tokens
    )
    assert sum(told.trial.weights.values()) == 4 * sum(
        each.numel() for each in weights_of(place[0])
    )


def weights_of(request: RunRequest) -> list:
    from gatehouse.models.zoo import resolve

    return list(resolve(request.model).skeleton.parameters())


def test_what_has_landed_is_not_counted_again(place, told, landed):
    again = answer.forecast(*place)
    assert (again.landed, again.capture_seconds, again.lake_bytes) == (1, 0.0, 0.0)
    assert again.events == told.events
    assert "all has landed" in str(again)
    assert "(1 of 1 shard landed before)" in str(again)


def test_of_many_shards_some_are_read(place, monkeypatch, tmp_path):
    """Of a text whose parts are alike, a quarter tells of the whole."""
    from gatehouse.ingest import samples_file

    monkeypatch.setattr(samples_file, "SHARD_SAMPLES", 10)
    monkeypatch.setattr(trial, "SHARDS_READ", 2)
    request, _ = place
    paths = Paths(tmp_path / "home")
    told = answer.forecast(request, paths)
    assert (told.shards, told.is_exact) == (4, False)
    assert "at most 4 have a shard" in str(told)
    assert "= about" in str(told)
    whole = capture(request, paths)
    assert told.tokens == pytest.approx(whole.tokens, rel=0.5)
    assert told.tokens != whole.tokens


def test_a_lake_in_a_bucket_takes_no_room_here(told):
    away = replace(told, bucket=ObjectPath("s3://bucket/lake"))
    assert told.disk_bytes == pytest.approx(away.disk_bytes + told.lake_bytes)
    assert "bytes an event, in s3://bucket/lake" in str(away)
    assert "free: twice the database" in str(away)
    assert "free: the lake, and twice" in str(told)


def test_generated_tokens_are_counted_as_the_most_that_may_come(place, told, tmp_path):
    generating = answer.forecast(replace(place[0], generate=3), Paths(tmp_path))
    assert generating.tokens == told.tokens + 3 * told.samples
    assert not generating.is_exact


@pytest.mark.parametrize("command", ["run", "capture"])
def test_a_run_that_the_disk_cannot_hold_is_refused(place, run, monkeypatch, tmp_path, command):
    request, _ = place
    words = (command, "--dry-run", "--model", request.model, "--dataset", request.dataset)
    monkeypatch.setattr(answer, "free_bytes", lambda folder: 1_000_000)
    code, out, err = run(*words, "--home", tmp_path)
    assert code == 2
    assert re.search(r"^disk +\S+ MB of 1 MB free: ", out, re.MULTILINE)
    assert f"the disk of {tmp_path} has 1 MB free, and the run needs" in err
    assert not (tmp_path / "lake").exists()


def test_a_text_without_tokens_is_one_line(place, monkeypatch, tmp_path):
    monkeypatch.setattr(tokens, "encode", lambda tokenizer, texts: [array("i") for _ in texts])
    with pytest.raises(GatehouseError, match=r"texts\.jsonl has no tokens: name another dataset"):
        answer.forecast(place[0], Paths(tmp_path))


def test_an_empty_home_is_on_the_disk_that_it_will_be_on(tmp_path):
    from gatehouse.flows.sizing.forecast import free_bytes

    assert free_bytes(tmp_path / "not" / "there") == pytest.approx(
        free_bytes(Path("/tmp")), rel=0.5
    )


@pytest.mark.parametrize("measured", BUILDS, ids=lambda build: f"top-{build.top_k}-{build.events}")
def test_builds_that_were_measured_are_told_as_they_were(measured):
    told = build_of(measured.events, measured.top_k)
    for name, value in vars(measured).items():
        assert getattr(told, name) == pytest.approx(value), name


def test_larger_builds_take_more():
    costs = ("cpu_seconds", "peak_bytes", "database_bytes")
    for of, other in (("top_k", 4), ("events", 10_000_000)):
        numbers = (2, 4, 8, 16) if of == "top_k" else (2_000_000, 20_000_000, 2 * 10**8)
        told = [
            build_of(number, other) if of == "events" else build_of(other * 10**7, number)
            for number in numbers
        ]
        for few, many in pairwise(told):
            assert all(getattr(few, cost) < getattr(many, cost) for cost in costs), of
    assert build_of(10, 1) == build_of(BUILDS[0].events, 2)
    # tables fill up
    full, more = build_of(10**9, 8), build_of(10**10, 8)
    assert full.database_bytes == more.database_bytes and full.cpu_seconds < more.cpu_seconds
