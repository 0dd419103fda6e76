"""The JSON objects of a file, one a line."""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from gatehouse.warehouse.contents.opened import Contents, cannot_read, opened
from gatehouse.warehouse.errors import GatehouseError

SUFFIXES = (".jsonl", ".ndjson", ".json")
A_LINE = "write one JSON object a line"
BLOCK_BYTES = 1 << 20


class JsonObject(NamedTuple):
    """An object of a file: `where` is its file and line for messages, `name` for people."""

    where: str
    name: str
    values: dict[str, Any]


class Lines(NamedTuple):
    """Whole lines of a file: its bytes from `start` to before `end`, and the first one's number."""

    start: int
    end: int
    number: int


def objects(path: Path, lines: Lines | None = None) -> Iterator[JsonObject]:
    """Yield the objects of a file, packed or not, with one line in memory at a time.

    A line that holds a list, as the answer to several prompts, gives its elements.

    Args:
        path: the file.
        lines: some of those that `cut` gives; None for all.

    Raises:
        GatehouseError: it cannot be read, or a line is no JSON object.
    """
    first = lines.number if lines else 1
    for number, line in enumerate(_lines(path, lines) if lines else _all_lines(path), first):
        line = line.removeprefix(codecs.BOM_UTF8).strip()
        if line:
            yield from _of_line(line, f"{path} line {number}", f"{path.name}:{number}")


def cut(path: Path, size: int) -> list[Lines]:
    """Return the lines of a file in ranges of about `size` bytes; none of what cannot be cut.

    What is packed, or in another encoding than UTF-8, can only be read from its start.

    Raises:
        GatehouseError: it cannot be read.
    """
    with opened(path) as contents:
        if contents.file is None or contents.table or contents.unreadable:
            return []
        head = contents.head
    found: list[Lines] = []
    try:
        with path.open("rb") as file:
            if file.read(len(head)) != head:
                return []
            start, number, total = 0, 1, path.stat().st_size
            while start < total:
                file.seek(start + size)
                file.readline()
                end = min(file.tell(), total)
                found.append(Lines(start, end, number))
                number += _line_feeds(file, start, end)
                start = end
    except OSError as error:
        raise cannot_read(path, error) from error
    return found


def _line_feeds(file: BinaryIO, start: int, end: int) -> int:
    file.seek(start)
    blocks = (min(BLOCK_BYTES, end - at) for at in range(start, end, BLOCK_BYTES))
    return sum(file.read(size).count(b"\n") for size in blocks)


def _all_lines(path: Path) -> Iterator[bytes]:
    with opened(path) as contents:
        if contents.table or contents.unreadable:
            raise _not_json(contents)
        yield from contents.stream


def _lines(path: Path, lines: Lines) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            file.seek(lines.start)
            left = lines.end - lines.start
            while left > 0 and (line := file.readline()):
                left -= len(line)
                yield line
    except OSError as error:
        raise cannot_read(path, error) from error


def _of_line(line: bytes, where: str, name: str) -> Iterator[JsonObject]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", "") or type(error).__name__
        raise GatehouseError(f"{where} is not JSON ({reason}): {A_LINE}") from error
    if not isinstance(value, list):
        yield _object(value, where, name)
        return
    for index, element in enumerate(value):
        yield _object(element, f"{where} item {index}", f"{name}.{index}")


def _object(value: Any, where: str, name: str) -> JsonObject:
    if not isinstance(value, dict):
        raise GatehouseError(f"{where} is not a JSON object: {A_LINE}")
    return JsonObject(where, name, value)


def _not_json(contents: Contents) -> GatehouseError:
    if contents.table:
        return GatehouseError(
            f"{contents.where} is {contents.table}, not JSON: name its own format"
        )
    assert contents.unreadable is not None
    return GatehouseError(f"{contents.where} is {contents.unreadable[0]}, not JSON: {A_LINE}")
