"""Two runs over the same text: their overlap is recomputed, and the layout changes nothing."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

# the run that started first comes first; in a tie, the smaller name
CAPTURES = [
    *(("ranked", "new"), ("ranked", "told"), ("slim", "wide"), ("told", "new")),
    *(("unordered", "new"), ("unordered", "ranked"), ("unordered", "told")),
    *(("whole", "slim"), ("whole", "wide")),
    *(("normless", "new"), ("normless", "ranked"), ("normless", "told"), ("unordered", "normless")),
]
IMPORTED = [("traced", "slim"), ("traced", "whole"), ("traced", "wide")]
MARGINS = [0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]


@pytest.fixture(scope="module")
def texts(raw) -> dict[str, set[tuple[int, int, str]]]:
    """Run -> its non-empty samples as (id, tokens, hash of the text)."""
    filled = raw["samples"][raw["samples"]["tokens"] > 0]
    columns = ["sample_id", "tokens", "text_sha256"]
    return {
        run_id: set(group[columns].itertuples(index=False, name=None))
        for run_id, group in filled.groupby("run_id")
    }


def in_order(runs: pd.DataFrame) -> list[tuple[str, str]]:
    """Return all pairs of runs, the earlier start first; in a tie, the smaller name."""
    ordered = runs.sort_values(["started_at", "run_id"])["run_id"]
    return list(combinations(ordered, 2))


def with_equal_tokens(layer, other) -> dict[int, int]:
    """Return sample -> sample of the other run with the same tokens, or all but the last."""

    def tokens_of(events) -> dict[int, list[int]]:
        found = pd.Series(events.token_id).groupby(events.sample_id).apply(list)
        return found.to_dict()

    there, pairs = tokens_of(other), {}
    for sample, tokens in tokens_of(layer).items():
        for other_sample, other_tokens in there.items():
            shared = min(len(tokens), len(other_tokens))
            if (
                tokens[:shared] == other_tokens[:shared]
                and abs(len(tokens) - len(other_tokens)) <= 1
            ):
                assert sample not in pairs and other_sample not in pairs.values()
                pairs[sample] = other_sample
    return pairs


def compared(layer, other, samples: dict[int, int], weighed: str) -> pd.DataFrame:
    """Return what the two runs share at each token of the samples.

    Args:
        layer: events of the first run.
        other: events of the other.
        samples: sample of the first run -> that of the other.
        weighed: the run whose weights give the margins.
    """
    there = {
        (sample, position): row
        for row, (sample, position) in enumerate(zip(other.sample_id, other.position))
    }
    rows = []
    for row, (sample, position) in enumerate(zip(layer.sample_id, layer.position)):
        match = there.get((samples.get(sample), position))
        if match is None:
            continue
        assert layer.token_id[row] == other.token_id[match]
        shared = set(layer.experts[row]) & set(other.experts[match])
        weights = layer.weights[row] if weighed == layer.run_id else other.weights[match]
        margin = weights[0] - weights[1] if layer.top_k > 1 else np.nan
        nearest = min(int(position) % layer.max_length, int(position) % other.max_length)
        rows.append(
            {
                "token": (sample, position),
                "overlap": len(shared) / layer.top_k,
                "same_set": len(shared) == layer.top_k,
                "same_top": float(layer.experts[row, 0] == other.experts[match, 0])
                if layer.ranked and other.ranked
                else np.nan,
                "change": other.entropy[match] - layer.entropy[row],
                "position_bucket": nearest.bit_length(),
                "margin_bucket": np.nan
                if np.isnan(margin)
                else np.searchsorted(MARGINS, margin, "right") - 1,
            }
        )
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def pairs(raw, token_layers, texts) -> list[tuple[dict[str, object], pd.DataFrame]]:
    """Keys of each two layers that can be compared, and their tokens."""
    runs = raw["runs"].set_index("run_id")
    found = []
    for run_id, other_id in in_order(raw["runs"]):
        captured = set(runs.loc[[run_id, other_id], "source"]) == {"capture"}
        tokenizers = set(runs.loc[[run_id, other_id], "tokenizer_fingerprint"])
        if captured and len(tokenizers) > 1:
            continue
        for layer in token_layers:
            for other in token_layers:
                if (layer.run_id, other.run_id) != (run_id, other_id) or any(
                    getattr(layer, name) != getattr(other, name)
                    for name in ("layer", "moe_index", "num_experts", "top_k")
                ):
                    continue
                samples = (
                    {sample[0]: sample[0] for sample in texts[run_id] & texts[other_id]}
                    if captured
                    else with_equal_tokens(layer, other)
                )
                is_import = runs.loc[run_id, "source"] != "capture"
                weighed = (
                    other if other.has_weights and (is_import or not layer.has_weights) else layer
                )
                tokens = compared(layer, other, samples, weighed.run_id)
                if len(tokens):
                    found.append((layer.keys | {"other_run_id": other_id}, tokens))
    return found


def test_run_comparison(assert_mart, pairs):
    """Mean of |E ∩ E'| / k, as OLMoE's router saturation, over the samples of equal text."""
    expected = pd.DataFrame(
        keys
        | {
            "tokens": len(tokens),
            "expert_overlap": tokens["overlap"].mean(),
            "set_agreement": tokens["same_set"].mean(),
            "top_agreement": tokens["same_top"].mean(),
            "mean_entropy_change": tokens["change"].mean(),
            "mean_absolute_entropy_change": tokens["change"].abs().mean(),
        }
        for keys, tokens in pairs
    )
    names = expected[["run_id", "other_run_id"]].drop_duplicates()
    assert sorted(names.itertuples(index=False, name=None)) == sorted(CAPTURES + IMPORTED)
    partly = expected[(expected[["run_id", "other_run_id"]] == "slim").any(axis=1)]
    assert partly["set_agreement"].between(0.1, 0.9).all()
    assert (partly["set_agreement"] < partly["expert_overlap"]).all()
    assert_mart("fct_run_comparison", ["run_id", "other_run_id", "layer"], expected)


def test_run_flip(assert_mart, pairs):
    """Flips of the set and of the first choice, by the position's and the margin's bucket."""
    buckets = ["position_bucket", "margin_bucket"]
    expected = pd.DataFrame(
        keys
        | {
            "position_bucket": position,
            "margin_bucket": margin,
            "first_position": 2 ** (position - 1) if position else 0,
            "last_position": 2**position - 1,
            "smallest_margin": np.nan if np.isnan(margin) else MARGINS[int(margin)],
            "tokens": len(group),
            "set_flips": (~group["same_set"]).sum(),
            "top_flips": (1 - group["same_top"]).sum(min_count=1),
            "set_flip_share": (~group["same_set"]).mean(),
            "top_flip_share": (1 - group["same_top"]).mean(),
        }
        for keys, tokens in pairs
        for (position, margin), group in tokens.groupby(buckets, dropna=False)
    )
    assert expected["margin_bucket"].nunique() >= 6
    assert_mart("fct_run_flip", ["run_id", "other_run_id", "layer", *buckets], expected)


def test_run_mismatch(assert_mart, pairs):
    """A token counts once, in however many layers its set flips; its layers count all."""
    every = pd.concat(
        tokens.assign(run_id=keys["run_id"], other_run_id=keys["other_run_id"])
        for keys, tokens in pairs
    )
    names = ["run_id", "other_run_id"]
    every["flipped"] = ~every["same_set"]
    flipped = every.groupby([*names, "token"])["flipped"].agg(["sum", "count"]).reset_index()
    expected = flipped.groupby(names).agg(
        layers=("count", "max"),
        tokens=("token", "count"),
        flipped_tokens=("sum", lambda layers: (layers > 0).sum()),
        flipped_token_share=("sum", lambda layers: (layers > 0).mean()),
        mean_flipped_layers=("sum", "mean"),
    )
    assert_mart("fct_run_mismatch", names, expected.reset_index())


def test_a_run_and_its_own_import_differ_nowhere(connection, raw):
    """The import lacks the last token of each sample, and knows other ids, hashes and names."""
    tokens = raw["samples"].set_index(["run_id", "sample_id"])["tokens"]
    filled = tokens["wide"].loc[:19]
    found = connection.sql(
        "select tokens, flipped_tokens, mean_flipped_layers from fct_run_mismatch "
        "where (run_id, other_run_id) = ('traced', 'wide')"
    ).fetchall()
    assert found == [((filled[filled > 0] - 1).sum(), 0, 0)]


def test_the_lake_has_runs_that_are_not_comparable(raw, texts):
    """Other tokenizer, other top-k, another text under the same id, a text that was cut."""
    runs = raw["runs"].set_index("run_id")
    assert texts["flat"] < texts["wide"]
    assert runs.loc["flat", "tokenizer_fingerprint"] != runs.loc["wide", "tokenizer_fingerprint"]
    assert texts["switch"] < texts["wide"]
    samples = raw["samples"].set_index(["run_id", "sample_id"])
    slim, wide = samples.loc["slim"], samples.loc["wide"]
    assert slim.loc[5, "text_sha256"] != wide.loc[5, "text_sha256"]
    assert slim.loc[5, "tokens"] == wide.loc[5, "tokens"] > 0
    same_text = slim["text_sha256"] == wide.loc[slim.index, "text_sha256"]
    assert (slim["tokens"] < wide.loc[slim.index, "tokens"])[same_text].any()


MARTS = [
    "fct_token_routing",
    "fct_layer_routing",
    "fct_expert_load",
    "fct_token_expert",
    "fct_domain_expert",
    "fct_expert_coactivation",
    "fct_expert_transition",
    "fct_expert_repetition",
    "fct_context_information",
    "fct_expert_coverage",
    "fct_segment_consistency",
    "fct_position_routing",
    "fct_frequency_rank",
    "fct_fast_path_coverage",
    "fct_fast_path_agreement",
    "int_fast_path_table",
]


@pytest.mark.parametrize("name", MARTS)
def test_one_shard_or_three_say_the_same(connection, name):
    """Ties too: modal experts and expert sets do not depend on how the events are stored."""
    table = connection.table(name).to_arrow_table().to_pandas()
    if "run_id" not in table:
        keys = connection.table("stg_runs").select("run_id, run_key").to_arrow_table().to_pandas()
        table = table.merge(keys, on="run_key")
    parts = [
        table[table["run_id"] == run_id].drop(columns=["run_id", "run_key"], errors="ignore")
        for run_id in ("whole", "wide")
    ]
    whole, wide = (
        part.map(
            lambda value: tuple(value) if isinstance(value, np.ndarray) else value
        ).sort_values(list(part.columns), ignore_index=True)
        for part in parts
    )
    assert len(whole) > 0
    pd.testing.assert_frame_equal(whole, wide, rtol=1e-12, atol=1e-15)
