"""JSON in one piece: arrays are streams, an object may wrap the rows."""

import json
import tracemalloc
from pathlib import Path

import pytest

from gatehouse.ingest.fields import Fields
from gatehouse.ingest.files import read_path
from gatehouse.ingest.rows import Broken, Document
from tests.ingest.every_format import TEXTS

ROWS = [{"text": text} for text in TEXTS]
BLOCK = 1 << 18


def found_in(path: Path, content: str | bytes, **reading: object) -> list[str]:
    """The texts, and what is said of what is broken, without the path."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = list(read_path(path, **reading)[0])
    broken = [each.error for each in found if isinstance(each, Broken)]
    assert all(len(str(error).splitlines()) == 1 for error in broken)
    return [
        each.text if isinstance(each, Document) else each.what.removeprefix(f"{path} ")
        for each in found
    ]


@pytest.mark.parametrize("shift", [*range(24), BLOCK // 2])
def test_an_array_is_read_wherever_a_block_ends_in_it(tmp_path: Path, shift: int) -> None:
    row = {"n": [-12.5e3, True, None], "text": '\U0001f600 "\\ \u00e9' * 3, "m": {"a": {}}}
    start = json.dumps({"text": "x" * (BLOCK - 40 - shift)})
    content = f"\ufeff [{start},\n{json.dumps(row)} ,{json.dumps(row, indent=3)}\r\n]\n"
    assert found_in(tmp_path / "array.json", content)[1:] == [row["text"]] * 2


def test_of_an_array_one_element_is_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    path.write_text(json.dumps([{"text": f"{number} " * 10_000} for number in range(300)]))
    tracemalloc.start()
    assert sum(1 for _ in read_path(path)[0]) == 300
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < path.stat().st_size / 4


BROKEN_ARRAYS = {
    "cut": ('[{"text": "a"},\n{"text": "b"},\n{"text"', "Expecting ':' delimiter"),
    "cut in a string": ('[{"text": "a"},\n{"text": "b"},\n{"text": "c', "Unterminated string"),
    "no comma": ('[{"text": "a"},\n{"text": "b"}\n{"text": "c"}]', "Expecting ']'"),
    "a comma too many": ('[{"text": "a"},\n{"text": "b"},\n]', "Expecting value"),
    "more behind it": ('[{"text": "a"},\n{"text": "b"}]\n[]', "Expecting the end"),
    "a word": ('[{"text": "a"},\n{"text": "b"},\nNone]' + " " * BLOCK, "Expecting value"),
    "deep": ('[{"text": "a"},\n{"text": "b"},\n' + "[" * 200_000, "RecursionError"),
}


@pytest.mark.parametrize("kind", BROKEN_ARRAYS)
def test_what_is_whole_of_a_broken_array_is_read(tmp_path: Path, kind: str) -> None:
    content, reason = BROKEN_ARRAYS[kind]
    *whole, broken = found_in(tmp_path / "array.json", content)
    assert whole == ["a", "b"]
    assert broken.startswith(f"from line 3 on is not JSON ({reason}")
    content = b'\xef\xbb\xbf[{"text": "a"},\n{"text": "b"},\n{"text": "caf\xe9"}, {"text": "c"}]'
    assert found_in(tmp_path / "a.json", content) == ["a", "b", "from line 3 on is not UTF-8"]


VIEWER = {
    "features": [{"feature_idx": 0, "name": "text", "type": {"dtype": "string"}}],
    "rows": [{"row_idx": n, "row": row, "truncated_cells": []} for n, row in enumerate(ROWS)],
    "num_rows_total": 2,
}
HOLDERS = {
    "data": {"version": "1.1", "data": ROWS},
    "beside other lists": {"tags": ["a"], "authors": [{"name": "b"}], "examples": ROWS},
    "the dataset viewer": VIEWER,
}


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("kind", HOLDERS)
def test_rows_are_found_in_the_object_that_wraps_them(
    tmp_path: Path, kind: str, indent: int | None
) -> None:
    content = json.dumps(HOLDERS[kind], indent=indent)
    assert found_in(tmp_path / "wrapped.json", content) == TEXTS
    # twice it is two objects one after the other, each of them a row
    found = found_in(tmp_path / "wrapped.json", f"{content}\n{content}\n")
    assert found != TEXTS * 2
    assert len(found) == 2 and all("has no field text" in each for each in found)


def test_an_object_that_may_be_read_in_two_ways_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrapped.json"
    assert found_in(path, json.dumps({"train": ROWS, "test": ROWS})) == [
        "holds rows in several lists, 'train', 'test'"
    ]
    assert found_in(path, json.dumps({"a": [{"b": 1}], "c": [{"d": 1}]})) == [
        "line 1 has no field text, only 'a', 'c'"
    ]
    bodies = json.dumps({"data": [{"body": "b"}, {"body": "c"}]})
    assert found_in(path, bodies)[0] == "item 0 of data has no field text, only 'body'"
    assert found_in(path, bodies, fields=Fields(text="body")) == ["b", "c"]
    cut = {"row_idx": 0, "row": {"text": "begins"}, "truncated_cells": ["text"]}
    assert found_in(path, json.dumps({"rows": [cut]})) == [
        "item 0 of rows was cut short by the dataset viewer"
    ]


def test_an_object_with_a_text_of_its_own_wraps_nothing(tmp_path: Path) -> None:
    path = tmp_path / "row.json"
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    assert found_in(path, json.dumps({"messages": turns})) == [json.dumps(turns)]
    assert found_in(path, json.dumps({"text": "a", "parts": ROWS}, indent=1)) == ["a"]
    assert found_in(path, json.dumps({"x": turns}), fields=Fields(text="x")) == [json.dumps(turns)]


def test_objects_over_lines_may_follow_one_another(tmp_path: Path) -> None:
    pretty = "\n".join(json.dumps(row, indent=2) for row in ROWS)
    assert found_in(tmp_path / "pretty.json", pretty) == TEXTS
    assert found_in(tmp_path / "pretty.json", '{"version": 1, "data": [\n{"text": "a"}]}') == ["a"]
    *_, broken = found_in(tmp_path / "pretty.json", f"{pretty}\n{{]")
    assert broken.startswith("from line 7 on is not JSON (Expecting property name")
