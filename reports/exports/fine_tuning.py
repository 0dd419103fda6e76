"""Which experts ESFT trains: the fewest whose share of a layer's selections reaches p."""

import json
from pathlib import Path

import duckdb

from gatehouse.reports.marts.session import frame_of
from gatehouse.warehouse.errors import GatehouseError

SHARE = 0.2
"""ESFT's p for token shares (Wang et al., 2024, arXiv 2407.01906)."""

CHOSEN = """
    select
        layers.block,
        count(distinct loads.layer) as layers_of_block,
        list(loads.expert order by loads.selection_share_before, loads.expert) as experts
    from fct_expert_load as loads
    inner join dim_layer as layers
        on loads.run_id = layers.run_id and loads.layer = layers.layer
    where loads.run_id = $1 and loads.selection_share_before < $2
    group by layers.block
    order by layers.block
"""


def write_esft(connection: duckdb.DuckDBPyConnection, run_id: str, target: Path) -> None:
    """Write ESFT's `expert_cfg.json`: for each MoE layer's block the ids of experts to train.

    They are those of the largest shares of the layer's selections, until these reach SHARE:
    `selection_share_before` of fct_expert_load.

    Raises:
        GatehouseError: two of the run's MoE layers are of one block.
    """
    chosen = frame_of(connection, CHOSEN, [run_id, SHARE])
    if chosen["layers_of_block"].max() > 1:
        raise GatehouseError(
            f"{run_id} has two MoE layers in one block, or an encoder and a decoder, and ESFT has "
            "one layer a block: query fct_expert_load with `gatehouse sql`"
        )
    blocks = zip(chosen["block"], chosen["experts"], strict=True)
    experts = {str(block): [int(each) for each in ids] for block, ids in blocks}
    document = {"experts": experts, "shared_experts": False, "non_expert_modules": False}
    target.write_text(json.dumps(document) + "\n", encoding="utf-8")
