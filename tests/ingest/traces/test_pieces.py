"""A trace in pieces is the trace, and every shard is read where it lies."""

import gzip
import json
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.ingest.traces import flame, json_objects, landing
from gatehouse.ingest.traces import pieces as module
from gatehouse.ingest.traces.formats import FORMATS
from gatehouse.ingest.traces.landing import cuts_of
from gatehouse.ingest.traces.pieces import (
    MOST_PIECES,
    Places,
    pieces_of,
    read_piece,
    share_of_json,
)
from gatehouse.ingest.traces.sequence import Layout, Piece
from tests.ingest.traces.engine_files import WRITERS, Routed, plain_lists

LAYOUT = Layout((0, 1, 2), 3, (4, 4, 4), (2, 2, 2))


def routed(tokens: int, seed: int = 0) -> Routed:
    generator = np.random.default_rng(seed)
    experts = np.argsort(generator.random((tokens, 3, 4)), axis=2)[..., :2]
    weights = np.sort(generator.random((tokens, 3, 2)))[..., ::-1]
    return Routed(generator.integers(0, 4_000, tokens + 1), experts, weights, 2)


@pytest.mark.parametrize("rows", [1, 7, 64, 1_000])
def test_pieces_of_windows_are_the_windows_of_the_whole(rows, tmp_path, monkeypatch):
    """Row groups of layers and files of tokens end anywhere."""
    for name, value in {"WINDOW": 4, "BATCH_ROWS": 8, "PIECE_ROWS": 16}.items():
        monkeypatch.setattr(flame, name, value)
    _, write, _ = WRITERS["flame"]
    write_table = flame.pq.write_table
    monkeypatch.setattr(
        flame.pq,
        "write_table",
        lambda table, path, **_: write_table(table, path, row_group_size=rows),
    )
    folder = write(routed(101), tmp_path)
    whole = list(flame.read([folder], LAYOUT))
    pieces = pieces_of(FORMATS["flame"], [folder], LAYOUT)
    assert len(pieces) == (1 if rows > 101 else 7)
    found = list(chain.from_iterable(read_piece(flame.FORMAT, each, LAYOUT) for each in pieces))
    assert len(found) == len(whole) == 26
    for one, other in zip(found, whole, strict=True):
        assert one.name == other.name and one.is_ordered == other.is_ordered
        for name in ("token_ids", "experts", "weights"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_files_are_pieces_and_many_small_ones_go_together(tmp_path):
    files = []
    for number in range(2 * MOST_PIECES + 5):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        files.append(folder / "plain.jsonl")
        files[-1].write_text("x" * (1 + number % 3))
    for some in (files[:1], files[:9], files):
        pieces = pieces_of(FORMATS["jsonl"], some, LAYOUT)
        assert [path for piece in pieces for path in piece.paths] == some
        assert min(len(some), 9) <= len(pieces) <= MOST_PIECES


def test_folders_of_esft_are_pieces_whichever_of_their_files_are_named(tmp_path):
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
        WRITERS["esft"][1](routed(5), folder)
    folders = [next(folder.rglob("expert_weights_1.txt")).parent for folder in folders]
    files = [folders[1] / f"expert_weights_{layer}.txt" for layer in (0, 2)]
    pieces = pieces_of(FORMATS["esft"], [folders[0], *files], LAYOUT)
    assert [piece.paths for piece in pieces] == [(folder,) for folder in folders]


def test_what_is_sent_to_a_worker_comes_back(tmp_path):
    path = plain_lists(routed(3), tmp_path)
    (piece,) = pieces_of(FORMATS["jsonl"], [path], LAYOUT)
    (share,) = Places([piece], [1]).shares_of(cuts_of([3], 3))
    assert share_of_json(share.as_json()) == share
    ranged = Piece((path,), (4, 8))
    assert Piece.of_json(ranged.as_json()) == ranged


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.integers(1, 9), max_size=6), min_size=1, max_size=8),
    st.integers(1, 4),
    st.integers(1, 30),
)
def test_every_shard_is_in_one_share_which_reads_just_its_sequences(pieces, samples, events):
    """By numbering all sequences, and reading what each share says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(landing, "SHARD_SAMPLES", samples)
        patch.setattr(landing, "SHARD_EVENTS", events)
        cuts = cuts_of(chain(*pieces), 2)
    lengths = list(chain(*pieces))
    assert [cut.number for cut in cuts] == list(range(len(cuts)))
    assert sum(cut.sequences for cut in cuts) == len(lengths)
    for cut in cuts[:-1]:
        own = lengths[cut.first : cut.first + cut.sequences]
        assert len(own) == samples or sum(own) * 2 >= events
        assert len(own) == 1 or (len(own[:-1]) < samples and sum(own[:-1]) * 2 < events)
    numbers = iter(range(len(lengths)))
    held = {
        Piece((Path(str(place)),)): list(islice(numbers, len(piece)))
        for place, piece in enumerate(pieces)
    }
    places = Places(list(held), [len(piece) for piece in pieces])
    shares = places.shares_of(cuts)
    assert [cut for share in shares for cut in share.cuts] == cuts
    whole = places.joined(shares)
    assert [share.cuts for share in whole] == ([cuts] if cuts else [])
    # without the second of them, the first stands alone
    assert [share.cuts for share in places.joined(shares[:1] + shares[2:])][:1] == [
        each.cuts for each in shares[:1]
    ]
    for share in [*shares, *whole]:
        sequences = iter([number for piece in share.pieces for number in held[piece]])
        skipped = list(islice(sequences, share.skipped))
        assert len(skipped) < len(held[share.pieces[0]])
        for cut in share.cuts:
            read = list(islice(sequences, cut.sequences))
            assert read == list(range(cut.first, cut.first + cut.sequences))
        # the last piece is read for a reason
        assert len(share.pieces) == 1 or read[-1] in held[share.pieces[-1]]


LINES = [
    b'\xef\xbb\xbf{"a": 1}',
    b"",
    b'  [{"a": 2}, {"a": "\xc3\xa9"}]\r',
    b'{"a": 3, "long": "' + b"x" * 3_000 + b'"}',
    b'\xef\xbb\xbf{"a": 4}',
    b"\r",
]


@settings(max_examples=40, deadline=None)
@given(
    lines=st.lists(st.sampled_from(LINES), min_size=1),
    ends=st.booleans(),
    size=st.integers(1, 5_000),
)
def test_the_lines_of_a_file_in_ranges_are_the_lines_of_the_file(
    tmp_path_factory, lines, ends, size
):
    """Each object has the number of its line, wherever a range begins."""
    path = tmp_path_factory.getbasetemp() / "lines.jsonl"
    path.write_bytes(b"\n".join(lines) + (b"\n" if ends else b""))
    ranges = json_objects.cut(path, size)
    # one line that ends with a carriage return may be of the first Macs
    assert ranges or len(lines) == 1
    found = [each for some in ranges or [None] for each in json_objects.objects(path, some)]
    assert found == list(json_objects.objects(path))
    assert all(some.end > some.start for some in ranges)
    assert [some.start for some in ranges[1:]] == [some.end for some in ranges[:-1]]


@pytest.mark.parametrize("name", ["vllm 0.33", "vllm 0.21", "sglang generate", "jsonl lists"])
def test_a_long_file_of_lines_is_cut_and_one_that_is_packed_is_not(name, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SMALLEST_PIECE", 2_000)
    called, write, _ = WRITERS[name]
    path, form = tmp_path / "all.jsonl", FORMATS[called]
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        with open(path, "ab") as file:
            file.write(write(routed(9, number), folder).read_bytes().strip() + b"\n")
    whole = list(form.read([path], LAYOUT))
    pieces = pieces_of(form, [path], LAYOUT)
    assert len(whole) == 20 and len(pieces) > 3
    packed = [Piece.of_json(json.loads(json.dumps(each.as_json()))) for each in pieces]
    assert packed == pieces
    found = list(chain.from_iterable(read_piece(form, each, LAYOUT) for each in pieces))
    assert [each.name for each in found] == [each.name for each in whole]
    for one, other in zip(found, whole, strict=True):
        assert np.array_equal(one.experts, other.experts)
        assert np.array_equal(one.token_ids, other.token_ids)
    packed_file = tmp_path / "all.jsonl.gz"
    # compressed by nothing, so that it is as long
    packed_file.write_bytes(gzip.compress(path.read_bytes(), 0))
    wide = tmp_path / "wide.jsonl"
    wide.write_text(path.read_text(), encoding="utf-16")
    for each in (packed_file, wide):
        assert pieces_of(form, [each], LAYOUT) == [Piece((each,))]
