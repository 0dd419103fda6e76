"""The file of samples: shards, bounded memory, damage, split files."""

import json
import weakref
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gatehouse.ingest.corpora import read_corpus
from gatehouse.ingest.prepare import SHARD_SAMPLES, prepare, read_shard, shard_count
from gatehouse.ingest.rows import Document
from gatehouse.ingest.samples_file import COLUMNS, holds_chats, write_splits
from gatehouse.warehouse.records import SPLITS, Sample


def numbered(count: int) -> list[str]:
    return [f"text {index}" for index in range(count)]


def write_texts(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def test_a_shard_is_a_row_group_of_the_stated_schema(lines: Path, tmp_path: Path) -> None:
    path = prepare(str(lines), folder=tmp_path / "out").path
    assert path.parent.name.startswith("lines-jsonl-")
    assert pq.read_schema(path).equals(COLUMNS)
    assert shard_count(path) == 2
    assert [len(read_shard(path, shard)) for shard in range(2)] == [SHARD_SAMPLES, 488]
    assert read_shard(path, 1)[0].sample_id == SHARD_SAMPLES
    for shard in (-1, 2):
        with pytest.raises(IndexError, match=f"has 2 shards, and no shard {shard}$"):
            read_shard(path, shard)


def test_memory_holds_two_shards_at_most(give, tmp_path: Path) -> None:
    class Text(str):
        """A string that can be watched."""

    alive: weakref.WeakSet[Text] = weakref.WeakSet()
    most = 0

    def documents() -> Iterator[Document]:
        nonlocal most
        for index in range(6 * SHARD_SAMPLES):
            text = Text(f"text {index}")
            alive.add(text)
            most = max(most, len(alive))
            yield Document(str(index), "d", text)

    give(documents())
    assert prepare("pydoc", folder=tmp_path).num_samples == 6 * SHARD_SAMPLES
    assert SHARD_SAMPLES <= most <= 2 * SHARD_SAMPLES + 2


def test_a_damaged_file_is_refused_and_made_anew(tmp_path: Path, refuses) -> None:
    source = write_texts(tmp_path / "corpus.jsonl", numbered(10))
    first = prepare(str(source), folder=tmp_path / "out")
    content = first.path.read_bytes()
    first.path.write_bytes(content[: len(content) // 2])
    for read in (shard_count, partial(read_shard, shard=0)):
        with refuses(str(first.path), "prepare the dataset again"):
            read(first.path)
    assert prepare(str(source), folder=tmp_path / "out") == first
    assert first.path.read_bytes() == content


def test_a_flipped_byte_is_noticed(lines: Path, tmp_path: Path, refuses, samples_of):
    path = prepare(str(lines), folder=tmp_path / "out").path
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 0xFF
    path.write_bytes(content)
    with refuses(str(path), "damaged"):
        samples_of(path)


def test_split_files_part_the_samples_and_can_be_read_as_corpora(
    lines: Path, tmp_path: Path, samples_of
) -> None:
    prepared = prepare(str(lines), folder=tmp_path / "out", create_splits=True)
    samples = samples_of(prepared.path)
    for split in SPLITS:
        path = prepared.path.with_name(f"{split}.parquet")
        own = [sample for sample in samples if sample.split == split]
        assert samples_of_splits(path) == own
        documents = list(read_corpus(str(path)).documents)
        texts = [(sample.name, sample.domain, sample.text) for sample in own]
        assert [document[:3] for document in documents] == texts
    inode = path.stat().st_ino
    assert prepare(str(lines), folder=tmp_path / "out", create_splits=True) == prepared
    assert path.stat().st_ino == inode
    again = prepare(str(prepared.path.with_name("test.parquet")), folder=tmp_path / "out")
    assert {sample.split for sample in samples_of(again.path)} == {"test"}


def samples_of_splits(path: Path) -> list[Sample]:
    return [Sample(**row) for row in pq.read_table(path).to_pylist()]


def test_a_split_without_samples_is_an_empty_file(tmp_path: Path, refuses, samples_of):
    source = write_texts(tmp_path / "corpus.jsonl", ["one"])
    prepared = prepare(str(source), folder=tmp_path / "out", create_splits=True)
    (only,) = samples_of(prepared.path)
    empty = next(split for split in SPLITS if split != only.split)
    path = prepared.path.with_name(f"{empty}.parquet")
    assert list(read_corpus(str(path)).documents) == []
    with refuses(str(path), "holds no text"):
        prepare(str(path), folder=tmp_path / "out")


def test_long_texts_close_a_shard_early(give, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr("gatehouse.ingest.samples_file.SHARD_CHARACTERS", 100)
    lengths = [40, 40, 40, 300, 1, 99, 5]
    give(Document(str(index), "d", "x" * length) for index, length in enumerate(lengths))
    path = prepare("pydoc", folder=tmp_path).path
    shards = [[len(s.text) for s in read_shard(path, n)] for n in range(shard_count(path))]
    assert shards == [[40, 40, 40], [300], [1, 99], [5]]


def test_a_split_that_is_damaged_is_written_anew(lines: Path, tmp_path: Path) -> None:
    prepared = prepare(str(lines), folder=tmp_path / "out", create_splits=True)
    train = prepared.path.with_name("train.parquet")
    content = train.read_bytes()
    train.write_bytes(content[: len(content) // 2])
    assert prepare(str(lines), folder=tmp_path / "out", create_splits=True) == prepared
    assert train.read_bytes() == content


def test_a_file_of_an_earlier_version_has_no_chats(lines: Path, tmp_path: Path, samples_of):
    prepared = prepare(str(lines), folder=tmp_path / "out")
    samples = samples_of(prepared.path)
    with pq.ParquetFile(prepared.path) as file:
        groups = [file.read_row_group(shard) for shard in range(file.num_row_groups)]
    older = groups[0].drop_columns(["is_chat"])
    with pq.ParquetWriter(prepared.path, older.schema) as writer:
        for group in groups:
            writer.write_table(group.drop_columns(["is_chat"]))
    assert samples_of(prepared.path) == samples and not holds_chats(prepared.path)
    write_splits(prepared.path)
    assert not holds_chats(prepared.path.with_name("train.parquet"))
