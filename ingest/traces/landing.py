"""From routed sequences to what the lake holds: a sample each, and events layer by layer."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from gatehouse.ingest.numbering import split_of
from gatehouse.ingest.traces.laws.fitted import Fitted
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.events import Events, parts_of
from gatehouse.warehouse.plain_text import counted
from gatehouse.warehouse.records import EVENTS, SAMPLES, document_hash

SHARD_SAMPLES = 512
SHARD_EVENTS = 4_000_000
"""A shard ends with the sequence that reaches either: so much of a trace is in memory at once."""

SMALLEST_WEIGHT = np.float16(2.0**-24)
"""The smallest float16 above 0: what lands for an expert that ran with less."""


@dataclass(frozen=True)
class Numbered:
    """A sequence with its number among those of the trace, which is its sample's."""

    sample_id: int
    routed: Fitted


def shards(sequences: Iterable[Fitted]) -> Iterator[list[Numbered]]:
    """Yield the sequences of one shard after another; an iterable cuts into the same each time."""
    shard: list[Numbered] = []
    events = 0
    for sample_id, routed in enumerate(sequences):
        shard.append(Numbered(sample_id, routed))
        events += routed.experts.shape[0] * routed.experts.shape[1]
        if len(shard) >= SHARD_SAMPLES or events >= SHARD_EVENTS:
            yield shard
            shard, events = [], 0
    if shard:
        yield shard


def samples_of(shard: list[Numbered]) -> pa.Table:
    """Return a row for each sequence of a shard, schema SAMPLES.

    A sequence has no text: its hash is that of its token ids (int32, little-endian), or of its
    experts where it has none.
    """
    return pa.Table.from_pylist([_sample(each) for each in shard], schema=SAMPLES)


def _sample(numbered: Numbered) -> dict[str, object]:
    routed = numbered.routed
    tokens = len(routed.experts)
    content = routed.experts if routed.token_ids is None else routed.token_ids.astype("<i4")
    digest = hashlib.sha256(content.tobytes()).hexdigest()
    dealt_by = document_hash(routed.document, digest)
    return {
        "sample_id": numbered.sample_id,
        "name": routed.name,
        "domain": routed.domain or "unknown",
        "document": routed.document,
        "split": split_of(dealt_by),
        "tokens": tokens,
        "dropped_tokens": 0,
        "text_sha256": digest,
        "document_sha256": dealt_by,
        "prompt_tokens": tokens if routed.prompt_tokens is None else routed.prompt_tokens,
        "turns": None,
    }


def events_of(shard: list[Numbered], layers: list[int], *, has_drops: bool) -> Events:
    """Return the events of a shard.

    Args:
        shard: sequences that all have the same of weights, distribution, order and token ids.
        layers: what `layers` calls each of their MoE layers.
        has_drops: whether an expert with weight 0 did not run.
    """
    tokens = [len(each.routed.experts) for each in shard]
    sample_id = np.repeat(np.array([each.sample_id for each in shard], np.int64), tokens)
    position = np.concatenate([np.arange(length, dtype=np.uint32) for length in tokens])
    ids = [each.routed.token_ids for each in shard if each.routed.token_ids is not None]
    token_id = np.concatenate(ids) if ids else None
    keys = {"sample_id": sample_id, "position": position, "token_id": token_id}

    def parts() -> Iterator[pa.Table]:
        for index, layer in enumerate(layers):
            yield from parts_of(_layer_events(shard, index, layer, keys, has_drops))

    return Events(sum(tokens) * len(layers), parts)


def _layer_events(
    shard: list[Numbered],
    index: int,
    layer: int,
    keys: dict[str, np.ndarray | None],
    has_drops: bool,
) -> pa.Table:
    routed = [each.routed for each in shard]
    experts = np.concatenate([each.experts[:, index] for each in routed])
    rows, top_k = experts.shape
    offsets = pa.array(np.arange(0, rows * top_k + 1, top_k, dtype=np.int32))

    def lists(values: np.ndarray) -> pa.Array:
        return pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1)))

    def joined(name: str) -> np.ndarray | None:
        found = [getattr(each, name) for each in routed]
        if any(each is None for each in found):
            return None
        return np.concatenate([each[:, index] for each in found])

    weights, is_ordered = joined("weights"), all(each.is_ordered for each in routed)
    columns = keys | {
        "layer": np.full(rows, layer, np.int16),
        "experts": lists(experts),
        "weights": None if weights is None else lists(half(weights, has_drops).astype(np.float32)),
        "top_expert": np.ascontiguousarray(experts[:, 0]) if is_ordered else None,
        "entropy": joined("entropy"),
        "confidence": joined("confidence"),
    }
    arrays = [
        pa.nulls(rows, field.type) if columns[field.name] is None else columns[field.name]
        for field in EVENTS
    ]
    return pa.table(arrays, schema=EVENTS)


def half(weights: np.ndarray, has_drops: bool) -> np.ndarray:
    """Return float16 weights; 0 means that an expert did not run, so no other weight becomes 0."""
    narrow = weights.astype(np.float16)
    narrow[(narrow == 0) & ((weights != 0) | (not has_drops))] = SMALLEST_WEIGHT
    return narrow


@dataclass
class Survey:
    """What is in a trace, found by going through all of it before anything lands.

    Attributes:
        sequences: how many there are.
        tokens: of them all.
        longest: tokens of the longest.
        shards: how many they make.
        top_k: experts of each event.
        knows: what every sequence has of weights, distribution, order and token_ids.
        weights_sum_to_one: whether the weights of each event do, for each MoE layer; None where
            there are none.
        expert_bytes: of an expert of each MoE layer, by the first sequence; None where it has none.
        notes: what was left out of sequences, without its numbers -> the sequences' names.
    """

    sequences: int
    tokens: int
    longest: int
    shards: int
    top_k: int
    knows: dict[str, bool]
    weights_sum_to_one: list[bool] | None
    expert_bytes: tuple[int, ...] | None
    notes: dict[str, list[str]]


TOLERANCE = 2e-3
"""Weights of float16 sum to one within this."""


def survey(sequences: Iterable[Fitted]) -> Survey:
    """Go through a trace.

    Raises:
        GatehouseError: there is no sequence, or two do not tell the same things.
    """
    first: Fitted | None = None
    found = Survey(0, 0, 0, 0, 0, {}, None, None, {})
    for shard in shards(sequences):
        found.shards += 1
        for routed in (each.routed for each in shard):
            first = first or routed
            _check_alike(first, routed)
            found.sequences += 1
            found.tokens += len(routed.experts)
            found.longest = max(found.longest, len(routed.experts))
            for note in routed.notes:
                found.notes.setdefault(note, []).append(routed.name)
            if routed.weights is not None:
                sums = (abs(routed.weights.sum(axis=2) - 1) < TOLERANCE).all(axis=0)
                so_far = found.weights_sum_to_one or [True] * len(sums)
                found.weights_sum_to_one = [
                    bool(a and b) for a, b in zip(so_far, sums, strict=True)
                ]
    if first is None:
        raise GatehouseError("there is no sequence in it: name files that hold some")
    found.top_k, found.knows = first.experts.shape[2], _knows(first)
    found.expert_bytes = first.expert_bytes
    return found


def _knows(routed: Fitted) -> dict[str, bool]:
    return {
        "weights": routed.weights is not None,
        "distribution": routed.entropy is not None,
        "order": routed.is_ordered,
        "token ids": routed.token_ids is not None,
    }


def _check_alike(first: Fitted, routed: Fitted) -> None:
    knows = _knows(routed)
    for what, has in _knows(first).items():
        if knows[what] != has:
            lacking, having = (routed, first) if has else (first, routed)
            raise GatehouseError(
                f"{lacking.name} has no {what}, and {having.name} has: import them as two runs"
            )
    if first.experts.shape[2] != routed.experts.shape[2]:
        raise GatehouseError(
            f"{first.name} has {counted(first.experts.shape[2], 'expert')} a token, and "
            f"{routed.name} {routed.experts.shape[2]}: import them as two runs"
        )
