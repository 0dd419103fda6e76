"""Prepared datasets: kept, found again, and either whole or absent."""

import json
import shutil
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gatehouse.ingest import corpora, hub
from gatehouse.ingest import prepare as module
from gatehouse.ingest.corpora import Corpus
from gatehouse.ingest.fields import Fields
from gatehouse.ingest.hub import HubDataset
from gatehouse.ingest.prepare import kept, prepare, read_shard
from gatehouse.ingest.pydoc import read_pydoc
from gatehouse.ingest.rows import Broken, Document
from gatehouse.warehouse.errors import GatehouseError
from tests.conftest import files_of_at_most


def write_lines(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(line + "\n" for line in lines))
    return path


def write_texts(path: Path, texts: list[str]) -> Path:
    return write_lines(path, [json.dumps({"text": text}) for text in texts])


def numbered(count: int) -> list[str]:
    return [f"text {index}" for index in range(count)]


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def fake_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that stands for c4's repository: `datasets` takes it for owner/name."""
    repository = tmp_path / "fake" / "c4"
    (repository / "data").mkdir(parents=True)
    (repository / "README.md").write_text("---\nlicense: odc-by\n---\n")
    texts = ["", *numbered(40)]
    pq.write_table(pa.table({"text": texts, "url": texts}), repository / "data/train-00000.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(hub.HUB_DATASETS, "c4", HubDataset("fake/c4"))
    return repository


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, GatehouseError, OSError])
def test_a_stop_in_mid_stream_leaves_no_file(give, tmp_path: Path, error) -> None:
    def documents() -> Iterator[Document]:
        for index in range(700):
            yield Document(str(index), "d", "text")
        assert files_under(tmp_path)
        raise error("stopped")

    give(documents())
    with pytest.raises((error, GatehouseError)):
        prepare("pydoc", folder=tmp_path)
    assert files_under(tmp_path) == []


def test_only_a_changed_corpus_gets_another_file(tmp_path: Path, samples_of):
    source = write_texts(tmp_path / "corpus.jsonl", numbered(10))
    first = prepare(str(source), folder=tmp_path / "out")
    inode = first.path.stat().st_ino
    assert prepare(str(source), folder=tmp_path / "out") == first
    assert first.path.stat().st_ino == inode
    write_texts(source, [*numbered(9), "changed"])
    second = prepare(str(source), folder=tmp_path / "out")
    assert second.path != first.path
    assert samples_of(first.path)[-1].text == "text 9"
    assert samples_of(second.path)[-1].text == "changed"


def test_pydoc_is_prepared_from_the_running_python(
    stdlib: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples_of
) -> None:
    monkeypatch.setattr(corpora, "read_pydoc", partial(read_pydoc, stdlib))
    prepared = prepare("pydoc", num_samples=5, folder=tmp_path / "out")
    expected = [name for name, *_ in read_pydoc(stdlib)][:5]
    assert [sample.name for sample in samples_of(prepared.path)] == expected
    assert prepared.dataset == "pydoc"
    assert prepare("pydoc", num_samples=5, folder=tmp_path / "out") == prepared
    assert not list(tmp_path.rglob("prepared.json"))


def test_a_hub_dataset_is_read_once_and_then_found(
    fake_hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses, samples_of
) -> None:
    first = prepare("c4", num_samples=10, folder=tmp_path / "out")
    assert [sample.text for sample in samples_of(first.path)] == numbered(10)
    assert (first.dataset, first.skipped_empty) == ("c4", 1)
    assert samples_of(first.path)[0].domain == "c4"

    def no_network(name: str, **reading: object) -> Corpus:
        raise GatehouseError("no network")

    monkeypatch.setattr(module, "read_corpus", no_network)
    assert prepare("c4", num_samples=10, folder=tmp_path / "out") == first
    splits = prepare("c4", num_samples=10, folder=tmp_path / "out", create_splits=True)
    assert splits.path.with_name("train.parquet").exists()
    for other in ({"num_samples": 11}, {"num_samples": 10, "first_sample": 1}):
        with refuses("no network"):
            prepare("c4", folder=tmp_path / "out", **other)
    first.path.write_bytes(b"damaged")
    with refuses("no network"):
        prepare("c4", num_samples=10, folder=tmp_path / "out")


def test_a_hub_dataset_that_ended_serves_every_greater_number(
    fake_hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses
) -> None:
    first = prepare("c4", num_samples=50, folder=tmp_path / "out")
    assert first.num_samples == 40
    (memory,) = tmp_path.rglob("prepared.json")
    other = tmp_path / "out" / "other"
    other.mkdir()
    (other / "prepared.json").write_text("{ not JSON")

    def no_network(name: str, **reading: object) -> Corpus:
        raise GatehouseError("no network")

    monkeypatch.setattr(module, "read_corpus", no_network)
    for num_samples in (40, 50, 60):
        assert prepare("c4", num_samples=num_samples, folder=tmp_path / "out") == first
    with refuses("no network"):
        prepare("c4", num_samples=39, folder=tmp_path / "out")
    memory.unlink()
    with refuses("no network"):
        prepare("c4", num_samples=50, folder=tmp_path / "out")


def test_numbers_out_of_range_are_refused(lines: Path, tmp_path: Path, refuses) -> None:
    for numbers in ({"num_samples": 0}, {"num_samples": -5}, {"first_sample": -1}):
        with refuses(*numbers):
            prepare(str(lines), folder=tmp_path / "out", **numbers)
    with refuses("1,000 samples", "below 1,000"):
        prepare(str(lines), first_sample=1_000, folder=tmp_path / "out")
    with refuses("holds no text"):
        prepare(str(write_lines(tmp_path / "blank.txt", ["", " "])), folder=tmp_path / "out")
    assert files_under(tmp_path / "out") == []


def test_a_broken_line_leaves_nothing_behind(tmp_path: Path, refuses) -> None:
    source = tmp_path / "corpus.jsonl"
    source.write_text('{"text": "a"}\n' * 600 + "{broken\n")
    with refuses("line 601"):
        prepare(str(source), folder=tmp_path / "out")
    assert files_under(tmp_path / "out") == []


def test_broken_lines_are_left_out_where_asked_for_and_named(tmp_path: Path, samples_of) -> None:
    source = tmp_path / "corpus.jsonl"
    source.write_bytes(b'{"text": "a"}\n{"text": "b",}\n\xff\n{"text": ""}\n[1]\n{"text": "z"}\n')
    prepared = prepare(str(source), folder=tmp_path / "out", skip_broken=True)
    assert [sample.text for sample in samples_of(prepared.path)] == ["a", "z"]
    assert (prepared.skipped_broken, prepared.skipped_empty) == (3, 1)
    broken, empty = prepared.left_out
    assert broken.startswith(f"left out 3 broken texts, the first: {source} line 2 is not JSON (")
    assert empty == "left out 1 empty sample"
    write_lines(source, ['{"text": "a"}', '{"text": "z"}'])
    assert prepare(str(source), folder=tmp_path / "out").left_out == []


def test_a_corpus_of_broken_lines_alone_is_refused_by_the_first(tmp_path: Path, refuses) -> None:
    source = write_lines(tmp_path / "corpus.jsonl", ["{", "[]"])
    with refuses("2 broken texts", "line 1 is not JSON", "another dataset"):
        prepare(str(source), folder=tmp_path / "out", skip_broken=True)
    assert files_under(tmp_path / "out") == []


def test_one_of_a_kind_is_singular_in_a_refusal(tmp_path: Path, refuses) -> None:
    source = write_lines(tmp_path / "corpus.jsonl", ["{"])
    with refuses(f"only 1 broken text: {source} line 1 is not JSON"):
        prepare(str(source), folder=tmp_path / "out", skip_broken=True)
    write_lines(source, ['{"text": "a"}'])
    with refuses("holds 1 sample, none from 1 on"):
        prepare(str(source), folder=tmp_path / "out", first_sample=1)


def test_a_hub_dataset_with_broken_rows_is_found_again_only_by_who_skips_them(
    fake_hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses
) -> None:
    rows = [Document("a", "d", "a"), Broken("row 1 is broken", "mend it"), Document("b", "d", "b")]
    monkeypatch.setattr(module, "read_corpus", lambda name, **_: Corpus(name, iter(rows), "commit"))
    first = prepare("c4", num_samples=2, folder=tmp_path / "out", skip_broken=True)
    assert first.left_out == ["left out 1 broken text: row 1 is broken"]
    with refuses("row 1 is broken: mend it", "--skip-broken"):
        prepare("c4", num_samples=2, folder=tmp_path / "out")
    monkeypatch.setattr(module, "read_corpus", lambda name, **_: pytest.fail("read again"))
    assert prepare("c4", num_samples=2, folder=tmp_path / "out", skip_broken=True) == first


def test_a_folder_that_cannot_be_written_is_refused(lines: Path, tmp_path: Path, refuses) -> None:
    (tmp_path / "file").write_text("not a folder")
    with refuses("cannot write", "GATEHOUSE_HOME"):
        prepare(str(lines), folder=tmp_path / "file" / "out")


def test_a_full_disk_is_refused_and_leaves_nothing(give, tmp_path: Path, refuses) -> None:
    digests = (sha256(str(index).encode()).hexdigest() for index in range(4_000))
    give(Document(digest, "d", digest) for digest in digests)
    with files_of_at_most(60_000), refuses("cannot write", "make room"):
        prepare("pydoc", folder=tmp_path)
    assert files_under(tmp_path) == []


def test_what_was_prepared_in_another_way_is_read_again(
    fake_hub: Path, tmp_path: Path, samples_of
) -> None:
    """Another field of documents, or a memory of a Gatehouse that did not know documents."""
    plain = prepare("c4", num_samples=10, folder=tmp_path / "out")
    by_url = prepare("c4", num_samples=10, folder=tmp_path / "out", fields=Fields(document="url"))
    assert by_url.path != plain.path
    assert [each.document for each in samples_of(by_url.path)] == numbered(10)
    memory = plain.path.with_name("prepared.json")
    record = json.loads(memory.read_text())
    memory.write_text(json.dumps({k: v for k, v in record.items() if k != "reading"}))
    assert prepare("c4", num_samples=10, folder=tmp_path / "out") == plain
    assert json.loads(memory.read_text()) == record


def test_files_of_other_formats_are_counted(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    for name in ("a.txt", "b.md", "c.png", "d.png"):
        (tmp_path / "corpus" / name).write_text("text\n")
    prepared = prepare(str(tmp_path / "corpus"), folder=tmp_path / "out")
    assert prepared.notes == [
        "opened 2 files: 1 .md, 1 .txt",
        "left out 2 files: 2 .png (c.png, d.png)",
    ]
    assert (prepared.num_samples, prepared.duplicates) == (2, 1)


def test_what_came_through_a_pipe_is_found_again(tmp_path: Path, monkeypatch) -> None:
    source = write_texts(tmp_path / "in.jsonl", [*numbered(3), "text 0"])
    with source.open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        first = prepare("-", folder=tmp_path / "out")
    asked = first.dataset, first.fingerprint, first.num_samples, first.first_sample
    assert kept(tmp_path / "out", *asked) == first
    assert (first.dataset, first.duplicates) == ("standard input", 1)
    assert kept(tmp_path / "out", first.dataset, "0" * 64, 4, 0) is None
    first.path.unlink()
    assert kept(tmp_path / "out", *asked) is None


@pytest.mark.parametrize("column", ["all", "text", "split"])
def test_other_samples_under_the_same_name_are_replaced(tmp_path: Path, column, refuses) -> None:
    """Those of another text, or with one column of them, under the hashes that were there."""
    own, other = (
        prepare(str(write_texts(tmp_path / name, numbered(count)[-9:])), folder=tmp_path / "out")
        for name, count in (("own.jsonl", 9), ("other.jsonl", 20))
    )
    content, table = own.path.read_bytes(), pq.ParquetFile(own.path).read()
    strange = pq.ParquetFile(other.path).read()
    if column == "all":
        own.path.write_bytes(other.path.read_bytes())
    else:
        place = table.schema.get_field_index(column)
        values = strange[column] if column == "text" else pa.array(["test"] * 9)
        pq.write_table(table.set_column(place, table.schema.field(place), values), own.path)
        with refuses(str(own.path), "prepare the dataset again"):
            read_shard(own.path, 0)
    asked = own.dataset, own.fingerprint, 9, 0
    assert kept(tmp_path / "out", *asked) is None
    assert prepare(own.dataset, folder=tmp_path / "out") == own
    assert own.path.read_bytes() == content


def test_a_hub_dataset_is_found_again_only_with_its_own_text(fake_hub: Path, tmp_path: Path):
    first = prepare("c4", num_samples=10, folder=tmp_path / "out")
    content = first.path.read_bytes()
    other = prepare("c4", num_samples=10, first_sample=10, folder=tmp_path / "out")
    first.path.write_bytes(other.path.read_bytes())
    assert prepare("c4", num_samples=10, folder=tmp_path / "out") == first
    assert first.path.read_bytes() == content
    first.path.with_name("prepared.json").write_text("4")
    assert prepare("c4", num_samples=10, folder=tmp_path / "out") == first


@pytest.mark.parametrize("column", [None, "url"])
def test_what_an_earlier_version_prepared_from_the_hub_has_its_chats_as_text(
    fake_hub: Path, tmp_path: Path, column: str | None
):
    """Found by who takes them so, or where there can be none; read again for anybody else."""
    asked = {"num_samples": 10, "folder": tmp_path / "out"}
    as_text = Fields(text=column, chat_as_text=True)
    first = prepare("c4", **asked, fields=as_text)
    memory = first.path.with_name("prepared.json")
    record = json.loads(memory.read_text())
    del record["reading"]["fields"]["chat_as_text"]
    memory.write_text(json.dumps(record))
    shutil.rmtree(fake_hub)
    assert prepare("c4", **asked, fields=as_text) == first
    if column is None:
        assert prepare("c4", **asked) == first
    else:
        with pytest.raises(GatehouseError):
            prepare("c4", **asked, fields=Fields(text=column))
