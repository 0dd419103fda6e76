"""Local corpora: text, JSON Lines, Parquet, folders, saved datasets, and what is refused."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.ingest.fields import Fields
from gatehouse.ingest.files import read_path
from gatehouse.ingest.formats import FORMATS_TEXT
from gatehouse.ingest.rows import Broken, Document

# a file of control characters is no text
LINE = st.text(st.characters(exclude_categories=["Cc", "Cs"], codec="utf-8"))
STRINGS = [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), "string")]
STRANGE = [
    "emoji 👩‍👩‍👧 family",
    "שלום עולם right to left",
    "a NUL \0 inside",
    "line\u2028separator and \x0b tab",
    "x" * 1_000_000,
]


def documents(path: Path, **reading: object) -> Iterator[Document]:
    for document in read_path(path, **reading)[0]:
        if isinstance(document, Broken):
            raise document.error
        yield document


def texts(path: Path, **reading: object) -> list[str]:
    return [document.text for document in documents(path, **reading)]


def found_in(path: Path, **reading: object) -> list[tuple[str, ...]]:
    """(name, domain, text) of what is read, each a document by itself."""
    found = list(read_path(path, **reading)[0])
    assert {row.document for row in found if isinstance(row, Document)} <= {None}
    return [row if isinstance(row, Broken) else row[:3] for row in found]


def write_jsonl(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_text_file_is_one_document_or_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(b"\xef\xbb\xbffirst\r\n\n  third\nlast")
    assert found_in(path) == [("corpus.txt", "corpus", "first\n\n  third\nlast")]
    assert found_in(path, lines=True) == [
        ("corpus.txt:1", "corpus", "first"),
        ("corpus.txt:2", "corpus", ""),
        ("corpus.txt:3", "corpus", "  third"),
        ("corpus.txt:4", "corpus", "last"),
    ]


def test_json_lines_give_their_own_names_and_domains(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    write_jsonl(
        path,
        [
            {"text": "a", "domain": "law", "id": "x-1"},
            {"text": "b", "id": 7, "url": "http://localhost"},
            {"text": None, "domain": "", "id": ""},
            {"text": "d", "name": "called", "domain": 0},
        ],
    )
    with path.open("a") as file:
        file.write("\n" + json.dumps({"text": "e"}))
    assert found_in(path) == [
        ("x-1", "law", "a"),
        ("7", "corpus", "b"),
        ("corpus.jsonl:3", "corpus", ""),
        ("called", "0", "d"),
        ("corpus.jsonl:6", "corpus", "e"),
    ]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), "string")]
)
def test_parquet_rows_in_order_whatever_kind_of_string(tmp_path: Path, kind: pa.DataType) -> None:
    path = tmp_path / "corpus.parquet"
    words = [f"text {index}" for index in range(700)] + [None]
    table = pa.table({"n": range(701), "text": pa.array(words, pa.string()).cast(kind)})
    pq.write_table(table, path, row_group_size=300)
    found = found_in(path)
    assert [text for _, _, text in found] == [*words[:-1], ""]
    assert found[650] == ("corpus.parquet:650", "corpus", "text 650")


@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".parquet"])
def test_strange_text_arrives_as_it_is(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"corpus{suffix}"
    if suffix == ".txt":
        path.write_bytes("\n".join(STRANGE).encode())
    elif suffix == ".jsonl":
        write_jsonl(path, [{"text": text} for text in STRANGE])
    else:
        pq.write_table(pa.table({"text": STRANGE}), path)
    assert texts(path, lines=True) == STRANGE


@settings(max_examples=40)
@given(lines=st.lists(LINE, min_size=1))
def test_any_lines_survive_a_text_file(tmp_path_factory, lines: list[str]) -> None:
    path = tmp_path_factory.mktemp("lines") / "corpus.txt"
    path.write_bytes(b"\xef\xbb\xbf" + "".join(line + "\n" for line in lines).encode())
    assert texts(path, lines=True) == lines


def test_a_folder_is_read_in_path_order_with_subfolders_as_domains(tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    (root / "law" / "2020").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "zebra.txt").write_text("z\n")
    (root / "law" / "2020" / "b.TXT").write_text("b1\nb2\n")
    write_jsonl(root / "law" / "a.jsonl", [{"text": "a"}, {"text": "own", "domain": "tort"}])
    pq.write_table(pa.table({"text": ["p"]}), root / "news.parquet")
    (root / ".git" / "hidden.txt").write_text("hidden\n")
    (root / "notes.md").write_text("# notes\n")
    assert found_in(root) == [
        ("law/2020/b.TXT", "law", "b1\nb2\n"),
        ("law/a.jsonl:1", "law", "a"),
        ("law/a.jsonl:2", "tort", "own"),
        ("news.parquet:0", "news", "p"),
        ("notes.md", "corpus", "# notes\n"),
        ("zebra.txt", "corpus", "z\n"),
    ]
    by_line = found_in(root, lines=True)
    assert by_line[:2] == [("law/2020/b.TXT:1", "law", "b1"), ("law/2020/b.TXT:2", "law", "b2")]
    assert by_line[-1] == ("zebra.txt:1", "zebra", "z")


def test_a_folder_without_readable_files_is_refused_with_what_it_holds(
    tmp_path: Path, refuses
) -> None:
    for name in ("a.png", "b.PNG", "c.py"):
        (tmp_path / name).write_text("text\n")
    with refuses(FORMATS_TEXT, "only 3 files: 2 .png (a.png, b.PNG), 1 .py (c.py)"):
        read_path(tmp_path)


def test_a_page_is_read_for_its_text(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(
        "<!doctype html><title>Ro&uuml;ters</title><style>p { color: red }</style>\n"
        "<p>A <b>router</b>\n   sends it &lt;here&gt;.<p>And<br>there."
        "<pre>if 1:\n    go()\n</pre><script>if (a < b) alert('no')</script><!-- no -->\n"
    )
    page = "Ro\u00fcters\n\nA router sends it <here>.\nAnd\nthere.\nif 1:\n    go()\n"
    assert found_in(path) == [("page.html", "page", page)]
    path.write_text("<p>fine</p><![unknown[")
    assert [type(row) for row in read_path(path)[0]] in ([Broken], [Document])


CHARSETS = {
    '<meta charset="iso-8859-1">': "cp1252",
    "<META HTTP-EQUIV=Content-Type CONTENT='text/html; charset=Shift_JIS'>": "shift_jis",
    '<?xml version="1.0" encoding="koi8-r"?>': "koi8-r",
    '<meta charset="latin1">': "utf-8",
}


@pytest.mark.parametrize("said", CHARSETS)
def test_a_page_may_name_its_encoding(tmp_path: Path, said: str, refuses) -> None:
    path = tmp_path / "page.html"
    word = {"shift_jis": "\u6f22\u5b57", "koi8-r": "\u0440\u0435\u043a\u0430"}.get(
        CHARSETS[said], "\u201cT\u00fcr\u201d"
    )
    path.write_bytes(f"{said}<p>{word}</p>".encode(CHARSETS[said]))
    assert texts(path) == [word + "\n"]
    # a page in single bytes that says it is in pairs of them is read as browsers do, and broken
    pairs = b"<meta charset=utf-16>", b"<meta charset=utf-16le>"
    for unknown in (b"<p>", b"<meta charset=none>", b"<meta charset=utf-8>", *pairs):
        path.write_bytes(unknown + b"caf\xe9")
        with refuses(f"{path} line 1 is not UTF-8", "iconv"):
            texts(path)


def test_a_field_names_the_document_of_a_text(tmp_path: Path, refuses) -> None:
    rows = [{"text": "a", "page": "p"}, {"text": "b", "page": 7}, {"text": "c", "page": None}]
    path = tmp_path / "corpus.jsonl"
    write_jsonl(path, rows)
    found = [row.document for row in documents(path, fields=Fields(document="page"))]
    assert found == ["p", "7", None]
    assert found_in(path) == [
        (f"corpus.jsonl:{n}", "corpus", t) for n, t in ((1, "a"), (2, "b"), (3, "c"))
    ]
    table = tmp_path / "corpus.parquet"
    pq.write_table(pa.table({"text": ["a", "b"], "page": ["p", "p"]}), table)
    assert [row.document for row in documents(table, fields=Fields(document="page"))] == ["p", "p"]
    datasets.Dataset.from_parquet(str(table), cache_dir=str(tmp_path / "c")).save_to_disk(
        tmp_path / "saved"
    )
    saved = documents(tmp_path / "saved", fields=Fields(document="page"))
    assert [row.document for row in saved] == ["p", "p"]
    for each in (path, table, tmp_path / "saved"):
        with refuses("no field article, only 'text', 'page'", "--document-field"):
            texts(each, fields=Fields(document="article"))
    write_jsonl(path, [{"text": "a", "page": ["p"]}])
    with refuses("field page of type list", "--document-field"):
        texts(path, fields=Fields(document="page"))


def test_saved_datasets_are_read_and_of_several_splits_the_train_split(tmp_path: Path) -> None:
    train = datasets.Dataset.from_dict({"text": ["a", "b"], "domain": ["x", "y"], "n": [1, 2]})
    other = datasets.Dataset.from_dict({"text": ["c"], "domain": ["z"], "n": [3]})
    train.save_to_disk(tmp_path / "single")
    datasets.DatasetDict(test=other, train=train).save_to_disk(tmp_path / "several")
    assert found_in(tmp_path / "single") == [("single:0", "x", "a"), ("single:1", "y", "b")]
    assert texts(tmp_path / "several") == ["a", "b"]
    assert texts(tmp_path / "several" / "test") == ["c"]


def test_a_saved_dataset_without_train_or_text_is_refused(tmp_path: Path, refuses) -> None:
    bodies = datasets.Dataset.from_dict({"body": ["a"]})
    bodies.save_to_disk(tmp_path / "bodies")
    datasets.DatasetDict(test=bodies).save_to_disk(tmp_path / "tests")
    with refuses("bodies", "no field text", "'body'"):
        texts(tmp_path / "bodies")
    with refuses("tests", "no split train", "test"):
        texts(tmp_path / "tests")
    (tmp_path / "bodies" / "state.json").write_text("{")
    with refuses("bodies", "save_to_disk"):
        texts(tmp_path / "bodies")


BAD_FILES = {
    "latin.txt": (
        "fine\ncaf\u00e9\n".encode("latin-1"),
        ["line 2", "UTF-8", "iconv", "--skip-broken"],
    ),
    "wide.txt": ("wide".encode("utf-16-be"), ["UTF-16BE", "byte order", "iconv -f UTF-16BE"]),
    "latin.jsonl": ('{"text": "caf\u00e9"}\n'.encode("latin-1"), ["line 1", "UTF-8"]),
    "cut.jsonl": (
        b'{"text": "a"}\n{"text": "b',
        ["line 2", "is not JSON", "remove the line, or leave", "--skip-broken"],
    ),
    "list.jsonl": (b'["a"]\n', ["line 1", "object"]),
    "deep.jsonl": (b"[" * 200_000 + b"\n", ["line 1", "is not JSON"]),
    "body.jsonl": (b'{"text": "a"}\n{"body": "b", "n": 1}\n', ["line 2", "'body', 'n'"]),
    "number.jsonl": (b'{"text": 5}\n', ["line 1", "int", "string"]),
    "empty.parquet": (b"", ["Parquet", "again"]),
    "text.parquet": (b"PAR1 this is not Parquet PAR1", ["Parquet", "again"]),
    "table.xlsx": (b"text\na\n", ["cannot read", ".jsonl"]),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_by_name_with_a_way_out(tmp_path: Path, name: str, refuses) -> None:
    content, words = BAD_FILES[name]
    path = tmp_path / name
    path.write_bytes(content)
    with refuses(str(path), *words):
        texts(path)


def test_what_follows_a_broken_line_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    bad = [content.splitlines()[-1] for name, (content, _) in BAD_FILES.items() if "json" in name]
    fine = b'{"text": "fine"}'
    path.write_bytes(b"\n".join(line for each in bad for line in (each, fine)))
    found = found_in(path)
    assert found[1::2] == [
        (f"corpus.jsonl:{line}", "corpus", "fine") for line in range(2, 2 * len(bad) + 1, 2)
    ]
    for line, broken in zip(range(1, 2 * len(bad), 2), found[::2]):
        assert isinstance(broken, Broken)
        assert broken.what.startswith(f"{path} line {line} ")


def test_only_the_rows_with_too_many_or_too_few_cells_are_broken(tmp_path: Path, refuses) -> None:
    path = tmp_path / "corpus.csv"
    rows = [b'7,"two\nlines"', b"8", b"", b"9,nine", b'"1\n0",so, many', b"11,eleven", b"12"]
    path.write_bytes(b'\xef\xbb\xbf\n"n\n",text\n' + b"\n".join(rows * 300))
    found = found_in(path)
    assert len(found) == 1_800
    for start in (0, 6, 1_794):
        two, eight, nine, many, eleven, last = found[start : start + 6]
        assert two == (f"corpus.csv:{start}", "corpus", "two\nlines")
        assert [nine[2], eleven[2]] == ["nine", "eleven"]
        line = 4 + start // 6 * 9
        assert eight.what.startswith(f"{path} line {line + 2} has 1 cell, and the header names")
        assert many.what.startswith(f"{path} line {line + 5} has 3 cells, ")
        assert last.what.startswith(f"{path} line {line + 8} has 1 cell, ")
    with refuses(f"{path} line 6 has 1 cell", "2 columns", "quotes", "--skip-broken"):
        texts(path)


CELL = st.sampled_from(["", "1", "a b", 'q"q', "l\nl", "c,c", "\u6f22"])


@settings(max_examples=60)
@given(rows=st.lists(st.lists(CELL, min_size=1, max_size=3)), end=st.sampled_from(["\n", "\r\n"]))
def test_a_csv_has_the_rows_that_the_csv_module_reads(tmp_path_factory, rows, end: str) -> None:
    path = tmp_path_factory.mktemp("rows") / "corpus.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator=end).writerows([["n", "text"], *rows])
    wanted = []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        line = next(reader) and 2
        for row in reader:
            if len(row) == 2 and any(row):
                wanted.append(row[1])
            elif row and len(row) != 2:
                wanted.append(f"line {line} has {len(row)} cell")
            line = reader.line_num + 1
    found = [
        row.what.removeprefix(f"{path} ").split(", and")[0].removesuffix("s")
        if isinstance(row, Broken)
        else row[2]
        for row in found_in(path)
    ]
    assert found == wanted


def test_rows_of_a_csv_that_are_not_utf8_are_broken_in_their_places(
    tmp_path: Path, refuses, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "corpus.csv"
    rows = (b"1,a", b"2,caf\xe9", b"\xe9", b"3,d\xef\xbf\xbd", b"4,e,\xff\xfe", b"5,f\xe6\xbc")
    path.write_bytes(b"\n".join((b"n,text", *rows)))
    a, cafe, few, d, many, f = found_in(path)
    assert (a[2], d[2]) == ("a", "d\ufffd")
    assert [each.what.removeprefix(f"{path} ") for each in (cafe, few, many, f)] == [
        "row 1 is not UTF-8",
        "line 4 has 1 cell, and the header names 2 columns",
        "line 6 has 3 cells, and the header names 2 columns",
        "row 5 is not UTF-8",
    ]
    assert capfd.readouterr().err == ""
    path.write_bytes(b"caf\xe9,text\n1,a\n")
    with refuses(f"{path} is not readable CSV in UTF-8 (the names of its columns are not)"):
        texts(path)


def test_a_quote_that_nothing_closes_swallows_no_rows_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "corpus.csv"
    path.write_text('n,text\n1,a\n2,"b\nb"\n3,"c\n4,d\n5,e\n')
    *found, broken = found_in(path)
    assert [text for _, _, text in found] == ["a", "b\nb"]
    assert broken.what == f"{path} line 5 opens a quote that nothing closes"
    for fine in ('n,text\n1,"a\nb"\n', 'n,text\n1,"a\nb" \n', 'n,text\n1,5" pipe\n2,"a"'):
        path.write_text(fine)
        assert all(isinstance(row, tuple) for row in found_in(path)) and texts(path)


def test_excel_may_name_the_delimiter(tmp_path: Path, refuses) -> None:
    path = tmp_path / "corpus.csv"
    path.write_bytes(b"\xef\xbb\xbfsep=;\r\nn;text\r\n1;a, b\r\n2\r\n")
    found, broken = found_in(path)
    assert found == ("corpus.csv:0", "corpus", "a, b")
    assert broken.what.startswith(f"{path} line 4 has 1 cell")
    path.write_bytes(b"\xef\xbb\xbf\r\n")
    assert found_in(path) == []
    path.write_bytes(b"sep=;\n")
    with refuses("has no field text"):
        texts(path)


def test_only_the_parquet_rows_that_are_not_utf8_are_broken(tmp_path: Path) -> None:
    path = tmp_path / "corpus.parquet"
    column = pa.array([f"text {row}".encode() for row in range(600)] + [b"caf\xe9"] + [b"last"])
    for stored, kind in ((pa.binary(), pa.string()), (pa.large_binary(), pa.large_string())):
        pq.write_table(pa.table({"text": column.cast(stored).view(kind)}), path)
        found = found_in(path)
        assert found[600] == Broken(f"{path} row 600 is not UTF-8", found[600].remedy)
        assert found[599] == ("corpus.parquet:599", "corpus", "text 599")
        assert found[601] == ("corpus.parquet:601", "corpus", "last")
        assert sum(isinstance(row, Broken) for row in found) == 1


@pytest.mark.parametrize(
    "kind",
    [pa.timestamp("us"), pa.timestamp("s", "UTC"), pa.duration("s"), pa.timestamp("s", "Mars/X")],
)
def test_a_row_with_a_time_beyond_the_calendar_is_broken_in_its_place(tmp_path: Path, kind) -> None:
    path = tmp_path / "corpus.arrow"
    table = pa.table({"text": ["a", "b", "c"], "id": pa.array([None, 2**62, None], kind)})
    with pa.ipc.new_file(path, table.schema) as file:
        file.write(table)
    first, broken, last = found_in(path)
    assert (first[2], last[2]) == ("a", "c")
    assert broken.what.startswith(f"{path} row 1 holds a value that cannot be read")


def test_a_parquet_file_without_text_names_its_columns(tmp_path: Path, refuses) -> None:
    path = tmp_path / "corpus.parquet"
    pq.write_table(pa.table({f"column {index}": ["a"] for index in range(50)}), path)
    with refuses(str(path), "no field text", "'column 0'", "…"):
        texts(path)
    pq.write_table(pa.table({"text": [7]}), path)
    with refuses(str(path), "int", "string"):
        texts(path)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_columns_of_one_name_are_refused_only_where_they_are_read(
    tmp_path: Path, suffix: str, refuses
) -> None:
    path = tmp_path / f"corpus{suffix}"
    for names in (["text", "text", "n"], ["text", "domain", "domain"], ["n", "n", "text"]):
        if suffix == ".csv":
            path.write_text(f"{','.join(names)}\na,b,c\n")
        else:
            pq.write_table(pa.table([["a"], ["b"], ["c"]], names=names), path)
        if names.count("text") > 1:
            with refuses(str(path), "has the field text 2 times", "name of its own"):
                texts(path)
        else:
            assert texts(path) == ["c" if names[2] == "text" else "a"]


def test_parquet_cut_short_or_with_broken_text_is_refused(tmp_path: Path, refuses) -> None:
    path = tmp_path / "corpus.parquet"
    broken = pa.array([b"caf\xe9"]).view(pa.string())
    pq.write_table(pa.table({"text": broken}), path)
    with refuses(str(path), "UTF-8"):
        texts(path)
    path.write_bytes(path.read_bytes()[:-20])
    with refuses(str(path), "damaged"):
        texts(path)


def test_a_file_that_vanishes_is_refused_by_name(tmp_path: Path, refuses) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("a\n")
    documents, _ = read_path(path)
    path.unlink()
    with refuses(str(path), "check the file"):
        list(documents)
