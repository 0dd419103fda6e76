"""What must be true of the counts of experts, before they land and whenever they are verified."""

import pyarrow as pa

from gatehouse.warehouse.errors import BrokenLaw


def checked_counts(counts: pa.Table, layers: pa.Table) -> pa.Table:
    """Return counts (schema COUNTS) by layer and expert.

    Args:
        counts: of one run, in any order.
        layers: of the same run, schema LAYERS.

    Raises:
        BrokenLaw: an expert of a layer has no count or two, a count is null or below 0, or a layer
            has no selections at all.
    """
    counts = counts.sort_by([("layer", "ascending"), ("expert", "ascending")])
    sizes = {row["layer"]: row["num_experts"] for row in layers.sort_by("layer").to_pylist()}
    expected = [(layer, expert) for layer, size in sizes.items() for expert in range(size)]
    rows = [tuple(row.values()) for row in counts.to_pylist()]
    if [row[:2] for row in rows] != expected or counts["selections"].null_count:
        raise BrokenLaw("does not have one count for each expert of each MoE layer")
    if any(selections < 0 for *_, selections in rows):
        raise BrokenLaw("has counts below 0")
    used = {layer for layer, _, selections in rows if selections}
    for layer in sizes:
        if layer not in used:
            raise BrokenLaw(f"has no selections in layer {layer}")
    return counts
