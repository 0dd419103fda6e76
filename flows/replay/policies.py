"""Policies over a run: the tables and rankings that the warehouse holds, as models replay them."""

from collections.abc import Callable
from functools import cache
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from gatehouse.models.replay.lookup import entries_of, masked, none_known, pairs
from gatehouse.models.replay.policies import (
    DropBelow,
    DropEntropy,
    InLayers,
    MaskExperts,
    OwnRouting,
    RandomDrop,
    RandomSets,
)
from gatehouse.models.replay.tables import BigramTable, Entries, GivenRouting, TokenTable
from gatehouse.reports.marts import held_out, lookup_table
from gatehouse.warehouse import replays
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.replays import ReplayPolicy

SEED = 0
"""Of what is drawn at random: the same draws for every replay."""


class Policies:
    """Makes the policies of one run, each table read once.

    Args:
        connection: a session over marts that hold the run as it is in the lake.
        lake: that of the marts.
        run_id: a captured run.

    Raises:
        GatehouseError: nothing of the run's text is of the train split.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, lake: Lake, run_id: str) -> None:
        self._connection = connection
        self._lake = lake
        self._run_id = run_id
        self._layers = lake.layers(run_id).sort_by("moe_index").to_pylist()
        self._top_k = max(layer["top_k"] for layer in self._layers)
        self._token_entries = cache(self._read_token_entries)
        self._bigram_entries = cache(self._read_bigram_entries)
        self._saliency = cache(self._read_saliency)
        self._made_once = cache(self._made)

    def of(self, policy: ReplayPolicy, sample_ids: list[int]) -> Any:
        """Return a policy of `models.replay` for some samples.

        Raises:
            GatehouseError: the run lacks what the policy needs, or another run has another text.
        """
        if policy.kind == replays.ROUTING_OF:
            made = self._routing_of(policy, sample_ids)
        else:
            made = self._made_once(policy)
        return made if policy.moe_indices is None else InLayers(made, frozenset(policy.moe_indices))

    def _made(self, policy: ReplayPolicy) -> Any:
        makers: dict[str, Callable[[], Any]] = {
            replays.OWN: OwnRouting,
            replays.RANDOM: lambda: RandomSets(SEED),
            replays.TOKENS: lambda: self._token_table(policy),
            replays.ANOTHER_TOKEN: lambda: self._token_table(policy).of_another_token(SEED),
            replays.BIGRAMS: lambda: self._bigram_table(policy),
            replays.DROP_BELOW: lambda: self._drop(policy),
            replays.DROP_ENTROPY: lambda: self._drop(policy),
            replays.RANDOM_DROP: lambda: RandomDrop(self._drop(policy), SEED),
            replays.MASK: lambda: self._mask(policy),
            replays.RANDOM_MASK: lambda: self._mask(policy),
        }
        return makers[policy.kind]()

    def _drop(self, policy: ReplayPolicy) -> Any:
        if policy.weight_threshold is not None:
            return DropBelow(policy.weight_threshold)
        scoring = tuple(layer["scoring"] for layer in self._layers)
        assert policy.entropy_threshold is not None
        return DropEntropy(policy.entropy_threshold, scoring)

    def _token_table(self, policy: ReplayPolicy) -> TokenTable:
        entries, choices = self._token_entries()
        rows, moe_indices = choices["token_id"].to_numpy(), choices["moe_index"].to_numpy()
        taken = lookup_table.chosen(choices, policy).to_numpy()
        is_known = none_known(entries)
        is_known[rows[taken], moe_indices[taken]] = True
        weights = None if policy.ids_only else entries.weights
        return TokenTable(Entries(entries.ids, is_known, weights))

    def _read_token_entries(self) -> tuple[Entries, pd.DataFrame]:
        choices = lookup_table.token_choices(self._connection, self._run_id)
        if choices.empty:
            raise GatehouseError(
                f"{self._run_id} has no text in the train split, so there is no table to replay: "
                "capture more samples"
            )
        found = lookup_table.token_entries(self._connection, self._run_id)
        return self._entries(found["token_id"], found, int(choices["token_id"].max()) + 1), choices

    def _bigram_table(self, policy: ReplayPolicy) -> BigramTable:
        first, second, entries = self._bigram_entries(policy.min_frequency, policy.min_share)
        return BigramTable(first, second, _without_weights(entries, policy))

    def _read_bigram_entries(
        self, min_frequency: int, min_share: float
    ) -> tuple[Any, Any, Entries]:
        found = lookup_table.bigram_entries(
            self._connection, self._run_id, min_frequency, min_share
        )
        return self._pairs(found, "previous_id", "token_id")

    def _routing_of(self, policy: ReplayPolicy, sample_ids: list[int]) -> GivenRouting:
        assert policy.routing_of is not None
        found = held_out.routing_of(self._connection, policy.routing_of, sample_ids)
        self._check_same_text(policy.routing_of, sample_ids)
        if found["weight"].null_count and not policy.ids_only:
            raise GatehouseError(
                f"{policy.routing_of} has no weights: add --ids-only, so that the router of "
                f"{self._run_id} weights the experts"
            )
        first, second, entries = self._pairs(found, "sample_id", "position")
        return GivenRouting(first, second, _without_weights(entries, policy))

    def _check_same_text(self, other: str, sample_ids: list[int]) -> None:
        """Refuse another run whose samples have other tokens, or other MoE layers."""
        own = held_out.tokens_of(self._connection, self._run_id, sample_ids)
        theirs = held_out.tokens_of(self._connection, other, sample_ids)
        if not own.equals(theirs):
            raise GatehouseError(
                f"{other} is not a run of the same text: its samples have other tokens than those "
                f"of {self._run_id}; name one of the same samples and tokenizer"
            )
        layers = self._lake.layers(other).sort_by("moe_index").to_pylist()
        for name in ("num_experts", "top_k"):
            if [each[name] for each in layers] != [each[name] for each in self._layers]:
                raise GatehouseError(
                    f"{other} is of another model than {self._run_id}: its MoE layers have other "
                    "numbers of experts; name a run of the same model"
                )

    def _pairs(self, found: pa.Table, first: str, second: str) -> tuple[Any, Any, Entries]:
        """Return the distinct pairs of two columns, and the entries of each."""
        keys = np.stack([found[name].to_numpy() for name in (first, second)]).astype(np.int64)
        distinct, rows = np.unique(keys, axis=1, return_inverse=True)
        entries = self._entries(pa.array(rows.reshape(-1)), found, distinct.shape[1])
        return *pairs(*distinct), entries

    def _entries(self, rows: Any, found: pa.Table, number: int) -> Entries:
        columns = {name: found[name].to_numpy() for name in ("moe_index", "place", "expert")}
        weight = found["weight"].to_numpy()
        shape = (number, len(self._layers), self._top_k)
        return entries_of(rows.to_numpy(), **columns, weight=weight, shape=shape)

    def _mask(self, policy: ReplayPolicy) -> MaskExperts:
        """Return the experts of each layer that matter least, or random ones."""
        assert policy.masked_experts is not None
        sizes = [layer["num_experts"] for layer in self._layers]
        if policy.ranked_by is None:
            generator = np.random.default_rng(SEED)
            orders = [generator.permutation(size) for size in sizes]
        else:
            orders = [np.argsort(of, kind="stable") for of in self._saliency(policy.ranked_by)]
        return masked([order[: policy.masked_experts] for order in orders], max(sizes))

    def _read_saliency(self, by: str) -> list[np.ndarray]:
        """Return how much each expert of each layer matters; 0 for one that was never chosen."""
        if by != "reap":
            found = held_out.expert_loads(self._connection, self._run_id)
        elif self._lake.has_output_norms(self._run_id):
            shards = self._lake.shards.recorded(self._run_id)
            files = [self._lake.shard_file("events", self._run_id, shard) for shard in shards]
            found = held_out.expert_reap(self._connection, self._run_id, files)
        else:
            raise GatehouseError(
                f"--mask reap needs the norms of the experts' outputs, which {self._run_id} has "
                "not: capture it with --output-norms, or mask by load or gate-mass"
            )
        matters = [np.zeros(layer["num_experts"]) for layer in self._layers]
        columns = [found[name] for name in ("moe_index", "expert", by.replace("-", "_"))]
        for moe_index, expert, saliency in zip(*columns, strict=True):
            matters[moe_index][expert] = saliency
        return matters


def _without_weights(entries: Entries, policy: ReplayPolicy) -> Entries:
    return Entries(entries.ids, entries.is_known) if policy.ids_only else entries
