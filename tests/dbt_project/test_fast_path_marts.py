"""The lookup-table fast path: built on the train split, scored on the held-out samples."""

from collections import Counter, defaultdict
from itertools import product

import numpy as np
import pandas as pd
import pytest

FREQUENCIES = [0, 5, 10, 20, 50, 100, 200, 500, 1000]
ENTROPIES = [0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]
FURTHER_ENTROPIES = [2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0]
TABLE_SIZES = [64, 256, 1024, 4096, 16384, 65536]
MIN_SHARES = [0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0]
MIN_FREQUENCIES = [1, 2, 5, 10, 20, 50, 100, 200]


def train_counts(layer) -> tuple[dict[int, Counter], dict[int, Counter]]:
    """Return token -> counts of its first choices, and token -> counts of its expert sets."""
    first: dict[int, Counter] = defaultdict(Counter)
    sets: dict[int, Counter] = defaultdict(Counter)
    for row in np.flatnonzero(layer.split == "train"):
        token = int(layer.token_id[row])
        first[token][int(layer.experts[row, 0])] += 1
        sets[token][tuple(sorted(layer.experts[row].tolist()))] += 1
    return first, sets


def smallest_mode(counts: Counter):
    most = max(counts.values())
    return min(choice for choice, count in counts.items() if count == most)


def lookup_tables(layer) -> dict[int, dict[int, tuple[int, tuple[int, ...]]]]:
    """Return table size -> token -> (modal top expert, modal expert set); ties go to the smallest.

    A table holds the most frequent tokens of the train split; ties go to the smallest ids.
    """
    first, sets = train_counts(layer)
    tokens = sorted(first, key=lambda token: (-first[token].total(), token))
    entries = {token: (smallest_mode(first[token]), smallest_mode(sets[token])) for token in tokens}
    return {size: {token: entries[token] for token in tokens[:size]} for size in TABLE_SIZES}


def scores(layer, table: dict[int, tuple[int, tuple[int, ...]]]) -> dict[str, float]:
    held_out = np.flatnonzero(layer.split != "train")
    covered = [row for row in held_out if layer.token_id[row] in table]
    found: dict[str, float] = {
        "table_tokens": len(table),
        "held_out_occurrences": len(held_out),
        "covered_occurrences": len(covered),
        "coverage": len(covered) / len(held_out) if len(held_out) else np.nan,
    }
    if not covered:
        return found
    entries = [table[layer.token_id[row]] for row in covered]
    experts, weights = layer.experts[covered], layer.weights[covered]
    retained = [np.isin(row, entry[1]) for row, entry in zip(experts, entries)]
    return found | {
        "top_agreement": np.mean(experts[:, 0] == [entry[0] for entry in entries])
        if layer.ranked
        else np.nan,
        "set_agreement": np.mean(
            [set(row) == set(entry[1]) for row, entry in zip(experts, entries)]
        ),
        "retained_gate_mass": (weights * retained).sum() / weights.sum()
        if weights.any()
        else np.nan,
    }


@pytest.fixture(scope="module")
def expected(token_layers) -> pd.DataFrame:
    return pd.DataFrame(
        [
            layer.keys | {"table_size": size} | scores(layer, table)
            for layer in token_layers
            for size, table in lookup_tables(layer).items()
        ]
    )


def reachable(num_experts: int) -> list[float]:
    """Return the grid's entropy thresholds for a router of so many experts."""
    return ENTROPIES + [each for each in FURTHER_ENTROPIES if each < np.log(num_experts)]


def threshold_scores(layer) -> list[dict[str, float]]:
    """Return the scores of the table of each pair of thresholds."""
    train = layer.split == "train"
    entropies = {token: layer.entropy[train & (layer.token_id == token)] for token in modes(layer)}
    grid = {
        (frequency, entropy): tuple(
            token
            for token, values in entropies.items()
            if len(values) > frequency and values.mean() < entropy
        )
        for frequency, entropy in product(FREQUENCIES, reachable(layer.num_experts))
    }
    return grid_scores(layer, ("frequency_threshold", "entropy_threshold"), grid)


def share_scores(layer) -> list[dict[str, float]]:
    """Return the scores of the table of each least share and least frequency."""
    sets = train_counts(layer)[1]
    grid = {
        (share, frequency): tuple(
            token
            for token in modes(layer)
            if max(sets[token].values()) / sets[token].total() >= share
            and sets[token].total() >= frequency
        )
        for share, frequency in product(MIN_SHARES, MIN_FREQUENCIES)
    }
    return grid_scores(layer, ("min_share", "min_frequency"), grid)


def modes(layer) -> dict[int, tuple[int, tuple[int, ...]]]:
    return lookup_tables(layer)[max(TABLE_SIZES)]


def grid_scores(
    layer, names: tuple[str, str], grid: dict[tuple[float, float], tuple[int, ...]]
) -> list[dict[str, float]]:
    """Return the scores of the table of the tokens at each place of a grid, equal tables once."""
    entries = modes(layer)
    known: dict[tuple[int, ...], dict[str, float]] = {}
    for tokens in grid.values():
        if tokens not in known:
            known[tokens] = scores(layer, {token: entries[token] for token in tokens})
    return [
        layer.keys | dict(zip(names, place, strict=True)) | known[tokens]
        for place, tokens in grid.items()
    ]


@pytest.fixture(scope="module")
def expected_thresholds(token_layers) -> pd.DataFrame:
    layers = [layer for layer in token_layers if not np.isnan(layer.entropy).any()]
    return pd.DataFrame([row for layer in layers for row in threshold_scores(layer)])


@pytest.fixture(scope="module")
def expected_shares(token_layers) -> pd.DataFrame:
    return pd.DataFrame([row for layer in token_layers for row in share_scores(layer)])


def test_the_lake_has_the_hard_cases(token_layers, expected, expected_thresholds, expected_shares):
    """Modal experts and sets tie, tables hold only some tokens, some runs lack a split.

    Both thresholds, and both rules of the shares, matter, and some of their tables hold no held-out
    token.
    """
    tied_experts, tied_sets, larger_sets = 0, 0, 0
    for layer in token_layers:
        for counts in train_counts(layer)[0].values():
            tied_experts += list(counts.values()).count(max(counts.values())) > 1
        for counts in train_counts(layer)[1].values():
            tied = list(counts.values()).count(max(counts.values())) > 1
            tied_sets += tied and len(next(iter(counts))) > 1
            larger_sets += tied and len(next(iter(counts))) == 8
    assert min(tied_experts, tied_sets, larger_sets) > 20
    fine = expected[expected["run_id"] == "fine"].set_index("table_size")
    assert fine.loc[64, "coverage"] < fine.loc[256, "coverage"] < fine.loc[65536, "coverage"] < 1
    assert fine.loc[256, "table_tokens"] == 256 < fine.loc[1024, "table_tokens"] < 1024
    assert (expected["held_out_occurrences"] == 0).any()
    assert (expected["table_tokens"] == 0).any()
    assert (expected["set_agreement"] < expected["top_agreement"]).any()
    assert expected["retained_gate_mass"].between(0.01, 0.99).any()
    for threshold in ("frequency_threshold", "entropy_threshold"):
        assert expected_thresholds.groupby(threshold)["coverage"].sum().nunique() > 5
    for rule in ("min_share", "min_frequency"):
        assert expected_shares.groupby(rule)["coverage"].sum().nunique() > 5
    held_out = expected_thresholds[expected_thresholds["held_out_occurrences"] > 0]
    assert held_out["top_agreement"].isna().any()
    assert (held_out["covered_occurrences"] == 0)[held_out["table_tokens"] > 0].any()


def test_fast_path_agreement(assert_mart, expected):
    assert_mart("fct_fast_path_agreement", ["run_id", "layer", "table_size"], expected)


def test_fast_path_thresholds(assert_mart, expected_thresholds):
    keys = ["run_id", "layer", "frequency_threshold", "entropy_threshold"]
    assert_mart("fct_fast_path_thresholds", keys, expected_thresholds)


def test_fast_path_shares(assert_mart, expected_shares):
    keys = ["run_id", "layer", "min_share", "min_frequency"]
    assert_mart("fct_fast_path_shares", keys, expected_shares)


def test_lookup_tables_are_the_smallest_modes(connection, token_layers):
    """The table itself: its tokens in order, with the expert and set of each, and its share."""
    rows = connection.execute(
        """
        select run_id, layer, token_id, top_expert, expert_set, set_share
        from int_fast_path_table
        inner join stg_runs using (run_key)
        order by run_id, layer, frequency_rank
        """
    ).fetchall()
    found = defaultdict(dict)
    shares = defaultdict(dict)
    for run_id, layer, token, expert, expert_set, share in rows:
        found[(run_id, layer)][token] = (expert, tuple(expert_set))
        shares[(run_id, layer)][token] = share
    for layer in token_layers:
        table = modes(layer)
        sets = train_counts(layer)[1]
        assert shares[(layer.run_id, layer.layer)] == {
            token: max(counts.values()) / counts.total() for token, counts in sets.items()
        }
        if not layer.ranked:
            table = {token: (None, experts) for token, (_, experts) in table.items()}
        assert list(found[(layer.run_id, layer.layer)].items()) == list(table.items())
