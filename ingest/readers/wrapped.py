"""Rows that one JSON object wraps, such as `{"data": [{…}]}` or the dataset viewer's answer."""

from collections.abc import Mapping
from typing import Any

from gatehouse.ingest.fields import ABSENT, Fields, found, text_field
from gatehouse.ingest.rows import Broken

Found = tuple[Any, str, str]
"""A row or what is broken in its place, where it is, and the document's name."""

ENVELOPE = "row"
"""The field in which the dataset viewer keeps a row, beside what it tells of it."""
CUT_SHORT = "truncated_cells"


def rows_within(holder: Found, file: str, name: str, fields: Fields) -> list[Found]:
    """Return the rows that the only object of a file holds in a list.

    That list is the only one of objects, or the only one of objects with a text. An object that
    has a text itself, or no such list, is itself the only row. A row that the viewer has cut short,
    and an object with several such lists, are `Broken`.

    Args:
        holder: the object.
        file: how a message names its file.
        name: how the names of its documents begin.
        fields: those that were asked for.
    """
    lists = _lists(holder[0], fields)
    with_text = [field for field in lists if _has_text(_unwrapped(lists[field][0]), fields)]
    if len(with_text) > 1:
        what = f"{file} holds rows in several lists, {', '.join(map(repr, with_text))}"
        return [(Broken(what, "write the one that you mean into a file of its own"), file, name)]
    chosen = with_text or list(lists)
    if len(chosen) != 1:
        return [holder]
    (field,) = chosen
    return [
        (_whole(row, where := f"{file} item {index} of {field}", fields), where, f"{name}:{index}")
        for index, row in enumerate(lists[field])
    ]


def _lists(holder: Mapping[str, Any], fields: Fields) -> dict[str, list[dict[str, Any]]]:
    """Return field -> objects of an object that has no text itself."""
    if _has_text(holder, fields):
        return {}
    return {
        field: value
        for field, value in holder.items()
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value)
    }


def _whole(row: dict[str, Any], where: str, fields: Fields) -> Any:
    inner = _unwrapped(row)
    cut = row.get(CUT_SHORT)
    if inner is not row and isinstance(cut, list):
        field = text_field(inner, fields)
        if any(field == name or field.startswith(f"{name}.") for name in cut):
            return Broken(
                f"{where} was cut short by the dataset viewer", "download the dataset's files"
            )
    return inner


def _unwrapped(row: dict[str, Any]) -> dict[str, Any]:
    inner = row.get(ENVELOPE)
    return inner if isinstance(inner, dict) and f"{ENVELOPE}_idx" in row else row


def _has_text(row: Mapping[str, Any], fields: Fields) -> bool:
    return found(row, text_field(row, fields)) is not ABSENT
