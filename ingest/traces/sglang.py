"""Routing as SGLang hands it out: base64 of int32 without a header, in two kinds of responses."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gatehouse.ingest.traces import json_objects
from gatehouse.ingest.traces.arrays import count, headerless_integers, token_ids
from gatehouse.ingest.traces.json_objects import JsonObject, objects
from gatehouse.ingest.traces.likeness import looks_like, of_another_format, suffix_of
from gatehouse.ingest.traces.sequence import Format, Layout, RoutedSequence
from gatehouse.warehouse.errors import GatehouseError

Values = Mapping[str, Any]


def read(paths: list[Path], layout: Layout) -> Iterator[RoutedSequence]:
    """Yield the sequence of each response of `/generate`, or of each choice of one like OpenAI's.

    Routing is in `meta_info.routed_experts` or in `sglext.routed_experts`; its layers are all
    blocks of the model. Token ids are `input_ids`, which a user keeps with the response or
    `sglext` has, and `output_ids`; or the ids that came with log probabilities.

    Raises:
        GatehouseError: something is not as SGLang writes it, or does not fit the model.
    """
    for path in paths:
        if suffix_of(path) not in json_objects.SUFFIXES:
            raise of_another_format(path, "sglang", json_objects.SUFFIXES)
        for found in objects(path):
            yield from _sequences(found, layout)


def _sequences(found: JsonObject, layout: Layout) -> Iterator[RoutedSequence]:
    response = found.values
    choices = response.get("choices")
    if not isinstance(choices, list) or not choices:
        yield _sequence(response, response, 0, found, layout)
        return
    for index, choice in enumerate(choices):
        if not isinstance(choice, Mapping):
            raise GatehouseError(f"{found.where} choice {index} is no object: save it as it came")
        if len(choices) == 1:
            yield _sequence(response, choice, 0, found, layout)
            continue
        place = JsonObject(f"{found.where} choice {index}", f"{found.name} choice {index}", {})
        yield _sequence(response, choice, index, place, layout)


def _sequence(
    response: Values, choice: Values, index: int, place: JsonObject, layout: Layout
) -> RoutedSequence:
    where = place.where
    holder = _first_with("routed_experts", _parts(choice), _parts(response))
    text = None if holder is None else holder["routed_experts"]
    if isinstance(text, list):
        text = text[index] if index < len(text) else None
    elif (
        any(holder is part for part in _parts(response))
        and len(response.get("choices") or [None]) > 1
    ):
        raise GatehouseError(
            f"{where} shares one `routed_experts` with other choices: ask for one choice a request"
        )
    if text is None:
        raise GatehouseError(
            f"{where} has no `routed_experts` in `meta_info` or `sglext`"
            f"{looks_like(response, 'sglang')}: ask for it with return_routed_experts"
        )
    flat = headerless_integers(text, f"{where} `routed_experts`")
    top_k = max(layout.top_k)
    if flat.size % (layout.num_blocks * top_k):
        raise GatehouseError(
            f"{where} `routed_experts` has {flat.size:,} integers, which are no rows of "
            f"{layout.num_blocks} layers x {top_k} experts: name the model that was served"
        )
    given = _ids(choice, response, "input", index, where)
    made = _ids(choice, response, "output", index, where)
    known = given is not None and made is not None
    return RoutedSequence(
        name=place.name,
        token_ids=np.concatenate([given, made]) if known else None,
        experts=flat.reshape(-1, layout.num_blocks, top_k),
        prompt_tokens=len(given) if given is not None else _prompt_tokens(choice, response, where),
        document=_document(choice, response),
    )


def _ids(choice: Values, response: Values, of: str, index: int, where: str) -> np.ndarray | None:
    """Return the ids of the input or of the output, None where the response has not all of them."""
    key = f"{of}_ids"
    holder = _first_with(key, [choice, *_parts(choice)], [response, *_parts(response)])
    if holder is not None:
        ids = holder[key]
        # one list for each choice
        if isinstance(ids, list) and ids and isinstance(ids[0], list):
            ids = ids[index] if index < len(ids) else None
        return token_ids(ids, f"{where} `{key}`")
    key = f"{of}_token_logprobs"
    holder = _first_with(key, _parts(choice), _parts(response))
    if holder is None:
        return None
    try:
        ids = [token[1] for token in holder[key]]
    except (TypeError, IndexError, KeyError) as error:
        raise GatehouseError(f"{where} `{key}` has no ids: save it as it came") from error
    expected = holder.get("prompt_tokens" if of == "input" else "completion_tokens")
    # log probabilities may begin within the prompt
    return token_ids(ids, f"{where} `{key}`") if expected in (None, len(ids)) else None


def _prompt_tokens(choice: Values, response: Values, where: str) -> int | None:
    usage = response.get("usage")
    parts = [*_parts(choice), *_parts(response), *([usage] if isinstance(usage, Mapping) else [])]
    holder = _first_with("prompt_tokens", parts)
    return None if holder is None else count(holder["prompt_tokens"], f"{where} `prompt_tokens`")


def _document(choice: Values, response: Values) -> str | None:
    holder = _first_with("id", [response], _parts(choice))
    return str(holder["id"]) if holder is not None else None


def _parts(values: Values) -> list[Values]:
    parts = [values.get("meta_info"), values.get("sglext")]
    return [part for part in parts if isinstance(part, Mapping)]


def _first_with(key: str, *holders: list[Values]) -> Values | None:
    return next((each for some in holders for each in some if each.get(key) is not None), None)


FORMAT = Format(
    "sglang",
    "SGLang: responses with `meta_info.routed_experts` or `sglext.routed_experts` as JSON Lines",
    json_objects.SUFFIXES,
    read,
    """python -m sglang.launch_server --model-path MODEL --enable-return-routed-experts
curl -s localhost:30000/generate -H 'Content-Type: application/json' -d '{"text": "The cat",
  "return_routed_experts": true, "return_logprob": true, "logprob_start_len": 0}' >> out.jsonl
echo >> out.jsonl""",
    of_object=_sequences,
)
