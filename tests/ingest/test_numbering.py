"""Which sample has which number, split and fingerprint."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.ingest.numbering import Numbering, split_of
from gatehouse.ingest.prepare import prepare
from gatehouse.ingest.rows import Broken, Document
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.records import SPLITS

TEXTS = st.lists(st.text(max_size=30), max_size=20)
STRANGE = ["emoji 👩‍👩‍👧", "שלום עולם", "a NUL \0 inside", "x" * 1_000_000, "lone \ud800 surrogate"]


def test_samples_are_numbered_without_the_empty_ones(
    lines: Path, tmp_path: Path, samples_of
) -> None:
    done: list[int] = []
    prepared = prepare(str(lines), folder=tmp_path / "out", progress=done.append)
    samples = samples_of(prepared.path)
    expected = [f"text {index}" for index in range(1_200) if index % 6]
    assert [sample.text for sample in samples] == expected
    assert [sample.sample_id for sample in samples] == list(range(1_000))
    assert samples[0].name == "lines.jsonl:2"
    assert {sample.domain for sample in samples} == {"lines"}
    assert (prepared.num_samples, prepared.first_sample) == (1_000, 0)
    assert prepared.skipped_empty == 200
    assert prepared.dataset == str(lines.resolve())
    assert done == [512, 1_000]


def test_hash_and_split_follow_from_the_text_alone(lines: Path, tmp_path: Path, samples_of):
    samples = samples_of(prepare(str(lines), folder=tmp_path / "out").path)
    for sample in samples:
        assert sample.text_sha256 == sha256(sample.text.encode()).hexdigest()
        assert sample.split == split_of(sample.text_sha256)
        assert (sample.document, sample.document_sha256) == (None, sample.text_sha256)
    for split, share in SPLITS.items():
        count = sum(sample.split == split for sample in samples)
        deviation = (len(samples) * share * (1 - share)) ** 0.5
        assert abs(count - len(samples) * share) < 5 * deviation


def test_splits_cover_the_range_of_hashes_in_their_shares() -> None:
    points = 10_000
    digests = [f"{int(16**13 * (point + 0.5) / points):013x}" + "0" * 51 for point in range(points)]
    found = [split_of(digest) for digest in digests]
    assert {split: found.count(split) / points for split in SPLITS} == pytest.approx(SPLITS)
    assert found == sorted(found, key=list(SPLITS).index)
    assert split_of("f" * 64) == list(SPLITS)[-1]


def test_fewer_samples_are_the_beginning_of_more(lines: Path, tmp_path: Path, samples_of):
    few = prepare(str(lines), num_samples=100, folder=tmp_path / "out")
    more = prepare(str(lines), num_samples=200, folder=tmp_path / "out")
    assert samples_of(few.path) == samples_of(more.path)[:100]
    assert few.fingerprint != more.fingerprint


def test_the_first_sample_moves_the_window_and_keeps_the_numbers(
    lines: Path, tmp_path: Path, samples_of
) -> None:
    whole = samples_of(prepare(str(lines), folder=tmp_path / "out").path)
    part = prepare(str(lines), num_samples=600, first_sample=300, folder=tmp_path / "out")
    assert samples_of(part.path) == whole[300:900]
    rest = prepare(str(lines), num_samples=600, first_sample=900, folder=tmp_path / "out")
    assert (rest.num_samples, samples_of(rest.path)) == (100, whole[900:])


def test_equal_texts_under_other_numbers_are_another_file(give, tmp_path: Path, samples_of):
    documents = [Document("same", "same", "same")] * 20
    found = []
    for first in (0, 10):
        give(iter(documents))
        found.append(prepare("pydoc", num_samples=10, first_sample=first, folder=tmp_path))
    assert found[0].fingerprint == found[1].fingerprint
    assert found[0].path != found[1].path
    assert samples_of(found[1].path)[0].sample_id == 10


def test_the_fingerprint_is_that_of_the_content_in_order(give, tmp_path: Path) -> None:
    base = [Document("a", "x", "first"), Document("b", "y", "second")]
    changes = {
        "same": base,
        "name": [Document("c", "x", "first"), base[1]],
        "domain": [Document("a", "z", "first"), base[1]],
        "text": [Document("a", "x", "First"), base[1]],
        "document": [Document("a", "x", "first", "whole"), base[1]],
        "order": base[::-1],
        "shorter": base[:1],
        # fields must not run into each other
        "border": [Document("ax", "", "first"), base[1]],
        "empty texts beside": [Document("e", "x", ""), *base, Document("f", "x", " ")],
    }
    found = {}
    for change, documents in changes.items():
        give(iter(documents))
        found[change] = prepare("pydoc", folder=tmp_path).fingerprint
    assert found["same"] == found.pop("empty texts beside")
    assert len(set(found.values())) == len(found)


ROW = st.one_of(
    st.text(max_size=5),
    st.sampled_from(["", " \t"]),
    st.builds(Broken, st.text(min_size=1, max_size=5), st.just("mend it")),
)


@settings(max_examples=100)
@given(rows=st.lists(ROW, max_size=20), num=st.integers(1, 25), first=st.integers(0, 8))
def test_any_rows_are_numbered_or_counted(rows, num, first) -> None:
    documents = [row if isinstance(row, Broken) else Document("n", "d", row) for row in rows]
    given_out = iter(documents)
    numbering = Numbering(given_out, skip_broken=True)
    found = list(numbering.samples(num, first))
    read = rows[: len(rows) - len(list(given_out))]
    broken = [row for row in read if isinstance(row, Broken)]
    fine = [row for row in read if not isinstance(row, Broken) and row.strip()]
    assert [sample.sample_id for sample in found] == list(range(first, first + len(found)))
    assert [sample.text for sample in found] == [storable(text) for text in fine[first:]]
    assert numbering.skipped_broken == len(broken)
    assert numbering.first_broken == (broken[0].what if broken else None)
    assert len(read) == numbering.met + numbering.skipped_empty + numbering.skipped_broken
    # whatever was not read came after the last sample that was asked for
    assert len(read) == len(rows) or numbering.met == first + num
    strict = Numbering(iter(documents), skip_broken=False)
    if broken:
        with pytest.raises(GatehouseError, match="mend it, or leave broken texts out with --skip"):
            list(strict.samples(num, first))
    else:
        assert list(strict.samples(num, first)) == found


def storable(text: str) -> str:
    return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)


@settings(max_examples=25)
@given(
    texts=st.lists(st.text(max_size=30), max_size=20),
    num=st.integers(1, 25),
    first=st.integers(0, 8),
)
def test_any_texts_come_back_or_are_counted(
    tmp_path_factory, texts, num, first, samples_of
) -> None:
    folder = tmp_path_factory.mktemp("any")
    source = folder / "corpus.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    kept = [text for text in texts if text.strip()]
    wanted = kept[first : first + num]
    if not wanted:
        with pytest.raises(GatehouseError):
            prepare(str(source), num_samples=num, first_sample=first, folder=folder / "out")
        assert [path for path in (folder / "out").rglob("*") if path.is_file()] == []
        return
    prepared = prepare(str(source), num_samples=num, first_sample=first, folder=folder / "out")
    assert [sample.text for sample in samples_of(prepared.path)] == wanted
    if first + num > len(kept):
        assert prepared.skipped_empty == len(texts) - len(kept)


def test_strange_text_lands_as_it_is_but_for_lone_surrogates(
    give, tmp_path: Path, samples_of
) -> None:
    give(iter([Document(f"name \udc80 {n}", "d", text) for n, text in enumerate(STRANGE)]))
    samples = samples_of(prepare("pydoc", folder=tmp_path).path)
    assert [sample.text for sample in samples] == [*STRANGE[:-1], "lone \ufffd surrogate"]
    assert samples[0].name == "name \ufffd 0"


def test_the_parts_of_a_document_share_a_split(give, tmp_path: Path, samples_of) -> None:
    give(iter([Document(f"{n}", "d", f"text {n}", f"whole {n % 40}") for n in range(400)]))
    samples = samples_of(prepare("pydoc", folder=tmp_path).path)
    splits = {(sample.document, sample.document_sha256, sample.split) for sample in samples}
    assert len(splits) == 40 and len({split for *_, split in splits}) > 1
    for document, digest, split in splits:
        assert digest == sha256(f"document:{document}".encode()).hexdigest()
        assert split == split_of(digest)


def test_texts_met_again_are_counted(give, tmp_path: Path) -> None:
    give(iter([Document(f"{n}", "d", f"text {n % 7}") for n in range(20)]))
    prepared = prepare("pydoc", num_samples=10, folder=tmp_path)
    assert prepared.duplicates == 3
    assert prepared.samples_text == "10 samples (3 with the text of an earlier one)"
