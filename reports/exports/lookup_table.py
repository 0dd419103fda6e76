"""A run's routing as a lookup table: which experts a token id gets, and with which weights."""

import json
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gatehouse.reports.exports.events import ROWS, no_events
from gatehouse.reports.exports.table_rule import rule_of
from gatehouse.reports.marts.held_out import expert_sets
from gatehouse.reports.marts.lookup_table import chosen, token_choices, token_entries
from gatehouse.reports.marts.session import frame_of
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.records import COUNTED
from gatehouse.warehouse.replays import ReplayPolicy

LAYERS = """
    select
        layers.block,
        layers.router_path,
        layers.num_experts,
        layers.top_k,
        layers.has_weights,
        layers.has_distribution,
        runs.model,
        runs.model_fingerprint,
        runs.source,
        runs.has_token_ids
    from dim_layer as layers
    inner join dim_run as runs on layers.run_id = runs.run_id
    where layers.run_id = $1
    order by layers.moe_index
"""

REPLAYED = """
    select
        documents as replayed_documents,
        tokens as replayed_tokens,
        delta_nll,
        perplexity_ratio
    from fct_replay
    where run_id = $1 and policy_id = $2 and tokens > 0
"""


@dataclass(frozen=True, eq=False)
class Table:
    """R rows of entries, the row of a token id being the id.

    ids [R, MoE layers, k] integers and weights [R, MoE layers, k] float32, -1 and 0 where mask
    [R, MoE layers] says that there is no entry.
    """

    ids: NDArray[np.integer]
    weights: NDArray[np.float32]
    mask: NDArray[np.bool_]


def write_lookup_table(
    connection: duckdb.DuckDBPyConnection,
    run_id: str,
    target: Path,
    **options: float | int | None,
) -> None:
    """Write safetensors: `ids` int16, `weights` float32, `mask` bool, and where they are from.

    Entries are those that `gatehouse replay --table tokens` gives tokens, weights as blocks apply
    them. Rows go up to the largest token id of the train split. `ids` is int32 where a layer has
    more than 32,768 experts. Metadata, numbers and lists as JSON: `run_id`, `model`,
    `model_fingerprint`, the rule as `ReplayPolicy` has it, its `policy_id`, `blocks` and
    `router_paths` of the MoE layers, and what `_held_out` and `_replayed` find.

    Args:
        connection: a session over the marts.
        run_id: a finished run.
        target: the file to write.
        options: those of `rule_of`.

    Raises:
        GatehouseError: the rule is none; the run has no events, token ids or weights, nothing in
            the train split, or layers that choose different numbers of experts; no token is in
            the table.
    """
    from safetensors.numpy import save_file

    rule = rule_of(**options)  # type: ignore[arg-type]
    layers = frame_of(connection, LAYERS, [run_id])
    _check(run_id, layers, rule)
    choices = token_choices(connection, run_id)
    if choices.empty:
        raise GatehouseError(
            f"{run_id} has no text in the train split, of which the table is made: capture more "
            "samples"
        )
    taken = choices[chosen(choices, rule)]
    if taken.empty:
        raise GatehouseError(
            f"no token of {run_id} is in such a table: ask for a smaller --min-share or "
            "--min-frequency, or a larger --entropy-threshold, or capture more samples"
        )
    shape = (int(choices["token_id"].max()) + 1, len(layers), int(layers["top_k"].max()))
    table = _table(connection, run_id, taken, shape, int(layers["num_experts"].max()))
    metadata = _origin(run_id, layers, rule)
    metadata |= _held_out(connection, run_id, table)
    metadata |= _replayed(connection, run_id, rule)
    save_file(vars(table), target, metadata)


def _check(run_id: str, layers: pd.DataFrame, rule: ReplayPolicy) -> None:
    run = layers.iloc[0]
    if run["source"] == COUNTED:
        raise no_events(run_id)
    for name, lacks in (("has_token_ids", "token ids"), ("has_weights", "weights of the experts")):
        if not layers[name].all():
            raise GatehouseError(
                f"{run_id} has no {lacks}, which a lookup table holds: capture the same text with "
                "`gatehouse capture`, and export that run"
            )
    if rule.entropy_threshold is not None and not layers["has_distribution"].all():
        raise GatehouseError(
            f"{run_id} has no entropies: choose by --min-share or --most-frequent in place of "
            "--entropy-threshold"
        )
    if layers["top_k"].nunique() > 1:
        raise GatehouseError(
            f"{run_id} has layers that choose different numbers of experts, and a lookup table "
            "one k: use --to events"
        )


def _table(
    connection: duckdb.DuckDBPyConnection,
    run_id: str,
    taken: pd.DataFrame,
    shape: tuple[int, int, int],
    num_experts: int,
) -> Table:
    """Return the table of those tokens and layers, of the shape [R, MoE layers, k]."""
    integer = np.int16 if num_experts <= 2**15 else np.int32
    table = Table(
        np.full(shape, -1, integer), np.zeros(shape, np.float32), np.zeros(shape[:2], np.bool_)
    )
    table.mask[taken["token_id"], taken["moe_index"]] = True
    found = token_entries(connection, run_id)
    rows, layers, places = (
        found[name].to_numpy().astype(np.int64) for name in ("token_id", "moe_index", "place")
    )
    known = table.mask[rows, layers]
    at = rows[known], layers[known], places[known]
    table.ids[at] = found["expert"].to_numpy()[known]
    table.weights[at] = found["weight"].to_numpy()[known]
    return table


def _origin(run_id: str, layers: pd.DataFrame, rule: ReplayPolicy) -> dict[str, str]:
    run = layers.iloc[0]
    stated = {name: json.dumps(value) for name, value in vars(rule).items() if value is not None}
    # an imported run may not tell its model's
    known = {name: run[name] for name in ("model", "model_fingerprint") if run[name]}
    return {
        "run_id": run_id,
        **known,
        **stated,
        "kind": rule.kind,
        "policy_id": rule.policy_id,
        "blocks": json.dumps([int(block) for block in layers["block"]]),
        "router_paths": json.dumps(layers["router_path"].to_list()),
    }


def _held_out(connection: duckdb.DuckDBPyConnection, run_id: str, table: Table) -> dict[str, str]:
    """Return what text of the splits validation and test says: `coverage`, `set_agreement`.

    `held_out_occurrences` counts its tokens in all layers, `covered_occurrences` those with an
    entry, and `agreed_occurrences` those of them whose experts are the entry's.
    """
    rows, _, top_k = table.ids.shape
    held_out = covered = agreed = 0
    sets = np.sort(table.ids, axis=2)
    for batch in expert_sets(connection, run_id).to_arrow_reader(ROWS):
        counts = batch.column("occurrences").to_numpy()
        token_ids = batch.column("token_id").to_numpy().astype(np.int64)
        row, layers = np.minimum(token_ids, rows - 1), batch.column("moe_index").to_numpy()
        known = table.mask[row, layers] & (token_ids < rows)
        found = batch.column("expert_set").flatten().to_numpy().reshape(-1, top_k)
        same = (sets[row, layers] == found).all(axis=1)
        held_out += int(counts.sum())
        covered += int(counts[known].sum())
        agreed += int(counts[known & same].sum())
    return {
        "held_out_occurrences": str(held_out),
        "covered_occurrences": str(covered),
        "agreed_occurrences": str(agreed),
        "coverage": json.dumps(covered / held_out if held_out else None),
        "set_agreement": json.dumps(agreed / covered if covered else None),
    }


def _replayed(
    connection: duckdb.DuckDBPyConnection, run_id: str, rule: ReplayPolicy
) -> dict[str, str]:
    """Return what the table cost in the model, empty unless it was replayed."""
    found = frame_of(connection, REPLAYED, [run_id, rule.policy_id])
    return {str(name): json.dumps(found[name].item()) for name in found if len(found)}
