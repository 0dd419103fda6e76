"""Texts and JSON in lines, and JSON in one piece."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

from gatehouse.ingest.fields import Fields
from gatehouse.ingest.rows import Broken, Document, document_of
from gatehouse.ingest.whole_files import NOT_UTF8
from gatehouse.warehouse.contents.opened import Contents

ARRAY = re.compile(rb"(\xef\xbb\xbf)?\s*\[\s*(\{|\]|$)")
"""The beginning of an array of objects."""
OBJECT_OVER_LINES = re.compile(rb'(\xef\xbb\xbf)?\s*\{[^\S\n]*("[^"\n]*"\s*:\s*[\[{]?[^\S\n]*)?\n')
"""The beginning of an object that opens in its first line and does not end there."""


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

    Blank lines are skipped; an array is held in memory as a whole.
    """
    if ARRAY.match(contents.head):
        yield from _in_one_piece(contents, name, domain, fields)
        return
    for line, text in _lines(contents):
        if isinstance(text, Broken):
            yield text
        elif text.strip():
            where = f"{contents.where} line {line}"
            row = _parsed(text, where, "mend or remove the line")
            yield _document(row, where, f"{name}:{line}", domain, fields)


def read_json(
    contents: Contents, name: str, domain: str, fields: Fields
) -> Iterator[Document | Broken]:
    """Yield the documents of JSON Lines, of an array, or of one object over several lines."""
    one_piece = ARRAY.match(contents.head) or OBJECT_OVER_LINES.match(contents.head)
    read = _in_one_piece if one_piece else read_json_lines
    yield from read(contents, name, domain, fields)


def _in_one_piece(
    contents: Contents, name: str, domain: str, fields: Fields
) -> Iterator[Document | Broken]:
    try:
        text = contents.stream.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        yield Broken(f"{contents.where} is not UTF-8", NOT_UTF8)
        return
    rows = _parsed(text, contents.where, "mend the file")
    for index, row in enumerate(rows if isinstance(rows, list) else [rows]):
        where = f"{contents.where} item {index}"
        yield _document(row, where, f"{name}:{index}", domain, fields)


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
    """Yield (line number from 1, line without its end); a byte order mark is dropped."""
    for line, content in enumerate(contents.stream, 1):
        marked = content.removeprefix(codecs.BOM_UTF8) if line == 1 else content
        try:
            yield line, marked.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            yield line, Broken(f"{contents.where} line {line} is not UTF-8", NOT_UTF8)
