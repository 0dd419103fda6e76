"""What must be true of the counts of experts, before they land and whenever they are verified."""

import numpy as np
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
    rows = layers.sort_by("layer").select(["layer", "num_experts"]).to_pylist()
    sizes = [row["num_experts"] for row in rows]
    expected = {
        "layer": np.repeat([row["layer"] for row in rows], sizes),
        "expert": np.concatenate([np.arange(size) for size in sizes]),
    }
    if any(column.null_count for column in counts.columns) or not all(
        np.array_equal(counts[name].to_numpy(), numbers) for name, numbers in expected.items()
    ):
        raise BrokenLaw("does not have one count for each expert of each MoE layer")
    selections = counts["selections"].to_numpy()
    if (selections < 0).any():
        raise BrokenLaw("has counts below 0")
    by_layer = np.split(selections, np.cumsum(sizes)[:-1])
    for row, of_layer in zip(rows, by_layer, strict=True):
        if not of_layer.any():
            raise BrokenLaw(f"has no selections in layer {row['layer']}")
    return counts
