"""Routing as vLLM hands it out: responses as JSON, arrays as `.npy` and `.npz`.

0.33 has one array for prompt and generated tokens, in base64; 0.21 has lists, the prompt's beside
the choices; 0.14 has an int32 array. The last token has no row, nor has any before a start.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gatehouse.ingest.traces import json_objects
from gatehouse.ingest.traces.arrays import count, integers, saved, token_ids
from gatehouse.ingest.traces.json_objects import JsonObject, objects
from gatehouse.ingest.traces.likeness import looks_like, of_another_format, suffix_of
from gatehouse.ingest.traces.sequence import Format, Layout, RoutedSequence
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import quoted

SUFFIXES = (*json_objects.SUFFIXES, ".npy", ".npz")


def read(paths: list[Path], layout: Layout) -> Iterator[RoutedSequence]:
    """Yield a sequence for each choice of each response, or for each file of arrays.

    An `.npy` is one sequence's `routed_experts`. An `.npz` has the keys of a response:
    `routed_experts`, `prompt_routed_experts` where that is apart, `prompt_token_ids`, `token_ids`.

    Raises:
        GatehouseError: something is not as vLLM writes it; a choice has no routing.
    """
    for path in paths:
        if path.name.lower().endswith((".npy", ".npz")):
            arrays = saved(path)
            values = {"routed_experts": arrays[""]} if "" in arrays else arrays
            if not {"routed_experts", "prompt_routed_experts"} & values.keys():
                raise GatehouseError(
                    f"{path} holds the arrays {quoted(', '.join(values))}, and no routed_experts: "
                    "save them by vLLM's names, with prompt_token_ids and token_ids"
                )
            yield from _sequences(values, str(path), path.name)
        elif suffix_of(path) in json_objects.SUFFIXES:
            for found in objects(path):
                yield from _of_object(found, layout)
        else:
            raise of_another_format(path, "vllm", SUFFIXES)


def _of_object(found: JsonObject, layout: Layout) -> Iterator[RoutedSequence]:
    return _sequences(found.values, found.where, found.name)


def _sequences(values: Mapping[str, Any], where: str, name: str) -> Iterator[RoutedSequence]:
    choices = values.get("choices", values.get("outputs"))
    if choices is None and ("routed_experts" in values or "prompt_routed_experts" in values):
        choices = [values]
    is_list = isinstance(choices, list) and len(choices) > 0
    if not is_list or not all(isinstance(each, Mapping) for each in choices):
        raise GatehouseError(
            f"{where} is no response of vLLM{looks_like(values, 'vllm')}: save the whole response, "
            "with `choices`"
        )
    several = len(choices) > 1
    identifier = values.get("id", values.get("request_id"))
    document = identifier if isinstance(identifier, str) else None
    for index, choice in enumerate(choices):
        place = where if choice is values else f"{where} choice {index}"
        yield _sequence(
            values,
            choice,
            place,
            f"{name} choice {index}" if several else name,
            # choices share their prompt, whether or not the response has a name
            document or (name if several else None),
        )


def _sequence(
    response: Mapping[str, Any],
    choice: Mapping[str, Any],
    where: str,
    name: str,
    document: str | None,
) -> RoutedSequence:
    holder = response if choice.get("prompt_token_ids") is None else choice
    given = token_ids(holder.get("prompt_token_ids"), f"{where} `prompt_token_ids`")
    made = token_ids(choice.get("token_ids"), f"{where} `token_ids`")
    prompt, experts = _experts(response, choice, made, where)
    if prompt is not None:
        experts = np.concatenate([prompt, experts])
    if given is None:
        # ids of a choice stand behind a prompt that is not known; those of a file are all
        ids = made if choice is response else None
        prompt_tokens = _prompt_tokens(response, where)
    elif made is None:
        ids, prompt_tokens = given, None
    elif prompt is None and _are_of_the_choice(choice, len(experts), len(given), len(made)):
        ids, prompt_tokens = made, 0
    else:
        ids, prompt_tokens = np.concatenate([given, made]), len(given)
    return RoutedSequence(
        name=name,
        token_ids=ids,
        experts=experts,
        prompt_tokens=prompt_tokens,
        document=document,
    )


def _experts(
    response: Mapping[str, Any], choice: Mapping[str, Any], made: np.ndarray | None, where: str
) -> tuple[np.ndarray | None, np.ndarray]:
    """Return the rows of the prompt where they are apart, and the rows of the choice."""
    prompt, own = response.get("prompt_routed_experts"), choice.get("routed_experts")
    is_apart = prompt is not None
    rows = integers(prompt, f"{where} `prompt_routed_experts`", 3) if is_apart else None
    # the only token that it made has no row
    if rows is not None and _is_nothing(own) and (made is not None and len(made) <= 1):
        return rows, rows[:0]
    if own is None:
        raise GatehouseError(
            f"{where} has no routing, as vLLM leaves it out of requests that it preempted or "
            "aborted, and without --enable-return-routed-experts: remove it, or ask again"
        )
    experts = integers(own, f"{where} `routed_experts`", 3)
    if rows is not None and rows.shape[1:] != experts.shape[1:]:
        raise GatehouseError(
            f"{where} has {rows.shape[1]} layers x {rows.shape[2]} experts for the prompt and "
            f"{experts.shape[1]} x {experts.shape[2]} for what follows: save the response again"
        )
    return rows, experts


def _are_of_the_choice(choice: Mapping[str, Any], rows: int, given: int, made: int) -> bool:
    """Return whether there are rows for what was made only: 0.21 has those of the prompt apart."""
    is_list = isinstance(choice["routed_experts"], list)
    return is_list and made - 1 <= rows <= made and rows < given + made - 1


def _is_nothing(rows: Any) -> bool:
    return rows is None or (isinstance(rows, list) and not rows)


def _prompt_tokens(response: Mapping[str, Any], where: str) -> int | None:
    usage = response.get("usage")
    if not isinstance(usage, Mapping) or usage.get("prompt_tokens") is None:
        return None
    return count(usage["prompt_tokens"], f"{where} `prompt_tokens`")


FORMAT = Format(
    "vllm",
    "vLLM: responses with `routed_experts` as JSON Lines, or arrays as .npy and .npz",
    SUFFIXES,
    read,
    """vllm serve MODEL --enable-return-routed-experts
curl -s localhost:8000/v1/completions -H 'Content-Type: application/json' \\
  -d '{"model": "MODEL", "prompt": "The cat", "return_token_ids": true}' >> responses.jsonl
echo >> responses.jsonl""",
    of_object=_of_object,
)
