"""How much work each expert gets, in the layouts that placement and pruning start from."""

import json
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from gatehouse.reports.exports.torch_files import save
from gatehouse.reports.marts.session import frame_of
from gatehouse.warehouse.errors import GatehouseError

LOADS = """
    select
        layers.block,
        loads.moe_index,
        loads.expert,
        loads.selections
    from fct_expert_load as loads
    inner join dim_layer as layers on loads.run_id = layers.run_id and loads.layer = layers.layer
    where loads.run_id = $1
    order by loads.moe_index, loads.expert
"""


def write_counts(connection: duckdb.DuckDBPyConnection, run_id: str, target: Path) -> None:
    """Write how often each expert was selected: an `.npy` of int64, [MoE layers, E].

    Raises:
        GatehouseError: the layers have different numbers of experts.
    """
    with open(target, "wb") as file:
        np.save(file, _matrix(_loads(connection, run_id)))


def write_logical_counts(connection: duckdb.DuckDBPyConnection, run_id: str, target: Path) -> None:
    """Write `{"logical_count": [[[…], …]]}`: one step, all blocks up to the last MoE layer, E.

    It is what SGLang's `--init-expert-location` reads. Blocks without experts have zeros.

    Raises:
        GatehouseError: the layers have different numbers of experts, or two are of one block.
    """
    counts = _of_blocks(connection, run_id)
    target.write_text(json.dumps({"logical_count": counts.tolist()}) + "\n", encoding="utf-8")


def write_count_tensor(connection: duckdb.DuckDBPyConnection, run_id: str, target: Path) -> None:
    """Write the same as a dictionary of one int64 tensor, with `torch.save`.

    It is what ktransformers reads: `logical_count` of three dimensions (`kt_ep_wrapper.py` of its
    SGLang), with `torch.load(weights_only=True)`.

    Raises:
        GatehouseError: as `write_logical_counts`.
    """
    import torch

    counts = _of_blocks(connection, run_id)
    save({"logical_count": torch.from_numpy(counts)}, target)


def _of_blocks(connection: duckdb.DuckDBPyConnection, run_id: str) -> np.ndarray:
    """Return (1, blocks, E) selections, zeros for blocks without experts."""
    loads = _loads(connection, run_id)
    blocks = loads.drop_duplicates("moe_index")["block"].to_numpy()
    if len(set(blocks)) < len(blocks):
        raise GatehouseError(
            f"{run_id} has two MoE layers in one block, or an encoder and a decoder, and this "
            "format one layer a block: use --to counts"
        )
    matrix = _matrix(loads)
    counts = np.zeros((1, int(blocks.max()) + 1, matrix.shape[1]), np.int64)
    counts[0, blocks] = matrix
    return counts


def _loads(connection: duckdb.DuckDBPyConnection, run_id: str) -> pd.DataFrame:
    return frame_of(connection, LOADS, [run_id])


def _matrix(loads: pd.DataFrame) -> np.ndarray:
    """Return [MoE layers, E] selections."""
    layers = [of["selections"].to_numpy(np.int64) for _, of in loads.groupby("moe_index")]
    if len({len(layer) for layer in layers}) > 1:
        numbers = sorted({len(layer) for layer in layers})
        raise GatehouseError(
            f"the run's layers have {numbers[0]} to {numbers[-1]} experts, and this format is one "
            "matrix: query fct_expert_load with `gatehouse sql`"
        )
    return np.stack(layers)
