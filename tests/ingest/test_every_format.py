"""Every format, packed in every way, by every way in: the same texts."""

import codecs
import gzip
import json
import os
import struct
from pathlib import Path

import pyarrow as pa
import pytest

from gatehouse.ingest.corpora import STANDARD_INPUT, read_corpus
from gatehouse.ingest.fields import Fields
from gatehouse.ingest.files import read_path
from gatehouse.ingest.rows import Broken, Document
from gatehouse.warehouse.errors import GatehouseError
from tests.ingest.every_format import (
    FORMATS,
    LINES,
    PACKINGS,
    ROWS,
    TABLE,
    TEXTS,
    WAYS_IN,
    as_parquet,
    as_stream,
    expected,
)

WORDS = "Ein Fluss und eine gr\u00fcne T\u00fcr, " * 40 + "\n"
EASTERN = "\u6f22\u5b57\u304b\u306a\u4ea4\u3058\u308a\u6587\u3067\u3059\u3002\n" * 40
CYRILLIC = "\u0440\u0435\u043a\u0430 \u0438 \u0434\u0432\u0435\u0440\u044c " * 40 + "\n"


def texts(dataset: Path | str, **reading: object) -> list[str]:
    found = list(read_corpus(str(dataset), **reading).documents)
    assert all(isinstance(each, Document) for each in found), found
    return [each.text for each in found]


def only_broken(path: Path, **reading: object) -> Broken:
    (found,) = read_path(path, **reading)[0]
    assert isinstance(found, Broken), found
    return found


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("form", FORMATS)
def test_every_way_in_gives_the_same_texts(tmp_path: Path, form: str, packing: str) -> None:
    content = PACKINGS[packing](FORMATS[form])
    for way in WAYS_IN:
        root = tmp_path / way.__name__
        root.mkdir()
        path = way(root, f"part.{form}{packing}", content)
        found = [text.removesuffix("\n") for text in texts(path)]
        wanted = expected(form) if form != "html" else [TEXTS[0].replace("\n", " ")]
        assert found == wanted, way.__name__


@pytest.mark.parametrize("packing", [each for each in PACKINGS if each])
@pytest.mark.parametrize("name", ["named.txt", "named.jsonl"])
def test_a_packed_file_under_a_plain_name_is_read(tmp_path: Path, name: str, packing: str) -> None:
    content = WORDS.encode() if name.endswith(".txt") else LINES
    (tmp_path / name).write_bytes(PACKINGS[packing](content))
    assert texts(tmp_path / name) == ([WORDS] if name.endswith(".txt") else TEXTS)


@pytest.mark.parametrize("name", ["named.txt", "named.jsonl", "named.csv"])
def test_a_table_under_another_name_is_read(tmp_path: Path, name: str) -> None:
    for content in (ROWS["parquet"], ROWS["arrow"], as_stream(TABLE, pa.ipc.new_file)):
        (tmp_path / name).write_bytes(content)
        assert texts(tmp_path / name) == TEXTS
        (tmp_path / name).write_bytes(gzip.compress(content))
        assert texts(tmp_path / name) == TEXTS


def test_packed_in_parts_or_twice_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "parts.jsonl.zst"
    first, second = (PACKINGS[".zst"](line) for line in LINES.splitlines(keepends=True))
    between = struct.pack("<II", 0x184D2A50, 5) + b"abcde"
    path.write_bytes(between + first + between + second)
    assert texts(path) == TEXTS
    path.write_bytes(gzip.compress(gzip.compress(LINES)))
    assert texts(path) == TEXTS


@pytest.mark.parametrize("packing", [each for each in PACKINGS if each])
def test_a_packed_file_cut_short_is_one_line(tmp_path: Path, packing: str) -> None:
    path = tmp_path / f"cut.jsonl{packing}"
    packed = PACKINGS[packing](os.urandom(50_000).hex().encode())
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(GatehouseError, match=r"cut\.jsonl.* is cut short or damaged .*again"):
        list(read_path(path)[0])


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("form", ["jsonl", "txt", "csv", "arrow"])
def test_of_nothing_there_is_nothing_to_read(tmp_path: Path, form: str, packing: str) -> None:
    path = tmp_path / f"nothing.{form}{packing}"
    path.write_bytes(PACKINGS[packing](b""))
    if form == "arrow":
        with pytest.raises(GatehouseError, match="is damaged or not Parquet or Arrow: write"):
            texts(path)
    else:
        assert "".join(texts(path)) == ""


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_byte_order_mark_tells_the_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "wide.txt"
    path.write_bytes((WORDS + CYRILLIC).encode(encoding))
    assert texts(path) == [WORDS + CYRILLIC]
    assert texts(path, lines=True) == [WORDS[:-1], CYRILLIC[:-1]]
    table = tmp_path / "wide.csv"
    table.write_bytes(f"text;n\n{WORDS.strip()};1\n".encode(encoding))
    assert texts(table) == [WORDS.strip()]


def test_lines_may_end_as_on_any_machine(tmp_path: Path) -> None:
    long = "x" * 70_000
    for end in (b"\n", b"\r\n", b"\r"):
        for form in ("jsonl", "csv"):
            path = tmp_path / f"ends.{form}"
            path.write_bytes(ROWS[form].replace(b"\r\n", b"\n").replace(b"\n", end))
            assert [" ".join(text.split()) for text in texts(path)] == [
                " ".join(text.split()) for text in TEXTS
            ]
        (tmp_path / "ends.txt").write_bytes(end.join((b"a", b"b", b"", long.encode(), b"c", b"")))
        assert texts(tmp_path / "ends.txt") == [f"a\nb\n\n{long}\nc\n"]
        assert texts(tmp_path / "ends.txt", lines=True) == ["a", "b", "", long, "c"]
    (tmp_path / "ends.txt").write_bytes(f"a\r{long}\r\n{'y' * 65_533}\r\nz".encode())
    assert texts(tmp_path / "ends.txt", lines=True) == ["a", long, "y" * 65_533, "z"]


@pytest.mark.parametrize("encoding", ["UTF-16LE", "UTF-16BE", "UTF-32LE", "UTF-32BE"])
@pytest.mark.parametrize("text", ["ab\n", WORDS, CYRILLIC, EASTERN])
def test_wide_text_without_a_mark_is_named(tmp_path: Path, encoding: str, text: str) -> None:
    for name in ("wide.txt", "wide.jsonl", "wide.csv", "wide.html"):
        (tmp_path / name).write_bytes(text.encode(encoding))
        for lines in (False, True):
            broken = only_broken(tmp_path / name, lines=lines)
            assert encoding in broken.what and f"iconv -f {encoding} " in broken.remedy


OTHERS = {
    b"PK\x03\x04" + bytes(40): "a zip archive",
    b"%PDF-1.7\n": "a PDF",
    b"\x04\x22\x4d\x18" + bytes(40): "lz4",
    bytes(257) + b"ustar": "a tar archive",
    b"PK\x05\x06" + bytes(18): "an empty zip archive",
    b"\x5d\0\0\x80\0" + b"\xff" * 8 + bytes(40): "compressed with lzma",
    b"\x10" + bytes(7) + b'{"a": {"shape"': "a file of weights (safetensors)",
    b"PK\x03\x04" + bytes(26) + b"[Content_Types].xml": "a document of an office program",
    b"PK\x03\x04" + bytes(26) + b"mimetypeapplication/epub+zip": "or an e-book",
    b"WARC/1.0\r\nWARC-Type: warcinfo\r\n": "a web archive",
    b"%!PS-Adobe-3.0\n": "PostScript",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n": "Git LFS",
    bytes(range(256)) * 40: "control characters",
    b"a text that a crash has cut\n" + bytes(4096): "control characters",
}


@pytest.mark.parametrize("content", OTHERS)
def test_what_is_no_text_is_named_and_nothing_of_it_is_read(tmp_path: Path, content: bytes) -> None:
    for name in ("other.txt", "other.jsonl", "other.md", "other.txt.gz"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        for lines in (False, True):
            broken = only_broken(path, lines=lines)
            assert OTHERS[content] in broken.what and "iconv" not in broken.remedy


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.csv.gz", "rows.parquet"])
@pytest.mark.parametrize("page", [b"\n<!DOCTYPE html>\n<html>,\n</html>", b"<?xml ?><Error/>"])
def test_a_page_in_the_place_of_rows_is_named(tmp_path: Path, name: str, page: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(page) if name.endswith(".gz") else page)
    broken = only_broken(path)
    assert "is a web page or a server's answer" in broken.what and "download" in broken.remedy


def test_files_with_marks_that_were_joined_are_read(tmp_path: Path) -> None:
    path = tmp_path / "joined.jsonl"
    path.write_bytes(b"".join(codecs.BOM_UTF8 + line for line in LINES.splitlines(keepends=True)))
    assert texts(path) == TEXTS


def test_nuls_after_a_good_beginning_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "crash.txt"
    path.write_bytes(WORDS.encode() * 100 + bytes(200_000))
    assert "control characters" in only_broken(path).what


def test_a_file_without_a_suffix_is_told_by_what_it_holds(tmp_path: Path, refuses) -> None:
    path = tmp_path / "5f0a"
    for content in (LINES, ROWS["json"], ROWS["parquet"], gzip.compress(LINES)):
        path.write_bytes(content)
        assert texts(path) == TEXTS
    path.write_text("a text")
    with refuses("cannot read", "5f0a", ".jsonl"):
        read_path(path)
    path.write_bytes(b"PK\x03\x04")
    with refuses("5f0a is a zip archive", "unpack"):
        read_path(path)


def test_standard_input_has_a_name_that_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for content, wanted in ((gzip.compress(LINES), TEXTS), (WORDS.encode(), [WORDS])):
        (tmp_path / "in").write_bytes(content)
        with (tmp_path / "in").open() as stream:
            monkeypatch.setattr("sys.stdin", stream)
            corpus = read_corpus("-")
            assert corpus.name == STANDARD_INPUT
            assert [each.text for each in corpus.documents] == wanted
    reader, writer = os.pipe()
    os.write(writer, LINES)
    os.close(writer)
    corpus = read_corpus(f"/dev/fd/{reader}")
    assert (corpus.name, [each.text for each in corpus.documents]) == (STANDARD_INPUT, TEXTS)
    os.close(reader)


def test_fields_are_found_at_any_depth(tmp_path: Path, refuses) -> None:
    rows = [
        {"raw": {"content": "a"}, "meta": {"pile_set_name": "Github"}, "in": {"book": 7}},
        {"raw": {"content": "b"}, "meta": '{"pile_set_name": "ArXiv"}', "in": {"book": None}},
    ]
    path = tmp_path / "nested.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    fields = Fields(text="raw.content", document="in.book")
    found = list(read_corpus(str(path), fields=fields).documents)
    assert [row[1:4] for row in found] == [("Github", "a", "7"), ("ArXiv", "b", None)]
    named = Fields(text="raw.content", domain="in.book")
    assert [row.domain for row in read_corpus(str(path), fields=named).documents] == ["7", "nested"]
    with refuses("has no field text, only 'raw'", "--text-field"):
        raise only_or_first(path).error
    with refuses("has no field raw.title", "--domain-field"):
        raise only_or_first(path, fields=Fields(text="raw.content", domain="raw.title")).error


def only_or_first(path: Path, **reading: object) -> Broken:
    found = next(iter(read_path(path, **reading)[0]))
    assert isinstance(found, Broken)
    return found


@pytest.mark.parametrize(
    ("row", "domain"),
    [
        ({"domain": "law", "source": "web"}, "law"),
        ({"meta": {"redpajama_set_name": "RedPajamaC4"}}, "RedPajamaC4"),
        ({"meta": {"url": "https://example.org", "source": "stackexchange"}}, "stackexchange"),
        ({"source": "stack-dedup", "metadata": {"url": "x"}}, "stack-dedup"),
        ({"source": "https://example.org/a"}, "rows"),
        ({"source": ["a"], "meta": None}, "rows"),
        ({"source": "s" * 100}, "rows"),
    ],
)
def test_the_field_of_a_known_corpus_names_the_domain(tmp_path: Path, row: dict, domain) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"text": "a"} | row))
    (found,) = read_path(path)[0]
    assert found.domain == domain


def test_a_map_of_arrow_holds_fields(tmp_path: Path) -> None:
    kind = pa.map_(pa.string(), pa.string())
    table = pa.table({"text": ["a"], "metadata": pa.array([[("source", "wiki")]], kind)})
    path = tmp_path / "rows.parquet"
    path.write_bytes(as_parquet(table))
    assert [each.domain for each in read_path(path)[0]] == ["wiki"]


def test_a_chat_in_which_nothing_is_said_is_no_text(tmp_path: Path) -> None:
    turns = [{"role": "assistant", "content": None}]
    for kept in (turns, json.dumps(turns)):
        (tmp_path / "chat.jsonl").write_text(json.dumps({"messages": kept}))
        assert texts(tmp_path / "chat.jsonl") == [""]


CHATS = {
    "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}],
    "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}],
    "conversation": [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image"}]},
        {"role": "tool", "content": None},
        {"role": "assistant", "content": "Ho"},
    ],
}


@pytest.mark.parametrize("field", CHATS)
def test_a_chat_as_text_is_what_was_said(tmp_path: Path, field: str) -> None:
    as_text = Fields(chat_as_text=True)
    path = tmp_path / "chat.jsonl"
    turns = CHATS[field]
    by_field = {name: [turn[name] for turn in turns] for name in turns[0]}
    for kept in (json.dumps(turns), json.dumps(turns, indent=1), by_field, turns):
        path.write_text(json.dumps({field: kept}))
        assert texts(path, fields=as_text) == ["Hi\n\nHo"]
    assert texts(path, fields=Fields(text=field, chat_as_text=True)) == ["Hi\n\nHo"]
    path.write_text(json.dumps({"text": [1, 2]}))
    assert "field text of type list" in only_broken(path).what
    # what is no chat stays as it was written
    path.write_text(
        json.dumps({field: "[{x"}) + json.dumps({"text": json.dumps(turns)}).join("\n\n")
    )
    assert texts(path, fields=as_text) == texts(path) == ["[{x", json.dumps(turns)]


def test_binary_columns_hold_text_in_utf8(tmp_path: Path) -> None:
    path = tmp_path / "bytes.parquet"
    column = pa.array([text.encode() for text in TEXTS])
    for kind in (pa.binary(), pa.large_binary()):
        path.write_bytes(as_parquet(pa.table({"text": column.cast(kind)})))
        assert texts(path) == TEXTS
    path.write_bytes(as_parquet(pa.table({"text": [b"caf\xe9"]})))
    assert "row 0 has bytes in the field text that are not UTF-8" in only_broken(path).what
