"""A lake of an earlier version is read as it is; tests of the marts hold such runs too."""

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.events import Events
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.older import ADDED, completed, is_readable
from gatehouse.warehouse.records import EVENTS, LAKE_VERSION, READABLE_VERSIONS, RUNS
from gatehouse.warehouse.upkeep.verification import verify
from tests.older_lake import SCHEMAS, make_older, read_today
from tests.warehouse.conftest import RUN


@pytest.fixture(params=[3, 4, 5])
def older(request, lake, record, samples, events) -> Lake:
    """A lake whose files lack what those of its version lacked."""
    lake.land_shard(RUN, 0, samples, Events.of(events))
    make_older(lake, RUN, request.param)
    (lake.root / "VERSION").write_text(f"{request.param}\n")
    return Lake(lake.root)


def test_what_its_files_lack_is_filled_in(older, samples, layers):
    found = read_today(older, RUN)
    assert found["layers"].equals(layers)
    (row,) = found["runs"].to_pylist()
    assert (row["source"], row["source_files"], row["has_token_ids"]) == ("capture", None, True)
    assert found["samples"].schema.equals(samples.schema)
    assert found["samples"]["prompt_tokens"].equals(found["samples"]["tokens"])
    hashes = found["samples"]["document_sha256"].to_pylist()
    assert hashes == samples["text_sha256"].to_pylist()


def test_its_shards_keep_the_laws(older):
    """All that is wrong is made up: a sample that is not where the run's record says."""
    assert [problem.what for problem in verify(older, RUN)] == ["shard 0 begins at sample 0, not 1"]


def test_a_shard_lands_in_it_and_it_is_of_todays_version(older, record, layers, samples, events):
    vocabulary = pa.table({"token_id": [1], "token_str": ["a"], "is_special": [False]})
    other = "tiny-texts-9876543210"
    older.land_run(other, record, layers, vocabulary)
    older.land_shard(other, 0, samples, Events.of(events))
    again = Lake(older.root)
    assert set(again.runs()) == {RUN, other} and again.shards.finished(RUN) == {0}


def test_of_a_shard_that_lands_again_the_record_file_holds(older, samples, events):
    """And the lake says that an earlier Gatehouse cannot read it."""
    (earlier,) = older.shards.recorded(RUN).values()
    table, record_file = older.file("shards", RUN), older.shard_file("shards", RUN, 0)
    assert older.shards.record_files(RUN) == [table] and older.shards.finished(RUN) == {0}
    older.land_shard(RUN, 0, samples, Events.of(events), seconds=7.5)
    assert (older.root / "VERSION").read_text() == f"{LAKE_VERSION}\n"
    again = Lake(older.root)
    (row,) = again.shards.recorded(RUN).values()
    assert row["seconds"] == 7.5 and row["events_sha256"] != earlier["events_sha256"]
    assert again.shards.finished(RUN) == {0}
    assert again.shards.record_files(RUN) == [table, record_file]
    assert again.shards.has_landed(RUN, 0) and not again.shards.has_landed(RUN, 1)
    record_file.unlink()
    # the earlier table tells of the file that was there before
    assert again.shards.finished(RUN) == set() and not again.shards.has_landed(RUN, 0)


def test_narrow_and_wide_weights_are_the_same_events(older, samples, events):
    older.land_shard(RUN, 1, samples, Events.of(events))
    narrow, wide = (older.shard_file("events", RUN, shard) for shard in (0, 1))
    for path, kind in ((narrow, pa.float16()), (wide, pa.float32())):
        assert pq.ParquetFile(path).schema_arrow.field("weights").type == pa.list_(kind)
        assert Events.in_file(path).table().equals(events)
    for files in ([narrow, wide], [wide, narrow]):
        both = duckdb.read_parquet([str(path) for path in files])
        assert str(both.types[both.columns.index("weights")]) == "FLOAT[]"
        assert len(both.distinct()) == events.num_rows


def test_weights_land_as_float16_values(lake, samples, events):
    rows = [row | {"weights": [0.7, 0.3]} for row in events.to_pylist()]
    lake.land_shard(RUN, 0, samples, Events.of(pa.Table.from_pylist(rows, schema=EVENTS)))
    landed = Events.in_file(lake.shard_file("events", RUN, 0)).table()["weights"].to_pylist()
    assert landed == [np.array([0.7, 0.3], np.float16).tolist()] * len(rows)


@pytest.mark.parametrize("version", [READABLE_VERSIONS.start - 1, READABLE_VERSIONS.stop])
def test_other_versions_are_refused(tmp_path, version):
    (tmp_path / "VERSION").write_text(f"{version}\n")
    with pytest.raises(GatehouseError, match=rf"version {version}, .* reads versions 3 to \d"):
        Lake(tmp_path)


def test_only_what_was_added_may_be_missing():
    for schema in SCHEMAS.values():
        added = next(columns for table, columns in ADDED if table is schema)
        for field in schema:
            rest = pa.schema([each for each in schema if each.name != field.name])
            assert is_readable(rest, schema) == (field.name in added)
            if field.name in added:
                assert completed(rest.empty_table(), schema).schema.equals(schema)
    assert not is_readable(pa.schema([*RUNS, ("more", pa.int8())]), RUNS)
