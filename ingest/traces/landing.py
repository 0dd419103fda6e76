"""From routed sequences to what the lake holds: a sample each, and events layer by layer."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from gatehouse.ingest.numbering import split_of
from gatehouse.ingest.traces.laws.fitted import Fitted
from gatehouse.warehouse.events import Events, parts_of
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


@dataclass(frozen=True)
class Cut:
    """One shard: its number, the number of its first sequence, and how many sequences it has."""

    number: int
    first: int
    sequences: int


def cuts_of(lengths: Iterable[int], layers: int) -> list[Cut]:
    """Return the shards of a trace.

    Args:
        lengths: tokens of each of its sequences.
        layers: MoE layers of the model.
    """
    found: list[Cut] = []
    first, sequences, events = 0, 0, 0
    for length in lengths:
        sequences += 1
        events += length * layers
        if sequences >= SHARD_SAMPLES or events >= SHARD_EVENTS:
            found.append(Cut(len(found), first, sequences))
            first, sequences, events = first + sequences, 0, 0
    if sequences:
        found.append(Cut(len(found), first, sequences))
    return found


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
