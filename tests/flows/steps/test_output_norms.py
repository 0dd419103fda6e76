"""Runs with the norms of the experts' outputs, beside runs without: each lands what it should."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps import build, capture
from gatehouse.flows.upkeep.verify import verify_runs
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import BrokenLaw, GatehouseError
from gatehouse.warehouse.events import Events
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.records import EVENTS, EVENTS_WITH_NORMS, OUTPUT_NORMS, SAMPLES
from gatehouse.warehouse.tables import read_table
from gatehouse.warehouse.upkeep.verification import verify
from tests.flows.conftest import build_of
from tests.flows.steps.test_any_family import save

NORMS = EVENTS_WITH_NORMS.field(OUTPUT_NORMS).type


@pytest.fixture
def plain(tiny_mixtral, texts) -> RunRequest:
    return RunRequest(model=str(tiny_mixtral), dataset=str(texts), num_samples=12, max_length=40)


@pytest.fixture
def paths(tmp_path) -> Paths:
    return Paths(tmp_path / "home")


def landed(paths: Paths, run_id: str) -> pa.Table:
    return Events.in_file(Lake(paths.lake).shard_file("events", run_id, 0)).table()


def problems(paths: Paths, run_id: str) -> list:
    return verify(Lake(paths.lake), run_id)


def test_norms_land_beside_the_same_events_and_make_another_run(plain, paths):
    run = capture.capture(plain, paths).run_id
    with_norms = capture.capture(replace(plain, output_norms=True), paths).run_id
    assert run != with_norms
    events, more = landed(paths, run), landed(paths, with_norms)
    assert events.schema == EVENTS and more.schema == EVENTS_WITH_NORMS
    assert more.select(EVENTS.names).equals(events)
    norms = np.array(more[OUTPUT_NORMS].to_pylist())
    assert norms.shape == np.array(more["experts"].to_pylist()).shape
    assert (norms > 0).all()
    records = Lake(paths.lake).runs()
    assert (records[run]["output_norms"], records[with_norms]["output_norms"]) == (None, True)
    assert not problems(paths, run) and not problems(paths, with_norms)


def test_a_run_without_norms_has_no_column_of_them_in_its_files(plain, paths):
    run = capture.capture(plain, paths).run_id
    path = Lake(paths.lake).shard_file("events", run, 0)
    assert pq.read_schema(path).names == EVENTS.names


def test_generated_tokens_have_norms_too(plain, paths):
    request = replace(plain, generate=6, output_norms=True)
    run = capture.capture(request, paths).run_id
    assert landed(paths, run)[OUTPUT_NORMS].null_count == 0
    assert not problems(paths, run)


def test_a_damaged_shard_is_captured_again_byte_for_byte(plain, paths):
    run = capture.capture(replace(plain, output_norms=True), paths).run_id
    path = Lake(paths.lake).shard_file("events", run, 0)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert problems(paths, run)
    assert verify_runs(run, paths, repair=True)[1]
    assert path.read_bytes() == content


def test_a_longer_run_takes_norms_over_and_one_without_takes_no_run_with_norms(plain, paths):
    capture.capture(replace(plain, output_norms=True), paths)
    longer = replace(plain, num_samples=20, output_norms=True)
    run = capture.capture(longer, paths).run_id
    assert landed(paths, run).schema == EVENTS_WITH_NORMS
    assert landed(paths, capture.capture(plain, paths).run_id).schema == EVENTS


def test_norms_that_a_run_lacks_or_does_not_have_break_a_law(plain, paths):
    lake = Lake(paths.lake)
    run = capture.capture(plain, paths).run_id
    with_norms = capture.capture(replace(plain, output_norms=True), paths).run_id
    samples = read_table(lake.shard_file("samples", run, 0), SAMPLES)
    more = landed(paths, with_norms)
    with pytest.raises(BrokenLaw, match="events with output_norms, unlike their run"):
        lake.land_shard(run, 0, samples, Events.of(more))
    with pytest.raises(BrokenLaw, match="events without output_norms, unlike their run"):
        lake.land_shard(with_norms, 0, samples, Events.of(landed(paths, run)))
    for first, message in (
        (None, "norms are not null where an expert did not run, and only there"),
        (-1.0, "the norm of an expert's output is negative or not finite"),
        (float("inf"), "the norm of an expert's output is negative or not finite"),
    ):
        lists = more[OUTPUT_NORMS].to_pylist()
        lists[5][0] = first
        wrong = more.set_column(len(EVENTS), OUTPUT_NORMS, pa.array(lists, NORMS)).cast(more.schema)
        with pytest.raises(BrokenLaw, match=message):
            lake.land_shard(with_norms, 0, samples, Events.of(wrong))
    assert not problems(paths, run) and not problems(paths, with_norms)


def test_a_model_that_shows_no_outputs_is_refused_at_once(plain, paths, tmp_path):
    save("jetmoe", tmp_path / "jetmoe")
    request = replace(plain, model=str(tmp_path / "jetmoe"), max_length=20, output_norms=True)
    with pytest.raises(GatehouseError, match=r"^--output-norms: jetmoe applies .*: leave it out"):
        capture.capture(request, paths)
    assert not paths.lake.exists() and not paths.prepared.exists()
    assert capture.capture(replace(request, output_norms=False), paths).tokens


@pytest.mark.parametrize("first", [True, False])
def test_runs_with_and_without_norms_are_built_together(plain, paths, first):
    """DuckDB takes the columns of a list of files from the first of them."""
    for output_norms in (first, not first):
        capture.capture(replace(plain, output_norms=output_norms), paths)
    if first:
        build.build(paths)
    else:
        build_of(paths, "dim_run", "stg_events", "fct_expert_saliency")
    with connect(paths) as connection:
        rows = connection.sql("select run_id, count(*) from events group by all").fetchall()
        assert len(rows) == 2 and len({events for _, events in rows}) == 1
        known = connection.sql("select has_output_norms from dim_run order by all").fetchall()
    assert known == [(False,), (True,)]
