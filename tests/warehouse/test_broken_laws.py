"""A broken law says what is broken and in which file, and verification reads both."""

import math
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gatehouse.warehouse.errors import BrokenLaw
from gatehouse.warehouse.events import Events, write_events
from gatehouse.warehouse.integrity import checked_events
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.records import EVENTS, LAKE_VERSION, SAMPLES, SHARDS
from gatehouse.warehouse.tables import read_table
from gatehouse.warehouse.upkeep.health import CAPTURE, RECORD, Problem
from gatehouse.warehouse.upkeep.verification import verify
from tests.warehouse.conftest import RUN, event_row, sample_row

DAMAGED = f"is damaged or missing: `gatehouse verify {RUN} --repair` mends it"
FOREIGN = (
    "does not have the columns that this Gatehouse reads: it is not of lake version 3 to "
    f"{LAKE_VERSION}; name another folder with --home or GATEHOUSE_HOME"
)
LOST = (
    "9 events for 5 tokens in 2 MoE layers; landed shards are untouched, please report this model"
)


def test_a_damaged_file_is_told_apart_from_its_law(lake):
    path = lake.file("shards", RUN)
    with pytest.raises(BrokenLaw) as caught:
        read_table(path, SHARDS)
    assert (caught.value.path, caught.value.law) == (path, DAMAGED)
    assert str(caught.value) == f"{path} {DAMAGED}"


def test_a_foreign_file_is_told_apart_from_its_law(tmp_path):
    path = tmp_path / "shard-00000.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(BrokenLaw) as caught:
        Events.in_file(path).table()
    assert (caught.value.path, caught.value.law) == (path, FOREIGN)
    assert str(caught.value) == f"{path} {FOREIGN}"


def test_a_shard_that_may_not_land_has_a_law_and_no_path(lake, samples, events):
    with pytest.raises(BrokenLaw) as caught:
        lake.land_shard(RUN, 0, samples, Events.of(events.slice(1)))
    assert (caught.value.path, caught.value.law) == (None, LOST)
    assert str(caught.value) == f"refused to land a shard: {LOST}"


def test_one_of_a_kind_is_singular_in_a_law(layers):
    sample = pa.Table.from_pylist([sample_row(0, 1)], schema=SAMPLES)
    layer, event = layers.slice(0, 1), event_row(1, 0, 0)
    with pytest.raises(BrokenLaw, match="land a shard: 0 events for 1 token in 1 MoE layer;"):
        list(checked_events(Events.of(EVENTS.empty_table()), sample, layer))
    events = pa.Table.from_pylist([event | {"entropy": math.nan}], schema=EVENTS)
    with pytest.raises(BrokenLaw, match="land a shard: entropy is not finite in 1 event;"):
        list(checked_events(Events.of(events), sample, layer))


def test_of_several_broken_laws_the_first_is_named_every_time(lake, samples, events):
    """Whatever order the words of a set have in this process."""
    rows = [row | {"entropy": math.nan, "confidence": math.nan} for row in events.to_pylist()]
    both = pa.Table.from_pylist(rows, schema=EVENTS)
    with pytest.raises(BrokenLaw, match="land a shard: entropy is not finite in 5 events;"):
        lake.land_shard(RUN, 0, samples, Events.of(both))


@pytest.mark.parametrize("named", [True, False])
def test_a_broken_law_passes_between_processes(tmp_path, named):
    error = BrokenLaw("breaks\nit", tmp_path / "a\nb" if named else None)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (str(copy), copy.law, copy.path) == (str(error), error.law, error.path)
    assert str(error).endswith(r"breaks\nit") and error.law == r"breaks\nit"


@pytest.mark.parametrize("name", ["lake", "a\tlake", "hf_" + "Marker0" * 5])
def test_a_damaged_table_of_shards_is_recorded_again_wherever_the_lake_is(lake, name):
    lake = Lake(lake.root.rename(lake.root.with_name(name)))
    lake.file("shards", RUN).parent.mkdir(parents=True)
    lake.file("shards", RUN).write_bytes(b"PAR1")
    (problem,) = verify(lake, RUN)
    assert problem.what.endswith(f"shards.parquet {DAMAGED}") and problem.cure == RECORD


def test_another_damaged_record_is_not_mended_by_recording(lake):
    path = lake.file("runs", RUN)
    path.write_bytes(b"PAR1")
    what = (
        f"{path} is damaged or missing: run the same `gatehouse capture` again, which writes it "
        f"anew, or remove the run with `gatehouse runs rm {RUN}`"
    )
    assert verify(lake, RUN) == [Problem(RUN, what, None)]


def test_a_shard_recorded_against_the_law_is_named_with_it(lake, samples, events):
    lake.land_shard(RUN, 0, samples, Events.of(events))
    write_events(lake.shard_file("events", RUN, 0), Events.of(events.slice(1)))
    lake.shards.record(RUN, 0, samples, 9)
    assert verify(lake, RUN)[0] == Problem(RUN, f"shard 0 breaks a law: {LOST}", CAPTURE, 0)


def test_a_shard_recorded_damaged_is_named_with_its_file(lake, samples, events):
    lake.land_shard(RUN, 0, samples, Events.of(events))
    path = lake.shard_file("events", RUN, 0)
    path.write_bytes(b"PAR1")
    lake.shards.record(RUN, 0, samples, 10)
    what = f"shard 0 breaks a law: {path} {DAMAGED}"
    assert verify(lake, RUN)[0] == Problem(RUN, what, CAPTURE, 0)
