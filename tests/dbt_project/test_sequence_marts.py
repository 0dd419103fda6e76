"""Marts of what follows what: layers, positions, bigrams and segments, recomputed."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from math import comb

import numpy as np
import pandas as pd
import pytest

from tests.dbt_project.conftest import where_known

BIGRAM_THRESHOLD = 100
SEGMENT_LENGTHS = [4, 16, 64, 256]


def by_window(layer) -> Iterator[np.ndarray]:
    """Yield the rows of each sequence that the model read, in order of position."""
    for sample in np.unique(layer.sample_id):
        rows = np.flatnonzero(layer.sample_id == sample)
        rows = rows[np.argsort(layer.position[rows])]
        yield from np.split(rows, range(layer.max_length, len(rows), layer.max_length))


def adjacent_rows(layer) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of (position i, position i + 1) of the same window."""
    pairs = [(rows[:-1], rows[1:]) for rows in by_window(layer)]
    before, after = (np.concatenate(parts) for parts in zip(*pairs))
    return before, after


def test_the_lake_has_the_hard_cases(raw):
    """Two stacks, gaps between MoE blocks that other runs fill, empty and long samples."""
    layers = raw["layers"].groupby("run_id")["layer"].agg(tuple)
    assert {layers["0042"], layers["skipping"]} == {(0, 1, 2), (0, 2)}
    stacks = raw["layers"].groupby("run_id")["stack"].agg(tuple)
    assert stacks["switch"] == ("encoder", "encoder", "decoder", "decoder")
    assert raw["samples"]["tokens"].min() == 0
    assert raw["samples"]["tokens"].max() > 256
    windowed = raw["runs"][raw["runs"]["windows"]].merge(raw["samples"], on="run_id")
    windows = np.ceil(windowed["tokens"] / windowed["max_length"])
    assert {0, 1, 2, 3} == set(windows)


def test_expert_transition(assert_mart, layer_events):
    """P(first choice of the stack's next MoE layer | first choice), as in ExFlow."""
    rows = []
    for here, there in pairwise(layer_events):
        if (here.run_id, here.stack) != (there.run_id, there.stack) or not here.ranked:
            continue
        after = {
            (sample, position): expert
            for sample, position, expert in zip(
                there.sample_id, there.position, there.experts[:, 0]
            )
        }
        chosen = [
            (expert, after[(sample, position)])
            for sample, position, expert in zip(here.sample_id, here.position, here.experts[:, 0])
        ]
        tokens = len(chosen)
        first, second = Counter(pair[0] for pair in chosen), Counter(pair[1] for pair in chosen)
        for (expert, next_expert), count in Counter(chosen).items():
            rows.append(
                here.keys
                | {
                    "next_layer": there.layer,
                    "expert": expert,
                    "next_expert": next_expert,
                    "tokens": count,
                    "expert_tokens": first[expert],
                    "probability": count / first[expert],
                    "next_expert_share": second[next_expert] / tokens,
                    "lift": (count / tokens)
                    / (first[expert] / tokens * second[next_expert] / tokens),
                }
            )
    assert_mart(
        "fct_expert_transition", ["run_id", "layer", "expert", "next_expert"], pd.DataFrame(rows)
    )


def test_expert_repetition(assert_mart, layer_events):
    """Mixtral's Table 5, and what random choices of k of E experts would repeat."""
    rows = []
    for layer in layer_events:
        before, after = adjacent_rows(layer)
        shares = np.bincount(layer.experts[:, 0]) / len(layer.experts)

        def repeated(first: int, layer=layer, before=before, after=after) -> float:
            """Share of the pairs that have one of the first n choices in common."""
            experts = layer.experts[:, :first]
            pairs = zip(experts[before], experts[after])
            return float(np.mean([bool(set(here) & set(there)) for here, there in pairs]))

        def chance(first: int, experts=layer.num_experts) -> float:
            return 1 - comb(experts - first, first) / comb(experts, first)

        more = layer.top_k > 1
        rows.append(
            layer.keys
            | {
                "pairs": len(before),
                "first_choice_chance": 1 / layer.num_experts,
                "first_or_second_chance": chance(2) if more else np.nan,
                "any_choice_repetition": repeated(layer.top_k),
                "any_choice_chance": chance(layer.top_k),
            }
            | where_known(
                layer.ranked,
                {
                    "first_choice_repetition": repeated(1),
                    "first_choice_chance_by_load": (shares**2).sum(),
                    "first_or_second_repetition": repeated(2) if more else np.nan,
                },
            )
        )
    expected = pd.DataFrame(rows)
    top_two_of_eight = expected[expected["run_id"] == "wide"]["first_or_second_chance"]
    assert top_two_of_eight.tolist() == pytest.approx([1 - 6 / 8 * 5 / 7] * 2)
    assert (expected["any_choice_repetition"] > expected["first_or_second_repetition"]).any()
    assert_mart("fct_expert_repetition", ["run_id", "layer"], expected)


def conditional_entropy(conditions: list, experts: np.ndarray, corrected: bool) -> float:
    """H(expert | condition) in nats, over the rows given; Miller-Madow correction if asked for."""
    total = 0.0
    for condition in set(conditions):
        where = np.array([other == condition for other in conditions])
        counts = np.unique(experts[where], return_counts=True)[1]
        shares = counts / counts.sum()
        entropy = -(shares * np.log(shares)).sum()
        correction = (len(counts) - 1) / (2 * counts.sum())
        total += counts.sum() * (entropy + corrected * correction)
    return total / len(experts)


def context(layer) -> dict[str, float]:
    """What the previous token reveals, over the bigrams that occur often enough."""
    before, after = adjacent_rows(layer)
    bigrams = list(zip(layer.token_id[before].tolist(), layer.token_id[after].tolist()))
    counts = Counter(bigrams)
    kept = [index for index, pair in enumerate(bigrams) if counts[pair] >= BIGRAM_THRESHOLD]
    found: dict[str, float] = {
        "bigram_threshold": BIGRAM_THRESHOLD,
        "bigrams": sum(count >= BIGRAM_THRESHOLD for count in counts.values()),
        "token_types": len({bigrams[index][1] for index in kept}),
        "occurrences": len(bigrams),
        "covered_occurrences": len(kept),
        "covered_share": len(kept) / len(bigrams),
    }
    if not kept:
        return found
    experts = layer.experts[after[kept], 0]
    pairs = [bigrams[index] for index in kept]
    tokens = [token for _, token in pairs]
    by_token, by_bigram = (
        conditional_entropy(given, experts, corrected=True) for given in (tokens, pairs)
    )
    plug_in = [conditional_entropy(given, experts, corrected=False) for given in (tokens, pairs)]
    return found | {
        "entropy_given_token": by_token,
        "entropy_given_bigram": by_bigram,
        "information_gain": by_token - by_bigram,
        "plug_in_information_gain": plug_in[0] - plug_in[1],
    }


def test_context_information(assert_mart, token_layers):
    layers = [layer for layer in token_layers if layer.ranked]
    expected = pd.DataFrame([layer.keys | context(layer) for layer in layers])
    long = expected[expected["run_id"] == "long"]
    assert (long["bigrams"] > 5).all()
    assert long["covered_share"].between(0.5, 0.95).all()
    # nothing depends on the previous token there, yet the plug-in estimate finds a gain
    assert (long["plug_in_information_gain"] > 2 * long["information_gain"].abs()).all()
    assert (expected["covered_occurrences"] == 0).any()
    assert_mart("fct_context_information", ["run_id", "layer"], expected)


def best_threshold(counts: np.ndarray, length: int) -> tuple[int, float]:
    """Return (threshold, SRP): the best F1 of keeping segments by an expert's tokens."""

    def f1(threshold: int) -> float:
        kept = counts[counts >= threshold]
        return 2 * kept.sum() / (length * len(kept) + counts.sum())

    thresholds = range(1, counts.max() + 1)
    best = max(f1(threshold) for threshold in thresholds)
    return min(threshold for threshold in thresholds if f1(threshold) == best), best


def test_segment_consistency(assert_mart, layer_events):
    """Segment routing best performance of moe-lrc, over whole segments within a window."""
    rows = []
    for layer in layer_events:
        selected = layer.selected()
        for length in SEGMENT_LENGTHS:
            segments = [
                selected[window[start : start + length]].sum(axis=0)
                for window in by_window(layer)
                for start in range(0, len(window) - length + 1, length)
            ]
            counts = np.array(segments).reshape(-1, layer.num_experts)
            for expert in np.flatnonzero(counts.sum(axis=0)):
                of_expert = counts[:, expert][counts[:, expert] > 0]
                threshold, consistency = best_threshold(of_expert, length)
                rows.append(
                    layer.keys
                    | {
                        "segment_length": length,
                        "expert": expert,
                        "expert_tokens": of_expert.sum(),
                        "expert_segments": len(of_expert),
                        "threshold": threshold,
                        "segment_consistency": consistency,
                    }
                )
    expected = pd.DataFrame(rows)
    assert set(expected["segment_length"]) == set(SEGMENT_LENGTHS)
    assert expected["threshold"].nunique() > 5
    keys = ["run_id", "layer", "segment_length", "expert"]
    assert_mart("fct_segment_consistency", keys, expected)


def test_position_routing(assert_mart, layer_events):
    """Positions 0, 1, 2-3, 4-7, 8-15 and so on."""
    rows = []
    for layer in layer_events:
        positions = layer.position % layer.max_length
        bucket = np.array([int(position).bit_length() for position in positions])
        for number in np.unique(bucket):
            inside = bucket == number
            experts, entropy = layer.experts[inside], layer.entropy[inside]
            for expert in np.unique(experts):
                named = experts == expert
                rows.append(
                    layer.keys
                    | {
                        "position_bucket": number,
                        "expert": expert,
                        "first_position": positions[inside].min(),
                        "last_position": 0 if number == 0 else 2**number - 1,
                        "bucket_events": len(entropy),
                        "bucket_mean_entropy": entropy.mean(),
                        "bucket_std_entropy": entropy.std(ddof=1) if len(entropy) > 1 else np.nan,
                        "selections": named.sum(),
                        "load_share": named.sum() / experts.size,
                    }
                    | where_known(
                        layer.ranked,
                        {
                            "first_choices": named[:, 0].sum(),
                            "first_choice_share": named[:, 0].mean(),
                        },
                    )
                )
    expected = pd.DataFrame(rows)
    assert expected["position_bucket"].max() == 9
    keys = ["run_id", "layer", "position_bucket", "expert"]
    assert_mart("fct_position_routing", keys, expected)
