"""Marts of tokens, layers and dimensions against what pandas and numpy find in the raw Parquet."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from tests.dbt_project.conftest import where_known

FREQUENCIES = [0, 5, 10, 20, 50, 100, 200, 500, 1000]
ENTROPIES = [0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]
FURTHER_ENTROPIES = [2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0]


def modal(experts: pd.Series) -> tuple[float, float]:
    """Return (modal expert, its count); ties go to the smallest id; NaN where there is no order."""
    if experts.isna().all():
        return np.nan, np.nan
    counts = np.bincount(experts.astype(int))
    return int(np.argmax(counts)), int(counts.max())


def token_statistics(events: pd.DataFrame) -> pd.DataFrame:
    """Return per (run, layer, token) what numpy's two-pass formulas give."""
    rows = []
    for (run_id, layer, token_id), group in events.groupby(["run_id", "layer", "token_id"]):
        expert, count = modal(group["top_expert"])
        rows.append(
            {
                "run_id": run_id,
                "layer": layer,
                "token_id": token_id,
                "frequency": len(group),
                **moments(group),
                "routing_consistency": count / len(group),
                "top_expert": expert,
                "modal_occurrences": count,
            }
        )
    return pd.DataFrame(rows)


def moments(group: pd.DataFrame) -> dict[str, float]:
    entropy, confidence = group["entropy"].to_numpy(), group["confidence"].to_numpy()
    one = len(group) == 1
    return {
        "mean_entropy": entropy.mean(),
        "std_entropy": np.nan if one else entropy.std(ddof=1),
        "mean_confidence": confidence.mean(),
        "std_confidence": np.nan if one else confidence.std(ddof=1),
        "min_entropy": entropy.min(),
        "max_entropy": entropy.max(),
    }


@pytest.fixture(scope="module")
def tokens(raw) -> pd.DataFrame:
    layers = raw["layers"][["run_id", "layer", "moe_index"]]
    statistics = token_statistics(raw["events"]).merge(layers, on=["run_id", "layer"])
    return statistics.merge(raw["vocabulary"], on=["run_id", "token_id"])


def test_the_lake_has_the_hard_cases(tokens, raw):
    """Ties, single occurrences and deviations of 1e-5 from 4.85 all occur."""
    counts = raw["events"].groupby(["run_id", "layer", "token_id", "top_expert"]).size()
    most = counts.groupby(level=[0, 1, 2]).transform("max")
    assert (counts[counts == most].groupby(level=[0, 1, 2]).size() > 1).sum() > 5
    assert (tokens["frequency"] == 1).any()
    flat = tokens[(tokens["run_id"] == "flat") & (tokens["frequency"] > 20)]
    assert flat["mean_entropy"].between(4.8499, 4.8501).all()
    assert flat["std_entropy"].between(5e-6, 2e-5).all()


def test_token_routing(assert_mart, tokens):
    expected = tokens.drop(columns="modal_occurrences")
    assert_mart("fct_token_routing", ["run_id", "layer", "token_id"], expected)


def test_layer_routing(assert_mart, tokens, layer_events, raw):
    modal_occurrences = tokens.groupby(["run_id", "layer"])["modal_occurrences"].agg(sum)
    groups = dict(iter(raw["events"].groupby(["run_id", "layer"])))
    rows = [
        layer.keys
        | moments(groups[(layer.run_id, layer.layer)])
        | balance(layer.load())
        | {
            "num_experts": layer.num_experts,
            "events": len(layer.entropy),
            "token_types": len(set(layer.token_id)) if layer.has_token_ids else np.nan,
            "normalised_entropy": layer.entropy.mean() / np.log(layer.num_experts),
            "routing_consistency": modal_occurrences.get((layer.run_id, layer.layer), np.nan)
            / len(layer.entropy),
        }
        | where_known(layer.has_weights, {"dropped_share": (layer.weights == 0).mean()})
        for layer in layer_events
    ]
    expected = pd.DataFrame(rows)
    flat = expected[expected["run_id"] == "flat"]
    assert flat["std_entropy"].between(5e-6, 2e-5).all()
    assert expected["dead_experts"].sum() > 1
    assert expected["jain_index"].nunique() > 5
    assert_mart("fct_layer_routing", ["run_id", "layer"], expected)


def balance(load: np.ndarray) -> dict[str, float]:
    """Balance of the experts' loads, as vLLM, Switch, Jain and DeepSeek's MaxVio define it."""
    return {
        "max_load_ratio": load.max() / load.mean(),
        "max_violation": (load.max() - load.mean()) / load.mean(),
        "load_variation": load.std(ddof=0) / load.mean(),
        "jain_index": load.sum() ** 2 / (len(load) * (load**2).sum()),
        "dead_experts": (load == 0).sum(),
    }


def test_frequency_rank(assert_mart, raw):
    layers = raw["layers"].query("moe_index == 0")[["run_id", "layer"]]
    lengths = raw["runs"].set_index("run_id")["max_length"]
    counts = (
        raw["events"]
        .merge(layers, on=["run_id", "layer"])
        .assign(position=lambda events: events["position"] % events["run_id"].map(lengths))
        .groupby(["run_id", "token_id"])["position"]
        .agg(frequency="size", mean_position="mean")
        .reset_index()
        .sort_values(["run_id", "frequency", "token_id"], ascending=[True, False, True])
    )
    by_run = counts.groupby("run_id")
    counts["frequency_rank"] = by_run.cumcount() + 1
    counts["share"] = counts["frequency"] / by_run["frequency"].transform("sum")
    counts["cumulative_share"] = counts.groupby("run_id")["share"].cumsum()
    expected = counts.merge(raw["vocabulary"], on=["run_id", "token_id"])
    assert_mart("fct_frequency_rank", ["run_id", "frequency_rank"], expected)


def test_fast_path_coverage(assert_mart, tokens, layer_events):
    experts = {(each.run_id, each.layer): each.num_experts for each in layer_events}
    rows = []
    for (run_id, layer), group in tokens.dropna(subset="mean_entropy").groupby(["run_id", "layer"]):
        frequencies = group["frequency"].to_numpy()
        entropies = group["mean_entropy"].to_numpy()
        highest = np.log(experts[(run_id, layer)])
        thresholds = ENTROPIES + [each for each in FURTHER_ENTROPIES if each < highest]
        for frequency, entropy in product(FREQUENCIES, thresholds):
            eligible = frequencies[(frequencies > frequency) & (entropies < entropy)]
            rows.append(
                {
                    "run_id": run_id,
                    "layer": layer,
                    "frequency_threshold": frequency,
                    "entropy_threshold": entropy,
                    "moe_index": group["moe_index"].iloc[0],
                    "eligible_tokens": len(eligible),
                    "token_types": len(frequencies),
                    "covered_occurrences": eligible.sum(),
                    "occurrences": frequencies.sum(),
                    "coverage": eligible.sum() / frequencies.sum(),
                }
            )
    keys = ["run_id", "layer", "frequency_threshold", "entropy_threshold"]
    expected = pd.DataFrame(rows)
    assert expected["coverage"].nunique() > 10
    assert_mart("fct_fast_path_coverage", keys, expected)


def test_runs(assert_mart, raw):
    samples = raw["samples"].groupby("run_id")
    expected = (
        raw["runs"]
        .set_index("run_id")
        .assign(
            samples=samples.size(),
            duplicate_samples=samples.size() - samples["text_sha256"].nunique(),
            tokens=samples["tokens"].sum(),
            dropped_tokens=samples["dropped_tokens"].sum(),
            moe_layers=raw["layers"].groupby("run_id").size(),
            events=raw["events"].groupby("run_id").size(),
            has_output_norms=lambda runs: runs["output_norms"].notna(),
        )
        .drop(columns="output_norms")
    )
    assert expected["duplicate_samples"].to_dict()["0042"] == 5
    assert_mart("dim_run", ["run_id"], expected.reset_index())


@pytest.mark.parametrize(
    ("name", "table", "key"),
    [
        ("dim_layer", "layers", ["layer"]),
        ("dim_token", "vocabulary", ["token_id"]),
    ],
)
def test_the_lake_is_repeated(assert_mart, raw, name, table, key):
    """Every column of every row, of finished runs alone."""
    expected = raw[table]
    if name == "dim_layer":
        with_norms = raw["runs"].loc[raw["runs"]["output_norms"].notna(), "run_id"]
        expected = expected.assign(has_output_norms=expected["run_id"].isin(with_norms))
    assert_mart(name, ["run_id", *key], expected)


def test_events_are_those_of_the_lake_and_their_places_in_the_windows(assert_mart, raw):
    """`events` is what ad-hoc SQL sees; what was generated follows the prompt."""
    lengths = raw["events"]["run_id"].map(raw["runs"].set_index("run_id")["max_length"])
    expected = raw["events"].assign(window_position=raw["events"]["position"] % lengths)
    assert (expected["window_position"] < expected["position"]).any()
    prompts = raw["samples"].set_index(["run_id", "sample_id"])["prompt_tokens"]
    of_event = prompts.loc[list(zip(expected["run_id"], expected["sample_id"]))].to_numpy()
    expected["phase"] = np.where(expected["position"] < of_event, "prompt", "generated")
    assert {"long", "told", "tokenless"} <= set(
        expected.loc[expected["phase"] == "generated", "run_id"]
    )
    expected = expected.drop(columns="output_norms")
    assert_mart("events", ["run_id", "sample_id", "layer", "position"], expected)
