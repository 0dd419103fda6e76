"""A shard is in the lake whole and true, or not at all."""

import errno
import hashlib
import json
import math
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.events import Events
from gatehouse.warehouse.files import cannot_write, write_atomically, write_folder_atomically
from gatehouse.warehouse.integrity import COLLAPSED_TOKENS
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.records import EVENTS, LAKE_VERSION, RUNS, SAMPLES, VOCABULARY
from gatehouse.warehouse.tables import check_table, read_table
from gatehouse.warehouse.upkeep.verification import RUN_TABLES, verify
from tests.warehouse.conftest import event_row, sample_row, table_file

RUN = "tiny-texts-0123456789"


def files_under(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def shard_path(lake: Lake, table: str = "events"):
    return lake.root / table / f"run_id={RUN}" / "shard-00000.parquet"


def test_a_landed_shard_reads_back_row_for_row(lake, samples, events):
    lake.land_shard(RUN, 0, samples, Events.of(events))
    assert pq.read_table(shard_path(lake), partitioning=None).equals(events)
    assert pq.read_table(shard_path(lake, "samples"), partitioning=None).equals(samples)
    assert lake.shards.finished(RUN) == {0}
    assert lake.shards.tokens(RUN) == (5, 0)


def test_the_layout_is_one_row_group_a_layer_with_checksums(lake, samples, events):
    lake.land_shard(RUN, 0, samples, Events.of(events))
    file = pq.ParquetFile(shard_path(lake), page_checksum_verification=True)
    layers = [set(file.read_row_group(i)["layer"].to_pylist()) for i in range(file.num_row_groups)]
    assert layers == [{1}, {3}]
    group = file.metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert "BYTE_STREAM_SPLIT" in columns["entropy"].encodings
    assert "RLE_DICTIONARY" not in columns["weights.list.element"].encodings
    assert {column.compression for column in columns.values()} == {"ZSTD"}


def test_landing_twice_is_landing_once(lake, samples, events):
    lake.land_shard(RUN, 0, samples, Events.of(events))
    before = shard_path(lake).read_bytes()
    lake.land_shard(RUN, 0, samples, Events.of(events))
    assert shard_path(lake).read_bytes() == before
    assert [name for name in files_under(lake.root) if "tmp" in name] == []


def altered(events: pa.Table, column: str, row: int, value) -> pa.Table:
    rows = events.to_pylist()
    rows[row][column] = value
    return pa.Table.from_pylist(rows, schema=EVENTS)


BROKEN = {
    "a row too few": lambda e: e.slice(1),
    "a row twice": lambda e: pa.concat_tables([e, e.slice(0, 1)]),
    "one row in place of another": lambda e: pa.concat_tables([e.slice(0, 9), e.slice(8, 1)]),
    "two samples swapped": lambda e: e.take([3, 4, 0, 1, 2, *range(5, 10)]).take(
        [2, 3, 4, 1, 0, *range(5, 10)]
    ),
    "NaN entropy": lambda e: altered(e, "entropy", 4, float("nan")),
    "infinite confidence": lambda e: altered(e, "confidence", 4, float("inf")),
    "entropy above ln E": lambda e: altered(e, "entropy", 0, 1.5),
    "negative entropy": lambda e: altered(e, "entropy", 0, -0.1),
    "confidence below 1/E": lambda e: altered(e, "confidence", 0, 0.2),
    "expert out of range": lambda e: altered(e, "experts", 2, [2, 4]),
    "one expert twice": lambda e: altered(e, "experts", 2, [3, 3]),
    "a negative weight": lambda e: altered(e, "weights", 2, [0.5, -0.5]),
    "a NaN weight": lambda e: altered(e, "weights", 2, [0.5, float("nan")]),
    "an expert too few": lambda e: altered(e, "experts", 2, [3]),
    "a wrong top expert": lambda e: altered(e, "top_expert", 2, 0),
    "an unknown layer": lambda e: altered(e, "layer", 0, 2),
    "an unknown sample": lambda e: altered(e, "sample_id", 0, 7),
    "a position skipped": lambda e: altered(e, "position", 2, 3),
    "a missing entropy": lambda e: altered(e, "entropy", 0, None),
}


@pytest.mark.parametrize("defect", BROKEN)
def test_events_that_break_a_law_are_refused_and_nothing_is_written(lake, samples, events, defect):
    before = files_under(lake.root)
    with pytest.raises(GatehouseError, match="refused to land") as caught:
        lake.land_shard(RUN, 0, samples, Events.of(BROKEN[defect](events)))
    assert "\n" not in str(caught.value)
    assert files_under(lake.root) == before


def like_a_dense_layer(events: pa.Table, layer: int, *, entropies: bool) -> pa.Table:
    """Return the events with one layer's ids and weights all equal, and its entropies if asked."""
    rows = events.to_pylist()
    for row in (row for row in rows if row["layer"] == layer):
        row |= {"experts": [0, 1], "weights": [0.5, 0.5], "top_expert": 0}
        row |= {"entropy": math.log(4)} if entropies else {}
    return pa.Table.from_pylist(rows, schema=EVENTS)


def test_a_layer_that_gives_every_token_the_same_answer_is_refused(lake, samples, events):
    constant = like_a_dense_layer(events, 3, entropies=True)
    with pytest.raises(GatehouseError, match="layer 3 sent every token to expert 0 and 1: that is"):
        lake.land_shard(RUN, 0, samples, Events.of(constant))


def test_a_few_tokens_may_agree_by_chance_and_many_may_not(lake, layers):
    def shard(tokens: int) -> tuple[pa.Table, Events]:
        rows = [event_row(layer, 0, position) for layer in (1, 3) for position in range(tokens)]
        for row in rows:
            row["entropy"] = math.log(4) * (row["position"] % 7 + 1) / 7
        table = pa.Table.from_pylist(rows, schema=EVENTS)
        samples = pa.Table.from_pylist([sample_row(0, tokens)], schema=SAMPLES)
        return samples, Events.of(like_a_dense_layer(table, 1, entropies=False))

    lake.land_shard(RUN, 0, *shard(COLLAPSED_TOKENS - 1))
    with pytest.raises(GatehouseError, match="layer 1 sent every token to expert 0 and 1"):
        lake.land_shard(RUN, 1, *shard(COLLAPSED_TOKENS))


def test_one_token_over_and_over_may_be_routed_alike(lake, events, samples):
    constant = like_a_dense_layer(events, 3, entropies=True)
    token = pa.array([7] * constant.num_rows, pa.int32())
    lake.land_shard(RUN, 0, samples, Events.of(constant.set_column(2, "token_id", token)))
    assert lake.shards.finished(RUN) == {0}


def test_a_shard_of_empty_samples_lands_empty(lake):
    empty = pa.Table.from_pylist([], schema=SAMPLES)
    lake.land_shard(RUN, 0, empty, Events.of(EVENTS.empty_table()))
    assert lake.shards.finished(RUN) == {0} and lake.shards.tokens(RUN) == (0, 0)


def test_a_truncated_shard_is_not_taken_for_finished(lake, samples, events):
    lake.land_shard(RUN, 0, samples, Events.of(events))
    content = shard_path(lake).read_bytes()
    shard_path(lake).write_bytes(content[: len(content) // 2])
    assert lake.shards.finished(RUN) == set()


def test_a_shard_without_its_samples_is_not_taken_for_finished(lake, samples, events):
    lake.land_shard(RUN, 0, samples, Events.of(events))
    shard_path(lake, "samples").unlink()
    assert lake.shards.finished(RUN) == set()


@pytest.mark.parametrize("name", ["shard-00001.parquet", "shard-00000 copy.parquet"])
def test_a_file_that_nobody_recorded_is_no_shard(lake, samples, events, name):
    lake.land_shard(RUN, 0, samples, Events.of(events))
    for table in ("samples", "events"):
        path = shard_path(lake, table)
        path.with_name(name).write_bytes(path.read_bytes())
    assert lake.shards.finished(RUN) == {0} and lake.shards.tokens(RUN) == (5, 0)


def test_a_shard_is_recorded_with_what_its_files_hold(lake, samples, events):
    lake.land_shard(RUN, 0, samples, Events.of(events), seconds=2.5)
    (row,) = lake.shards.recorded(RUN).values()
    for table in ("samples", "events"):
        content = shard_path(lake, table).read_bytes()
        assert row.pop(f"{table}_bytes") == len(content)
        assert row.pop(f"{table}_sha256") == hashlib.sha256(content).hexdigest()
    assert row.pop("landed_at") is not None
    assert row == {
        "shard": 0,
        "first_sample": 0,
        "samples": 2,
        "tokens": 5,
        "dropped_tokens": 0,
        "events": 10,
        "seconds": 2.5,
    }


def test_a_foreign_file_in_the_lake_is_refused(lake):
    path = shard_path(lake)
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(GatehouseError, match="not have the columns that this Gatehouse reads"):
        Events.in_file(path).table()


def test_a_flipped_byte_is_noticed_when_the_file_is_read(lake, samples, events):
    lake.land_shard(RUN, 0, samples, Events.of(events))
    content = bytearray(shard_path(lake).read_bytes())
    content[20] ^= 1
    shard_path(lake).write_bytes(content)
    with pytest.raises(GatehouseError, match=r"shard-00000\.parquet is damaged"):
        Events.in_file(shard_path(lake)).table()


def test_a_damaged_record_of_a_shard_is_named_with_the_way_out(lake, samples, events):
    lake.land_shard(RUN, 0, samples, Events.of(events))
    path = lake.shard_file("shards", RUN, 0)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        GatehouseError, match=r"shard-00000\.parquet is damaged .*verify .* --repair"
    ):
        lake.shards.finished(RUN)


def test_a_run_whose_description_is_damaged_is_not_described(lake):
    assert lake.is_described(RUN)
    lake.file("vocabulary", RUN).write_bytes(b"PAR1")
    assert not lake.is_described(RUN)


def test_samples_without_events_are_a_shard_to_capture_again(lake, samples, events):
    """What a kill between the two renames leaves behind."""
    lake.land_shard(RUN, 0, samples, Events.of(events))
    shard_path(lake).unlink()
    assert lake.shards.finished(RUN) == set()
    assert lake.shards.tokens(RUN) == (0, 0)


def test_temporary_files_of_a_killed_process_are_not_shards(lake, samples, events):
    lake.land_shard(RUN, 0, samples, Events.of(events))
    leftover = shard_path(lake).with_name(".shard-00001.parquet.4242.tmp")
    leftover.write_bytes(b"half")
    assert lake.shards.finished(RUN) == {0}
    lake.locks.remove_leftovers(RUN)
    assert not leftover.exists() and lake.shards.finished(RUN) == {0}


def test_a_lake_of_another_version_is_refused_untouched(lake):
    (lake.root / "VERSION").write_text("99\n")
    before = files_under(lake.root)
    with pytest.raises(GatehouseError, match=f"version 99.* reads versions 3 to {LAKE_VERSION}"):
        Lake(lake.root)
    assert files_under(lake.root) == before


@pytest.mark.parametrize("left", [b"", b"\0\0", b"\xb3\n", b"4\n\0"])
def test_a_damaged_version_is_not_that_of_another_lake(lake, record, left):
    """What a crash of the machine leaves: the tables show of which version they are."""
    (lake.root / "VERSION").write_bytes(left)
    assert Lake(lake.root).run_record(RUN) == record


def test_what_is_no_folder_of_a_run_is_no_run(lake):
    (lake.root / "events").mkdir()
    names = {f"run_id={RUN} (copy)", f"run_id={RUN}.bak", f"Copy of run_id={RUN}", "run_id=file"}
    for name in sorted(names - {"run_id=file"}):
        (lake.root / "events" / name).mkdir()
    (lake.root / "events" / "run_id=file").write_text("")
    (lake.root / "events" / ".DS_Store").write_text("")
    assert lake.run_ids() == list(lake.runs()) == [RUN]
    assert {path.name for path in lake.strangers()} == names


@pytest.mark.parametrize("table", ["runs", "layers", "vocabulary", "shards"])
def test_a_table_of_another_run_is_noticed(lake, record, samples, events, table):
    vocabulary = read_table(lake.file("vocabulary", RUN), VOCABULARY)
    lake.land_run("other", record, lake.layers(RUN), vocabulary)
    for run_id in (RUN, "other"):
        lake.land_shard(run_id, 0, samples, Events.of(events))
    path, other = (table_file(lake, table, run_id) for run_id in (RUN, "other"))
    path.write_bytes(other.read_bytes())
    (problem,) = verify(lake, RUN)
    assert f"{path} is that of run_id=other/{path.name}: " in problem.what
    with pytest.raises(GatehouseError, match=f"{path.name} is that of run_id=other"):
        check_table(path)


@pytest.mark.parametrize("table", ["runs", "layers", "vocabulary", "shards"])
def test_no_flipped_byte_of_a_small_table_goes_unnoticed(lake, samples, events, table):
    """Nor in its footer, which has no checksum of its own."""
    lake.land_shard(RUN, 0, samples, Events.of(events))
    path, schema = table_file(lake, table), RUN_TABLES[table]
    content = path.read_bytes()
    for place in range(0, len(content), 11):
        altered = bytearray(content)
        altered[place] ^= 1 << place % 8
        path.write_bytes(altered)
        with pytest.raises(GatehouseError):
            read_table(path, schema)
    path.write_bytes(content)
    read_table(path, schema)


def test_a_table_of_an_earlier_gatehouse_is_read_by_the_hash_of_its_rows(lake, record):
    path, seal = lake.file("runs", RUN), b"gatehouse_rows_sha256"
    table = pa.Table.from_pylist([record], schema=RUNS)
    rows = json.dumps([table.column_names, table.to_pylist()], default=str)
    for digest in (hashlib.sha256(rows.encode()).hexdigest(), "0" * 64):
        pq.write_table(table.replace_schema_metadata({seal: digest}), path)
        assert lake.is_readable(RUN) == (digest != "0" * 64)


def test_runs_are_listed_by_start_and_read_back(lake, record):
    later = record | {"started_at": record["started_at"].replace(year=2027)}
    earlier = record | {"started_at": record["started_at"].replace(year=2025)}
    for name, values in (("b-later", later), ("c-earlier", earlier)):
        lake.land_run(name, values, lake.layers(RUN), VOCABULARY.empty_table())
    assert list(lake.runs()) == ["c-earlier", RUN, "b-later"]
    assert lake.run_record(RUN) == record
    assert lake.run_record("no-such-run") is None


def test_a_run_whose_record_is_not_text_leaves_nothing(lake, record):
    with pytest.raises(UnicodeEncodeError):
        odd = record | {"dataset": "/texts/\udcff.jsonl"}
        lake.land_run("odd", odd, lake.layers(RUN), VOCABULARY.empty_table())
    assert lake.run_ids() == [RUN] and not list(lake.root.glob("**/*odd*"))


def test_updating_a_run_keeps_everything_else(lake, record):
    lake.update_run(RUN, record | {"capture_seconds": 9.0})
    assert lake.run_record(RUN) == record | {"capture_seconds": 9.0}


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    def fill(temporary):
        temporary.write_bytes(b"a part")
        with open("/dev/full", "wb", buffering=0) as full:
            full.write(b"x")

    with pytest.raises(GatehouseError, match=r"cannot write .*No space left.* run the same"):
        write_atomically(tmp_path / "file", fill)
    assert files_under(tmp_path) == []


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, lambda temporary: temporary.write_text("old"))

    def fail(temporary):
        temporary.write_text("new")
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(GatehouseError, match="Input/output error"):
        write_atomically(path, fail)
    assert path.read_text() == "old" and files_under(tmp_path) == ["file"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "in-the-way").write_text("a file")
    with pytest.raises(GatehouseError, match="cannot write"):
        write_atomically(tmp_path / "in-the-way" / "file", lambda path: path.write_text("x"))


def test_a_folder_appears_whole_in_place_of_another_or_not_at_all(tmp_path):
    def fill(folder: Path) -> None:
        (folder / "inner").mkdir(parents=True)
        (folder / "inner" / "file").write_text("new")

    def fail(folder: Path) -> None:
        fill(folder)
        raise OSError(errno.ENOSPC, "no space left")

    target = tmp_path / "new" / "folder"
    write_folder_atomically(target, fill)
    (target / "old").write_text("of an earlier export")
    with pytest.raises(GatehouseError, match="make room"):
        write_folder_atomically(target, fail)
    assert (target / "old").exists() and [each.name for each in target.parent.iterdir()] == [
        "folder"
    ]
    # a writer that was killed
    (target.parent / f".folder.{2**22 + 1}.tmp" / "inner").mkdir(parents=True)
    write_folder_atomically(target, fill)
    assert [each.name for each in target.rglob("*")] == ["inner", "file"]
    assert [each.name for each in target.parent.iterdir()] == ["folder"]
    with pytest.raises(GatehouseError, match="is no folder: name a new or an empty folder"):
        write_folder_atomically(target / "inner" / "file", fill)


@pytest.mark.parametrize(
    ("number", "way_out"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "make room"),
        (errno.EROFS, "make it writable"),
        (errno.EACCES, "make it writable"),
        (errno.ENOTDIR, "move away what is in its place"),
        (errno.EIO, "put that right"),
    ],
)
def test_room_is_asked_for_only_on_a_full_disk(number, way_out):
    message = str(cannot_write(Path("/a"), OSError(number, os.strerror(number))))
    assert f"{os.strerror(number)}; {way_out} or name another place for it" in message
    assert ("room" in message) == (way_out == "make room")
