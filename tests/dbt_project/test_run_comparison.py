"""Two runs over the same text: their overlap is recomputed, and the layout changes nothing."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from tests.dbt_project.conftest import where_known

# the run that started first comes first; in a tie, the smaller name
PAIRS = [
    *(("ranked", "new"), ("ranked", "told"), ("slim", "wide"), ("told", "new")),
    *(("unordered", "new"), ("unordered", "ranked"), ("unordered", "told")),
    *(("whole", "slim"), ("whole", "wide")),
]


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


def compared(layer, other, samples: set[int]) -> list[dict[str, float]]:
    """Return what the two runs share at each token of the samples."""
    there = {
        (sample, position): row
        for row, (sample, position) in enumerate(zip(other.sample_id, other.position))
    }
    rows = []
    for row, (sample, position) in enumerate(zip(layer.sample_id, layer.position)):
        if sample not in samples:
            continue
        match = there[(sample, position)]
        assert layer.token_id[row] == other.token_id[match]
        shared = set(layer.experts[row]) & set(other.experts[match])
        rows.append(
            {
                "overlap": len(shared) / layer.top_k,
                "same_set": len(shared) == layer.top_k,
                "same_top": layer.experts[row, 0] == other.experts[match, 0],
                "change": other.entropy[match] - layer.entropy[row],
            }
        )
    return rows


def test_run_comparison(assert_mart, raw, token_layers, texts):
    """Mean of |E ∩ E'| / k, as OLMoE's router saturation, over the samples of equal text."""
    tokenizers = raw["runs"].set_index("run_id")["tokenizer_fingerprint"]
    rows = []
    for run_id, other_id in in_order(raw["runs"]):
        shared = texts[run_id] & texts[other_id]
        if tokenizers[run_id] != tokenizers[other_id] or not shared:
            continue
        for layer in token_layers:
            for other in token_layers:
                if (layer.run_id, other.run_id) != (run_id, other_id) or any(
                    getattr(layer, name) != getattr(other, name)
                    for name in ("layer", "moe_index", "num_experts", "top_k")
                ):
                    continue
                tokens = pd.DataFrame(compared(layer, other, {sample[0] for sample in shared}))
                rows.append(
                    layer.keys
                    | {
                        "other_run_id": other_id,
                        "tokens": len(tokens),
                        "expert_overlap": tokens["overlap"].mean(),
                        "set_agreement": tokens["same_set"].mean(),
                        "mean_entropy_change": tokens["change"].mean(),
                        "mean_absolute_entropy_change": tokens["change"].abs().mean(),
                    }
                    | where_known(
                        layer.ranked and other.ranked, {"top_agreement": tokens["same_top"].mean()}
                    )
                )
    expected = pd.DataFrame(rows)
    pairs = expected[["run_id", "other_run_id"]].drop_duplicates()
    assert sorted(pairs.itertuples(index=False, name=None)) == PAIRS
    partly = expected[(expected[["run_id", "other_run_id"]] == "slim").any(axis=1)]
    assert partly["set_agreement"].between(0.1, 0.9).all()
    assert (partly["set_agreement"] < partly["expert_overlap"]).all()
    assert_mart("fct_run_comparison", ["run_id", "other_run_id", "layer"], expected)


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
