"""What a shard must satisfy before it lands: no silent numbers."""

import math

import pyarrow as pa
import pyarrow.compute as pc

from warehouse.errors import GatehouseError

ENTROPY_TOLERANCE = 1e-4
"""fp32 rounding of a sum over the experts may exceed ln E by this much, in nats."""


COLLAPSED_TOKENS = 1024
"""Tokens of a shard from which on one choice for all of them cannot be chance."""


def check_events(events: pa.Table, samples: pa.Table, layers: pa.Table) -> None:
    """Refuse events that are not exactly the samples' tokens times the MoE layers.

    Args:
        events: schema EVENTS, in (layer, sample, position) order.
        samples: schema SAMPLES of the same shard.
        layers: schema LAYERS of the run.

    Raises:
        GatehouseError: names the first law that is broken.
    """
    tokens = pc.sum(samples["tokens"]).as_py() or 0
    _require(
        events.num_rows == tokens * layers.num_rows,
        f"{events.num_rows:,} events for {tokens:,} tokens in {layers.num_rows} MoE layers",
    )
    if events.num_rows == 0:
        return
    for column in ("entropy", "confidence"):
        _require(
            pc.all(pc.is_finite(events[column])).as_py() and events[column].null_count == 0,
            f"{column} is not finite in {_count_not_finite(events[column]):,} events",
        )
    _check_positions(events, samples, layers)
    for layer in layers.to_pylist():
        _check_layer(events.filter(pc.field("layer") == layer["layer"]), layer)


def _check_positions(events: pa.Table, samples: pa.Table, layers: pa.Table) -> None:
    """Each (layer, sample) holds the positions 0 … tokens - 1 once, in order."""
    position = events["position"].combine_chunks().cast(pa.int64())
    steps = pc.pairwise_diff(position)
    opens = pc.equal(position, 0)
    _require(
        pc.all(pc.or_(opens, pc.fill_null(pc.equal(steps, 1), False))).as_py(),
        "positions are not consecutive within a sample",
    )
    groups = events.group_by(["layer", "sample_id"]).aggregate(
        [("position", "count"), ("position", "max"), ("position", "min")]
    )
    filled = samples.filter(pc.field("tokens") > 0).select(["sample_id", "tokens"])
    joined = groups.join(filled, "sample_id", join_type="inner")
    complete = pc.and_(
        pc.equal(joined["position_count"], joined["tokens"]),
        pc.and_(
            pc.equal(pc.add(joined["position_max"].cast(pa.int64()), 1), joined["tokens"]),
            pc.equal(joined["position_min"], 0),
        ),
    )
    expected = filled.num_rows * layers.num_rows
    _require(
        groups.num_rows == joined.num_rows == expected
        and pc.sum(opens).as_py() == expected
        and pc.all(complete).as_py(),
        "a sample is missing, doubled or incomplete in a layer",
    )


def _check_layer(events: pa.Table, layer: dict) -> None:
    """Values in range: expert ids, weights, entropy in [0, ln E], confidence in [1/E, 1]."""
    where = f"layer {layer['layer']}"
    experts, weights = events["experts"].combine_chunks(), events["weights"].combine_chunks()
    num_experts, top_k = layer["num_experts"], layer["top_k"]
    for values, name in ((experts, "experts"), (weights, "weights")):
        lengths = pc.min_max(pc.list_value_length(values)).as_py()
        _require(
            lengths == {"min": top_k, "max": top_k},
            f"{where}: lists of {name} have other lengths than {top_k}",
        )
    _require(
        pc.max(experts.flatten()).as_py() < num_experts, f"{where}: an expert id is out of range"
    )
    flat = weights.flatten().cast(pa.float32())
    _require(
        pc.all(pc.and_(pc.is_finite(flat), pc.greater_equal(flat, 0))).as_py(),
        f"{where}: an expert's weight is negative or not finite",
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


def _check_varies(events: pa.Table, where: str) -> None:
    """Not every token gets the same answer, as dense layers and replaced routers seem to give."""
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
        f"{where} sent every token to expert {chosen}: that is how dense layers look, and routers "
        "that never ran",
    )


def _count_not_finite(values: pa.ChunkedArray) -> int:
    return pc.sum(pc.invert(pc.fill_null(pc.is_finite(values), False))).as_py()


def _require(holds: bool, broken: str) -> None:
    if not holds:
        raise GatehouseError(
            f"refused to land a shard: {broken}; landed shards are untouched, "
            "please report this model"
        )
