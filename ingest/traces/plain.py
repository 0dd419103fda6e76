"""Gatehouse's own plain format: one JSON object a line, which anyone can write from anything."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gatehouse.ingest.traces import json_objects
from gatehouse.ingest.traces.arrays import count, floats, integers, token_ids
from gatehouse.ingest.traces.json_objects import JsonObject, objects
from gatehouse.ingest.traces.likeness import looks_like, of_another_format, suffix_of
from gatehouse.ingest.traces.sequence import Format, Layout, RoutedSequence
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import quoted


def read(paths: list[Path], layout: Layout) -> Iterator[RoutedSequence]:
    """Yield the sequence of each line: `example` has one.

    `experts` is tokens x layers x experts, and all that must be there. Beside it are `token_ids`,
    one a token; `weights`, of the shape of `experts`, 0 where an expert did not run; `ordered`,
    whether experts are in descending weight, true where there are weights and false elsewhere;
    `prompt_tokens`, how many tokens were given; `domain` and `document`. An array is a list, or the
    base64 of an `.npy`. Other keys are passed over.

    Raises:
        GatehouseError: a line is none of this.
    """
    for path in paths:
        if suffix_of(path) not in json_objects.SUFFIXES:
            raise of_another_format(path, "jsonl", json_objects.SUFFIXES)
        for found in objects(path):
            yield from _sequences(found, layout)


def example() -> str:
    """Return a line of the format: 3 tokens through 2 layers, with 2 experts each."""
    return json.dumps(
        {
            "token_ids": [464, 3797, 3332],
            "experts": [[[3, 0], [1, 2]], [[0, 3], [2, 1]], [[3, 1], [0, 2]]],
            "weights": [
                [[0.7, 0.3], [0.6, 0.4]],
                [[0.9, 0.1], [0.5, 0.5]],
                [[0.8, 0.2], [0.6, 0.4]],
            ],
            "prompt_tokens": 2,
            "domain": "stories",
            "document": "a cat",
        }
    )


def _sequences(found: JsonObject, layout: Layout) -> Iterator[RoutedSequence]:
    yield _sequence(found)


def _sequence(found: JsonObject) -> RoutedSequence:
    where, values = found.where, found.values
    if values.get("experts") is None:
        raise GatehouseError(
            f"{where} has no `experts`{looks_like(values, 'jsonl')}: "
            "`gatehouse import --example jsonl` prints a line"
        )
    experts = integers(values["experts"], f"{where} `experts`", 3)
    weights = values.get("weights")
    if weights is not None:
        weights = floats(weights, f"{where} `weights`", 3)
        if weights.shape != experts.shape:
            raise GatehouseError(
                f"{where} has `weights` of {weights.shape} for `experts` of {experts.shape}: "
                "write a weight for each expert, or leave weights out"
            )
    prompt_tokens = values.get("prompt_tokens")
    if prompt_tokens is not None:
        prompt_tokens = count(prompt_tokens, f"{where} `prompt_tokens`")
    document = _value(values, "document", str, where)
    return RoutedSequence(
        name=found.name,
        token_ids=token_ids(values.get("token_ids"), f"{where} `token_ids`"),
        experts=experts,
        weights=weights,
        is_ordered=_value(values, "ordered", bool, where, default=weights is not None),
        prompt_tokens=prompt_tokens,
        domain=_value(values, "domain", str, where, default=""),
        document=document,
    )


def _value(values: dict[str, Any], key: str, kind: type, where: str, *, default: Any = None) -> Any:
    value = values.get(key)
    if value is None:
        return default
    if not isinstance(value, kind):
        wanted = "true or false" if kind is bool else "text"
        raise GatehouseError(f"{where} `{key}` is {quoted(repr(value))}: write {wanted}")
    return value


FORMAT = Format(
    "jsonl",
    "a plain format for all others: one JSON object a line (--example jsonl prints one)",
    json_objects.SUFFIXES,
    read,
    example(),
    of_object=_sequences,
    has_drops=True,
)
