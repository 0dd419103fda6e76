"""The JSON objects of a file, one a line."""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.warehouse.contents.opened import Contents, opened
from gatehouse.warehouse.errors import GatehouseError

SUFFIXES = (".jsonl", ".ndjson", ".json")
A_LINE = "write one JSON object a line"


class JsonObject(NamedTuple):
    """An object of a file: `where` is its file and line for messages, `name` for people."""

    where: str
    name: str
    values: dict[str, Any]


def objects(path: Path) -> Iterator[JsonObject]:
    """Yield the objects of a file, packed or not, with one line in memory at a time.

    A line that holds a list, as the answer to several prompts, gives its elements.

    Raises:
        GatehouseError: it cannot be read, or a line is no JSON object.
    """
    with opened(path) as contents:
        if contents.table or contents.unreadable:
            raise _not_json(contents)
        for number, line in enumerate(contents.stream, 1):
            line = line.removeprefix(codecs.BOM_UTF8).strip()
            if line:
                yield from _of_line(line, f"{path} line {number}", f"{path.name}:{number}")


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
