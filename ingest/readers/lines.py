"""Texts and JSON in lines, and JSON in one piece."""

import codecs
import json
import re
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any

from gatehouse.ingest.fields import Fields
from gatehouse.ingest.readers.json_pieces import NotJson, array_elements, values
from gatehouse.ingest.readers.whole_files import NOT_UTF8
from gatehouse.ingest.readers.wrapped import Found, rows_within
from gatehouse.ingest.rows import Broken, Document, document_of
from gatehouse.warehouse.contents.opened import Contents

ARRAY = re.compile(rb"(\xef\xbb\xbf)?\s*\[\s*(\{|\]|$)")
"""The beginning of an array of objects."""


def read_lines(
    contents: Contents, name: str, domain: str, fields: Fields
) -> Iterator[Document | Broken]:
    """Yield each line of a text as a document."""
    for line, text in _lines(contents):
        yield text if isinstance(text, Broken) else Document(f"{name}:{line}", domain, text)


def read_json_lines(
    contents: Contents, name: str, domain: str, fields: Fields
) -> Iterator[Document | Broken]:
    """Yield the documents of one JSON object a line, or of an array of objects.

    Blank lines are skipped; of an array one element at a time is in memory.
    """
    is_array = ARRAY.match(contents.head)
    pieces = _in_pieces(array_elements, contents, name) if is_array else _in_lines(contents, name)
    for row, where, called in pieces:
        yield _document(row, where, called, domain, fields)


def read_json(
    contents: Contents, name: str, domain: str, fields: Fields
) -> Iterator[Document | Broken]:
    """Yield the documents of JSON Lines, of an array, or of objects that go over several lines.

    A single object may hold them in a list: see `wrapped.rows_within`.
    """
    if ARRAY.match(contents.head):
        yield from read_json_lines(contents, name, domain, fields)
        return
    over_lines = _goes_on_behind_its_line(contents.head)
    pieces = _in_pieces(values, contents, name) if over_lines else _in_lines(contents, name)
    first_two = list(islice(pieces, 2))
    if len(first_two) == 1 and isinstance(first_two[0][0], dict):
        first_two = rows_within(first_two[0], contents.where, name, fields)
    for row, where, called in chain(first_two, pieces):
        yield _document(row, where, called, domain, fields)


def _goes_on_behind_its_line(head: bytes) -> bool:
    """Return whether the first line is the beginning of JSON, rather than broken JSON."""
    first, end, _ = head.removeprefix(codecs.BOM_UTF8).lstrip().partition(b"\n")
    line = first.decode("utf-8", "replace").rstrip()
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        return bool(end) and line.startswith(("{", "[")) and error.pos >= len(line)
    except (ValueError, RecursionError):
        pass
    return False


def _in_lines(contents: Contents, name: str) -> Iterator[Found]:
    for line, text in _lines(contents):
        where, called = f"{contents.where} line {line}", f"{name}:{line}"
        if isinstance(text, Broken):
            yield text, where, called
        elif text.strip():
            yield _parsed(text, where, "mend or remove the line"), where, called


def _in_pieces(
    read: Callable[[Contents], Iterator[Any]], contents: Contents, name: str
) -> Iterator[Found]:
    try:
        for index, row in enumerate(read(contents)):
            yield row, f"{contents.where} item {index}", f"{name}:{index}"
    except NotJson as error:
        where = f"{contents.where} from line {error.line} on"
        yield Broken(f"{where} {error.problem}", error.remedy), where, name


def _parsed(text: str, where: str, remedy: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", "") or type(error).__name__
        return Broken(f"{where} is not JSON ({reason})", remedy)


def _document(row: Any, where: str, name: str, domain: str, fields: Fields) -> Document | Broken:
    if isinstance(row, Broken):
        return row
    if not isinstance(row, dict):
        return Broken(f"{where} is not a JSON object", 'write {"text": "…"}')
    return document_of(row, where, name, domain, fields)


def _lines(contents: Contents) -> Iterator[tuple[int, str | Broken]]:
    """Yield (line number from 1, line without its end); a byte order mark is dropped.

    Where files were joined into one, the marks of the others are at the beginning of later lines.
    """
    for line, content in enumerate(contents.stream, 1):
        try:
            yield line, content.removeprefix(codecs.BOM_UTF8).decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            yield line, Broken(f"{contents.where} line {line} is not UTF-8", NOT_UTF8)
