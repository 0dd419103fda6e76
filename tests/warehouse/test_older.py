"""A lake of an earlier version is read as it is; tests of the marts hold such runs too."""

import pyarrow as pa
import pytest

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.events import Events
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.older import ADDED, completed, is_readable
from gatehouse.warehouse.records import READABLE_VERSIONS, RUNS
from gatehouse.warehouse.upkeep.verification import verify
from tests.older_lake import SCHEMAS, make_older, read_today
from tests.warehouse.conftest import RUN


@pytest.fixture(params=[3, 4])
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
    assert set(again.runs()) == {RUN, other} and again.finished_shards(RUN) == {0}


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
