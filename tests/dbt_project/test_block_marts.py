"""Marts by blocks of documents, against a plain count over the raw events."""

from collections import Counter, defaultdict

import numpy as np
import pandas as pd
import pytest

from tests.dbt_project.conftest import where_known

BLOCKS = 64


@pytest.fixture(scope="module")
def blocks(raw) -> pd.DataFrame:
    """(run, sample) -> block: documents with tokens take the blocks in turn, by their hashes."""
    samples = raw["samples"][raw["samples"]["tokens"] > 0]
    rows = [
        {"run_id": run_id, "sample_id": sample_id, "block": place % BLOCKS}
        for run_id, group in samples.groupby("run_id")
        for place, (_, document) in enumerate(sorted(group.groupby("document_sha256")))
        for sample_id in document["sample_id"]
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def halves(token_layers, blocks) -> list[np.ndarray]:
    """For every layer's events, whether the document is in an odd block."""
    odd = blocks.set_index(["run_id", "sample_id"])["block"] % 2
    return [
        odd.loc[layer.run_id].reindex(layer.sample_id).to_numpy(dtype=int) for layer in token_layers
    ]


def choices(layer, half: np.ndarray) -> dict[int, list[tuple[Counter, Counter]]]:
    """Token -> for each half, counts of its first choices and counts of its selections."""
    found: dict[int, list] = defaultdict(lambda: [(Counter(), Counter()), (Counter(), Counter())])
    for row, token in enumerate(layer.token_id.tolist()):
        first, selected = found[token][half[row]]
        first[int(layer.experts[row, 0])] += 1
        selected.update(layer.experts[row].tolist())
    return found


def smallest_mode(counts: Counter) -> int:
    most = max(counts.values())
    return min(choice for choice, count in counts.items() if count == most)


def agreements(scored: Counter, other: Counter) -> int:
    return scored[smallest_mode(other)] if other else 0


def consistency(ranked: bool, even: tuple[Counter, Counter], odd: tuple[Counter, Counter]) -> dict:
    """The measures of one token from its two halves, by the definitions."""
    frequency = even[0].total() + odd[0].total()
    held_out = frequency if even[0] and odd[0] else 0
    top, selection = (agreements(e, o) + agreements(o, e) for e, o in zip(even, odd))
    return {
        "frequency": frequency,
        "held_out_occurrences": held_out,
        "held_out_selection_agreements": selection,
        "vocabulary_specialisation": max((even[1] + odd[1]).values()) / frequency,
        "held_out_specialisation": selection / held_out if held_out else np.nan,
    } | where_known(
        ranked,
        {
            "held_out_top_agreements": top,
            "routing_consistency": max((even[0] + odd[0]).values()) / frequency,
            "held_out_consistency": top / held_out if held_out else np.nan,
        },
    )


@pytest.fixture(scope="module")
def expected_consistency(token_layers, halves) -> pd.DataFrame:
    return pd.DataFrame(
        [
            layer.keys | {"token_id": token} | consistency(layer.ranked, *both)
            for layer, half in zip(token_layers, halves)
            for token, both in choices(layer, half).items()
        ]
    )


def test_the_lake_has_the_hard_cases(token_layers, halves, blocks, expected_consistency):
    """Documents have several samples, texts are read twice, tokens lack a half, modes tie."""
    sizes = blocks.groupby(["run_id", "block"]).size()
    assert set(sizes.loc["uniform"]) == {2, 3} and set(sizes.loc["0042"]) == {1, 2}
    assert sizes.loc["fine"].min() >= 3 and set(sizes.loc["wide"]) == {1}
    assert (expected_consistency["held_out_occurrences"] == 0).sum() > 20
    tied = [0, 0]
    for layer, half in zip(token_layers, halves):
        for kind, counts in (
            pair for both in choices(layer, half).values() for b in both for pair in enumerate(b)
        ):
            tied[kind] += list(counts.values()).count(max(counts.values(), default=0)) > 1
    assert min(tied) > 20
    differs = expected_consistency.eval("held_out_top_agreements != held_out_selection_agreements")
    assert differs.any()


def test_samples(assert_mart, raw, blocks):
    """Every column of every sample, and its block; null for one without tokens."""
    expected = raw["samples"].merge(blocks, on=["run_id", "sample_id"], how="left")
    assert expected["block"].isna().sum() == (raw["samples"]["tokens"] == 0).sum() > 0
    assert_mart("dim_sample", ["run_id", "sample_id"], expected)


def test_block_routing(assert_mart, raw, blocks):
    keys = ["run_id", "layer", "moe_index", "block", "token_id"]
    expected = (
        raw["events"]
        .merge(blocks, on=["run_id", "sample_id"])
        .merge(raw["layers"][["run_id", "layer", "moe_index"]], on=["run_id", "layer"])
        .groupby(keys)["entropy"]
        .agg(occurrences="size", entropy_sum=lambda entropy: entropy.sum(skipna=False))
        .reset_index()
    )
    assert_mart("fct_block_routing", keys, expected)


def test_token_consistency(assert_mart, expected_consistency):
    assert_mart("fct_token_consistency", ["run_id", "layer", "token_id"], expected_consistency)


@pytest.mark.parametrize(
    ("measure", "plain", "agreements", "chance"),
    [
        ("held_out_consistency", "routing_consistency", "held_out_top_agreements", 1 / 8),
        (
            "held_out_specialisation",
            "vocabulary_specialisation",
            "held_out_selection_agreements",
            2 / 8,
        ),
    ],
)
def test_a_random_router_scores_chance(connection, measure, plain, agreements, chance):
    """The router draws 2 of 8 experts; tokens are independent, the halves of one are not."""
    tokens = connection.table("fct_token_consistency").to_arrow_table().to_pandas()
    tokens = tokens[tokens["run_id"] == "uniform"]
    occurrences = tokens["held_out_occurrences"]
    mean = (tokens[measure].fillna(0) * occurrences).sum() / occurrences.sum()
    excess = tokens[agreements] - chance * occurrences
    error = np.sqrt((excess**2).sum()) / occurrences.sum()
    assert error < 0.02 and abs(mean - chance) < 4 * error
    rare = tokens[tokens["frequency"].between(2, 4)]
    assert len(rare) > 50
    assert np.average(rare[plain], weights=rare["frequency"]) > 2 * chance
    mean_of_rare = rare[agreements].sum() / rare["held_out_occurrences"].sum()
    assert abs(mean_of_rare - chance) < 0.1
