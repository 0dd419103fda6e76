"""What a shard must satisfy before it lands, so that no wrong number goes unnoticed."""

import math

import pyarrow as pa
import pyarrow.compute as pc

from gatehouse.warehouse.errors import BrokenLaw
from gatehouse.warehouse.plain_text import counted

ENTROPY_TOLERANCE = 1e-4
"""fp32 rounding of a sum over the experts may exceed ln E by this much, in nats."""


COLLAPSED_TOKENS = 1024
"""In a shard with this many tokens, the same choice for all of them cannot be chance."""


def check_events(events: pa.Table, samples: pa.Table, layers: pa.Table) -> None:
    """Refuse events that are not exactly the samples' tokens times the MoE layers.

    Args:
        events: schema EVENTS, in (layer, sample, position) order, the layers as in `layers`.
        samples: schema SAMPLES of the same shard, in the order of their ids.
        layers: schema LAYERS of the run.

    Raises:
        BrokenLaw: names the first law that is broken.
    """
    _check_samples(samples)
    tokens = pc.sum(samples["tokens"]).as_py() or 0
    _require(
        events.num_rows == tokens * layers.num_rows,
        f"{counted(events.num_rows, 'event')} for {counted(tokens, 'token')} in "
        f"{counted(layers.num_rows, 'MoE layer')}",
    )
    if events.num_rows == 0:
        return
    for column in ("entropy", "confidence"):
        _require(
            pc.all(pc.is_finite(events[column])).as_py() and events[column].null_count == 0,
            f"{column} is not finite in {counted(_count_not_finite(events[column]), 'event')}",
        )
    for column in events.column_names:
        _require(events[column].null_count == 0, f"events without {column}")
    token_ids = events["token_id"].slice(0, tokens)
    _require(pc.min(token_ids).as_py() >= 0, "a token id is negative")
    for index, layer in enumerate(layers.to_pylist()):
        routed = events.slice(index * tokens, tokens)
        _check_places(routed, samples, layer)
        _require(
            routed["token_id"].equals(token_ids),
            f"layer {layer['layer']} has other tokens than the first layer",
        )
        _check_layer(routed, layer)


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


def _check_places(events: pa.Table, samples: pa.Table, layer: dict) -> None:
    """One layer holds the positions 0 … tokens - 1 of every sample once, in order."""
    where = f"layer {layer['layer']}"
    _require(
        pc.all(pc.equal(events["layer"], layer["layer"])).as_py(),
        f"events of another layer are among those of {where}",
    )
    filled = samples.filter(pc.field("tokens") > 0)
    ends = pc.cumulative_sum(filled["tokens"].cast(pa.int64())).combine_chunks()
    found = pc.run_end_encode(events["sample_id"].combine_chunks(), run_end_type=pa.int64())
    _require(
        found.values.equals(filled["sample_id"].combine_chunks()) and found.run_ends.equals(ends),
        f"{where}: a sample is missing, duplicated, incomplete or out of order",
    )
    position = events["position"].combine_chunks().cast(pa.int64())
    opens = pc.equal(position, 0)
    follows = pc.fill_null(pc.equal(pc.pairwise_diff(position), 1), False)
    starts = pc.subtract(ends, filled["tokens"].cast(pa.int64()).combine_chunks())
    _require(
        pc.all(pc.or_(opens, follows)).as_py()
        and pc.all(opens.take(starts)).as_py()
        and pc.sum(opens).as_py() == filled.num_rows,
        f"{where}: positions are not consecutive within a sample",
    )


def _check_layer(events: pa.Table, layer: dict) -> None:
    """Values in range: expert ids, weights, entropy in [0, ln E], confidence in [1/E, 1]."""
    where = f"layer {layer['layer']}"
    num_experts = layer["num_experts"]
    _check_experts(events, layer, where)
    _check_weights(events, layer, where)
    _check_varies(events, where)
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
    """Top-k different experts that exist, the first of which is the top expert."""
    experts = events["experts"].combine_chunks()
    top_k, num_experts = layer["top_k"], layer["num_experts"]
    _check_lists(experts, top_k, f"{where}: lists of experts")
    _require(
        pc.max(experts.flatten()).as_py() < num_experts, f"{where}: an expert id is out of range"
    )
    first = pc.list_element(experts, 0)
    _require(
        pc.all(pc.equal(first, events["top_expert"].combine_chunks())).as_py(),
        f"{where}: the top expert is not the first of the experts",
    )
    for rank in range(1, top_k):
        for other in range(rank):
            same = pc.equal(pc.list_element(experts, rank), pc.list_element(experts, other))
            _require(not pc.any(same).as_py(), f"{where}: an event names one expert twice")


def _check_weights(events: pa.Table, layer: dict, where: str) -> None:
    """A finite weight of at least 0 for each expert, in descending order."""
    weights = events["weights"].combine_chunks()
    _check_lists(weights, layer["top_k"], f"{where}: lists of weights")
    flat = weights.flatten().cast(pa.float32())
    _require(
        pc.all(pc.and_(pc.is_finite(flat), pc.greater_equal(flat, 0))).as_py(),
        f"{where}: an expert's weight is negative or not finite",
    )
    by_rank = flat.to_numpy().reshape(events.num_rows, -1)
    _require(
        bool((by_rank[:, :-1] >= by_rank[:, 1:]).all()),
        f"{where}: weights are not in descending order",
    )


def _check_lists(lists: pa.ListArray, length: int, what: str) -> None:
    lengths = pc.min_max(pc.list_value_length(lists)).as_py()
    _require(lengths == {"min": length, "max": length}, f"{what} have lengths other than {length}")
    _require(lists.flatten().null_count == 0, f"{what} have gaps")


def _check_varies(events: pa.Table, where: str) -> None:
    """Not all tokens get the same answer, which dense layers and replaced routers seem to give."""
    if pc.count_distinct(events["token_id"]).as_py() < 2:
        return
    experts, weights = (
        events[column].combine_chunks().flatten().to_numpy().reshape(events.num_rows, -1)
        for column in ("experts", "weights")
    )
    same_experts = bool((experts == experts[0]).all())
    same_scores = bool((weights == weights[0]).all()) and (
        pc.count_distinct(events["entropy"]).as_py() == 1
    )
    chosen = " and ".join(str(expert) for expert in experts[0])
    _require(
        not (same_experts and (same_scores or events.num_rows >= COLLAPSED_TOKENS)),
        f"{where} sent every token to expert {chosen}: that is what dense layers look like, and "
        "routers that never ran",
    )


def _count_not_finite(values: pa.ChunkedArray) -> int:
    return pc.sum(pc.invert(pc.fill_null(pc.is_finite(values), False))).as_py()


def _require(holds: bool, broken: str) -> None:
    if not holds:
        raise BrokenLaw(f"{broken}; landed shards are untouched, please report this model")
