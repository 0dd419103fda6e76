"""What a shard must satisfy before it lands, so that no wrong number goes unnoticed."""

import hashlib
import math
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gatehouse.warehouse.errors import BrokenLaw
from gatehouse.warehouse.events import Events
from gatehouse.warehouse.plain_text import counted
from gatehouse.warehouse.records import OUTPUT_NORMS

ENTROPY_TOLERANCE = 1e-4
"""fp32 rounding of a sum over the experts may exceed ln E by this much, in nats."""


COLLAPSED_TOKENS = 1024
"""In a shard with this many tokens, the same choice for all of them cannot be chance."""

LISTS = ("experts", "weights")


def checked_events(
    events: Events, samples: pa.Table, layers: pa.Table, *, has_norms: bool = False
) -> Iterator[pa.Table]:
    """Yield the parts of a shard's events, each once it is found to keep the laws.

    Args:
        events: those of the shard, the layers in the order of `layers`.
        samples: schema SAMPLES of the same shard, in the order of their ids.
        layers: schema LAYERS of the run.
        has_norms: whether the run has the norms of the experts' outputs.

    Raises:
        BrokenLaw: the events are not exactly the samples' tokens times the MoE layers, or a value
            is out of range; names the first law that is broken.
    """
    _check_samples(samples)
    _require(
        (OUTPUT_NORMS in events.schema.names) == has_norms,
        f"events {'without' if has_norms else 'with'} {OUTPUT_NORMS}, unlike their run",
    )
    tokens = pc.sum(samples["tokens"]).as_py() or 0
    _require(
        events.num_rows == tokens * layers.num_rows,
        f"{counted(events.num_rows, 'event')} for {counted(tokens, 'token')} in "
        f"{counted(layers.num_rows, 'MoE layer')}",
    )
    parts = iter(events)
    token_ids: set[bytes] = set()
    for layer in layers.to_pylist() if tokens else ():
        rows, digest, choices = 0, hashlib.sha256(), _Choices()
        for part in parts:
            _check_part(part, samples, layer, rows)
            # null becomes NaN, which no token id is
            digest.update(part["token_id"].to_numpy())
            choices.see(part)
            yield part
            rows += part.num_rows
            if rows >= tokens:
                break
        where = f"layer {layer['layer']}"
        _require(rows == tokens, f"{where} has {counted(rows, 'event')}")
        token_ids.add(digest.digest())
        _require(len(token_ids) == 1, f"{where} has other tokens than the first layer")
        choices.check(where, tokens)


def _check_part(part: pa.Table, samples: pa.Table, layer: dict, start: int) -> None:
    """Some events of one layer, which begin with its row `start`, keep every law of an event."""
    unknown = _unknown_columns(part, layer)
    for column in ("entropy", "confidence"):
        if column not in unknown:
            others = _count_not_finite(part[column])
            _require(others == 0, f"{column} is not finite in {counted(others, 'event')}")
    for column in part.column_names:
        if column in unknown:
            _require(
                part[column].null_count == part.num_rows,
                f"layer {layer['layer']} has {column} in some events, which its run does not know",
            )
        else:
            _require(part[column].null_count == 0, f"events without {column}")
    _require((pc.min(part["token_id"]).as_py() or 0) >= 0, "a token id is negative")
    _check_places(part, samples, layer, start)
    _check_layer(part, layer, unknown)


def _unknown_columns(part: pa.Table, layer: dict) -> set[str]:
    """Return the columns that are null in every event of a layer, as its source does not tell."""
    flags = {
        "weights": layer["has_weights"],
        "entropy": layer["has_distribution"],
        "confidence": layer["has_distribution"],
        "top_expert": layer["ranked"],
        # the same in every layer, which the hash of the token ids shows
        "token_id": part["token_id"].null_count == 0,
    }
    return {column for column, is_known in flags.items() if not is_known}


def _check_samples(samples: pa.Table) -> None:
    """Each sample is listed once, in order, with its number of tokens."""
    for column in ("sample_id", "tokens"):
        _require(samples[column].null_count == 0, f"samples without {column}")
    steps = pc.pairwise_diff(samples["sample_id"].combine_chunks())
    _require(
        pc.all(pc.greater(steps, 0), min_count=0).as_py(), "samples are duplicated or out of order"
    )
    _require(
        pc.all(pc.greater_equal(samples["tokens"], 0), min_count=0).as_py(),
        "a sample has fewer than 0 tokens",
    )


def _check_places(part: pa.Table, samples: pa.Table, layer: dict, start: int) -> None:
    """One layer holds the positions 0 … tokens - 1 of every sample once, in order."""
    where = f"layer {layer['layer']}"
    _require(
        pc.all(pc.equal(part["layer"], layer["layer"])).as_py(),
        f"events of another layer are among those of {where}",
    )
    tokens = samples["tokens"].to_numpy().astype("int64")
    ends = tokens.cumsum()
    begins, end = ends - tokens, start + part.num_rows
    # how many of these rows each sample should have: none of most, where a shard has many parts
    due = ends.clip(start, end) - begins.clip(start, end)
    _require(
        due.sum() == part.num_rows
        and (part["sample_id"].to_numpy() == samples["sample_id"].to_numpy().repeat(due)).all(),
        f"{where}: a sample is missing, duplicated, incomplete or out of order",
    )
    rows = part["position"].to_numpy() + begins.repeat(due)
    _require(
        rows[0] == start and (rows[1:] - rows[:-1] == 1).all(),
        f"{where}: positions are not consecutive within a sample",
    )


def _check_layer(events: pa.Table, layer: dict, unknown: set[str]) -> None:
    """Values in range: expert ids, weights, entropy in [0, ln E], confidence in [1/E, 1]."""
    where = f"layer {layer['layer']}"
    num_experts = layer["num_experts"]
    _check_experts(events, layer, where)
    if "weights" not in unknown:
        _require(layer["ranked"], f"{where} has weights, so its experts have an order")
        _check_weights(events, layer, where)
    if OUTPUT_NORMS in events.column_names:
        _check_norms(events, layer, where)
    if "entropy" in unknown:
        return
    entropy = pc.min_max(events["entropy"]).as_py()
    confidence = pc.min_max(events["confidence"]).as_py()
    _require(
        entropy["min"] >= 0 and entropy["max"] <= math.log(num_experts) + ENTROPY_TOLERANCE,
        f"{where}: entropy {entropy} is outside [0, ln {num_experts}]",
    )
    _require(
        confidence["min"] >= (1 - ENTROPY_TOLERANCE) / num_experts
        and confidence["max"] <= 1 + ENTROPY_TOLERANCE,
        f"{where}: confidence {confidence} is outside [1/{num_experts}, 1]",
    )


def _check_experts(events: pa.Table, layer: dict, where: str) -> None:
    """Top-k different experts that exist; the first is the top expert, where they are ranked."""
    experts = events["experts"].combine_chunks()
    top_k, num_experts = layer["top_k"], layer["num_experts"]
    _check_lists(experts, top_k, f"{where}: lists of experts")
    _require(
        pc.max(experts.flatten()).as_py() < num_experts, f"{where}: an expert id is out of range"
    )
    by_rank = experts.flatten().to_numpy().reshape(events.num_rows, -1)
    if layer["ranked"]:
        first = pc.list_element(experts, 0)
        _require(
            pc.all(pc.equal(first, events["top_expert"].combine_chunks())).as_py(),
            f"{where}: the top expert is not the first of the experts",
        )
    else:
        _require(
            bool((by_rank[:, :-1] <= by_rank[:, 1:]).all()),
            f"{where}: experts without an order are not in that of their ids",
        )
    by_id = by_rank.copy()
    by_id.sort(axis=1)
    _require(not (by_id[:, :-1] == by_id[:, 1:]).any(), f"{where}: an event names one expert twice")


def _check_weights(events: pa.Table, layer: dict, where: str) -> None:
    """A finite weight of at least 0 for each expert, in descending order."""
    weights = events["weights"].combine_chunks()
    _check_lists(weights, layer["top_k"], f"{where}: lists of weights")
    flat = weights.flatten()
    _require(
        pc.all(pc.and_(pc.is_finite(flat), pc.greater_equal(flat, 0))).as_py(),
        f"{where}: an expert's weight is negative or not finite",
    )
    by_rank = flat.to_numpy().reshape(events.num_rows, -1)
    _require(
        bool((by_rank[:, :-1] >= by_rank[:, 1:]).all()),
        f"{where}: weights are not in descending order",
    )


def _check_norms(events: pa.Table, layer: dict, where: str) -> None:
    """A finite norm of at least 0 for each expert that ran, null for one that did not."""
    norms = events[OUTPUT_NORMS].combine_chunks()
    _check_lengths(norms, layer["top_k"], f"{where}: lists of norms")
    _require(layer["has_weights"], f"{where} has norms, so its experts have weights")
    weights = pc.list_flatten(events["weights"]).to_numpy()
    flat = norms.flatten()
    _require(
        bool((flat.is_null().to_numpy(zero_copy_only=False) == (weights == 0)).all()),
        f"{where}: norms are not null where an expert did not run, and only there",
    )
    _require(
        pc.all(pc.and_(pc.is_finite(flat), pc.greater_equal(flat, 0)), min_count=0).as_py(),
        f"{where}: the norm of an expert's output is negative or not finite",
    )


def _check_lists(lists: pa.ListArray, length: int, what: str) -> None:
    _check_lengths(lists, length, what)
    _require(lists.flatten().null_count == 0, f"{what} have gaps")


def _check_lengths(lists: pa.ListArray, length: int, what: str) -> None:
    lengths = pc.min_max(pc.list_value_length(lists)).as_py()
    _require(lengths == {"min": length, "max": length}, f"{what} have lengths other than {length}")


class _Choices:
    """What a layer chose; dense layers and replaced routers seem to choose the same for all."""

    def __init__(self) -> None:
        self.first: dict[str, Any] = {}
        self.varied: set[str] = set()

    def see(self, part: pa.Table) -> None:
        """Take in the next events of the layer."""
        for column in ("token_id", "experts", "weights", "entropy"):
            # the experts of nearly every layer vary at once: then the rest does not matter
            if not (self.varied & {column, "experts"} or part[column].null_count):
                rows = pc.list_flatten(part[column]) if column in LISTS else part[column]
                values = rows.to_numpy().reshape(part.num_rows, -1)
                if (values != self.first.setdefault(column, values[0].copy())).any():
                    self.varied.add(column)

    def check(self, where: str, rows: int) -> None:
        """Refuse a choice, in all of the layer's rows, that cannot be a router's."""
        known = self.first.keys()
        # tokens that are not known may differ
        if "experts" in self.varied or "token_id" in known - self.varied:
            return
        scores = known & {"weights", "entropy"}
        same_scores = "token_id" in known and scores and not scores & self.varied
        chosen = " and ".join(map(str, self.first["experts"]))
        _require(
            not (same_scores or rows >= COLLAPSED_TOKENS),
            f"{where} sent every token to expert {chosen}: that is what dense layers look like, "
            "and routers that never ran",
        )


def _count_not_finite(values: pa.ChunkedArray) -> int:
    others = pc.invert(pc.fill_null(pc.is_finite(values), False))
    return pc.sum(others, min_count=0).as_py()


def _require(holds: bool, broken: str) -> None:
    if not holds:
        raise BrokenLaw(f"{broken}; landed shards are untouched, please report this model")
