"""Which experts stay when the others are pruned: those that matter most, as far as it is known."""

import json
import math
from fractions import Fraction
from pathlib import Path

import duckdb
import pandas as pd

from gatehouse.reports.marts.session import frame_of
from gatehouse.warehouse.errors import GatehouseError

SALIENCY = """
    select
        layers.block,
        layers.moe_index,
        layers.num_experts,
        layers.top_k,
        layers.has_weights,
        coalesce(layers.has_output_norms, false) as has_output_norms,
        experts.expert,
        experts.load,
        experts.gate_mass,
        experts.reap
    from fct_expert_saliency as experts
    inner join dim_layer as layers
        on experts.run_id = layers.run_id and experts.layer = layers.layer
    where experts.run_id = $1
    order by layers.moe_index, experts.expert
"""


def write_keep_list(
    connection: duckdb.DuckDBPyConnection, run_id: str, target: Path, keep: str
) -> None:
    """Write `{"k": …, "layers": [blocks], "keep": [[ids], …], …}`: the k experts to keep per layer.

    They are those of the largest REAP where the run has the norms of the experts' outputs, else of
    the largest gate mass, or load where a layer has no weights; of several with as much the first.
    Ids are in their order, as a router's rows are cut.

    Args:
        connection: a session over the marts.
        run_id: a finished run.
        target: the file to write.
        keep: a number of experts, or a share of them (1.0 is all), rounded up to whole experts.

    Raises:
        GatehouseError: `keep` is neither, or fewer than the router chooses; the layers have
            different numbers of experts, or two are of one block.
    """
    saliency = frame_of(connection, SALIENCY, [run_id])
    experts = sorted(saliency["num_experts"].unique())
    layers = saliency.groupby("moe_index")
    blocks = [int(block) for block in layers["block"].first()]
    if len(experts) > 1 or len(set(blocks)) < len(blocks):
        raise GatehouseError(
            f"{run_id} has layers with different numbers of experts, or two in one block, and a "
            "keep list has as many of each block: query fct_expert_load with `gatehouse sql`"
        )
    kept = _number(keep, int(experts[0]), int(saliency["top_k"].max()))
    by = "gate_mass" if saliency["has_weights"].all() else "load"
    if saliency["has_output_norms"].all():
        by = "reap"
    document = {
        "k": kept,
        "layers": blocks,
        "keep": [_largest(of, by, kept) for _, of in layers],
        "num_experts": int(experts[0]),
        "by": by,
        "run_id": run_id,
    }
    target.write_text(json.dumps(document) + "\n", encoding="utf-8")


def _largest(layer: pd.DataFrame, by: str, kept: int) -> list[int]:
    chosen = layer.sort_values(by, ascending=False, kind="stable")["expert"].head(kept)
    return sorted(int(expert) for expert in chosen)


def _number(keep: str, num_experts: int, top_k: int) -> int:
    try:
        asked = Fraction(keep)
    except (ValueError, ZeroDivisionError):
        asked = Fraction(-1)
    is_share = asked < 1 or (asked == 1 and keep.strip() != "1")
    number = math.ceil(asked * num_experts) if is_share else asked
    if asked <= 0 or number.denominator > 1 or number > num_experts:
        raise GatehouseError(
            f"--keep {keep}: give a number of each layer's {num_experts} experts, or a share of "
            "them as 0.75"
        )
    if number < top_k:
        raise GatehouseError(
            f"--keep {keep}: the router chooses {top_k} experts for a token; keep {top_k} or more"
        )
    return int(number)
