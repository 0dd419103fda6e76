"""What replays found, computed again from the landed parts and from the events."""

from contextlib import closing

import duckdb
import numpy as np
import pandas as pd
import pytest

from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.replays import OF_A_POLICY, TOKENS, content_hash, parts, read_part
from tests.dbt_project.conftest import FINISHED
from tests.dbt_project.test_fast_path_marts import smallest_mode, train_counts

POLICY = ["run_id", "policy_id"]
OF_LAYERS = ["covered", "agreed", "undisturbed", "experts_run"]
SUMS = ["tokens", "nll", "untouched_nll", "kl", "same_top"]


@pytest.fixture(scope="module")
def replays(built) -> pd.DataFrame:
    """The landed rows of what the finished runs hold now."""
    rows = [
        row | {"run_id": run_id}
        for run_id in FINISHED
        for path in parts(built.lake, run_id)
        for row in read_part(path).to_pylist()
        if row["run_sha256"] == content_hash(built.lake, run_id)
        and row["routing_of_sha256"]
        in (None, row["routing_of"] and content_hash(built.lake, row["routing_of"]))
        and row["routing_of"] in (None, *FINISHED)
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def replay_layers(replays, layer_events) -> pd.DataFrame:
    """Run, policy and layer: the counts of all samples, and what its table would do."""
    found = []
    for layer in layer_events:
        of_run = replays[replays["run_id"] == layer.run_id]
        for policy_id, rows in of_run.groupby("policy_id"):
            counts = {
                name: sum(row[layer.moe_index] for row in rows[name]) for name in OF_LAYERS
            } | {"rows": rows["rows"].sum()}
            predicted = prediction(layer, rows.iloc[0]) or {}
            found.append(layer.keys | {"policy_id": policy_id} | counts | predicted)
    return pd.DataFrame(found)


def prediction(layer, policy: pd.Series) -> dict[str, float] | None:
    """Return what the table of a policy covers of the layer's held-out events, and how well.

    None where nothing is predicted.
    """
    if policy["kind"] != TOKENS or not layer.has_token_ids:
        return None
    held_out = layer.where(layer.split != "train")
    overruled = policy["moe_indices"]
    table = {} if overruled and layer.moe_index not in overruled else table_of(layer, policy)
    covered = [row for row, token in enumerate(held_out.token_id) if token in table]
    agreed = [set(held_out.experts[row]) == set(table[held_out.token_id[row]]) for row in covered]
    return {
        "predicted_occurrences": len(covered),
        "predicted_coverage": len(covered) / len(held_out.token_id),
        "predicted_agreement": np.mean(agreed) if covered else np.nan,
    }


def table_of(layer, policy: pd.Series) -> dict[int, tuple[int, ...]]:
    """Return token -> modal set of the tokens that pass every rule of the policy."""
    _, sets = train_counts(layer)
    train = layer.where(layer.split == "train")
    ranks = sorted(sets, key=lambda token: (-sets[token].total(), token))
    rules = {
        "min_share": lambda token, least: max(sets[token].values()) / sets[token].total() >= least,
        "min_frequency": lambda token, least: sets[token].total() >= least,
        "frequency_threshold": lambda token, bound: sets[token].total() > bound,
        "entropy_threshold": lambda token, bound: (
            train.entropy[train.token_id == token].mean() < bound
        ),
        "table_size": lambda token, size: token in ranks[: int(size)],
    }
    asked = {name: rule for name, rule in rules.items() if not pd.isna(policy[name])}
    return {
        token: smallest_mode(sets[token])
        for token in sets
        if all(rule(token, policy[name]) for name, rule in asked.items())
    }


def shares(frame: pd.DataFrame, rows: str) -> pd.DataFrame:
    """Return the frame with the shares of its counts; `rows` are all that there are."""
    return frame.assign(
        coverage=frame["covered"] / frame[rows],
        set_agreement=frame["agreed"] / frame["covered"],
        undisturbed_share=frame["undisturbed"] / frame[rows],
        experts_per_token=frame["experts_run"] / frame[rows],
    ).drop(columns=["undisturbed", "experts_run"])


def per_token(frame: pd.DataFrame) -> pd.DataFrame:
    tokens = frame["tokens"].where(frame["tokens"] > 0)
    costs = {name: frame[name] / tokens for name in ("nll", "untouched_nll", "kl")}
    return frame.assign(
        **costs,
        delta_nll=(frame["nll"] - frame["untouched_nll"]) / tokens,
        same_top_share=frame["same_top"] / tokens,
    ).drop(columns="same_top")


def test_the_lake_has_the_hard_cases(built, replays, replay_layers):
    """Stale rows, samples without tokens, layers that are not overruled, tables that hold none."""
    landed = [read_part(path).num_rows for run_id in FINISHED for path in parts(built.lake, run_id)]
    assert 0 < len(replays) < sum(landed)
    assert (replays["tokens"] == 0).any() and replays["routing_of"].notna().any()
    assert replays.groupby(POLICY)["sample_id"].nunique().max() > 2
    predicted = replay_layers["predicted_coverage"]
    assert (predicted == 0).any() and predicted.between(0.1, 0.9).any() and predicted.isna().any()
    assert (replay_layers["predicted_agreement"].dropna().between(0.1, 0.9)).any()
    of_rules = replays[replays["kind"] == TOKENS]
    for rule in ("min_share", "frequency_threshold", "table_size", "moe_indices"):
        assert of_rules[rule].notna().any() and of_rules[rule].isna().any()


def test_replays_by_layer(assert_mart, replay_layers):
    expected = shares(replay_layers, "rows")
    assert_mart("fct_replay_layer", ["run_id", "policy_id", "layer"], expected)


def test_replays_by_sample(assert_mart, raw, replays):
    of_all_layers = replays.assign(
        **{name: replays[name].map(sum) for name in OF_LAYERS},
        token_layers=replays["rows"] * replays["covered"].map(len),
    )
    names = ["run_id", "policy_id", "sample_id", "token_layers", *SUMS, *OF_LAYERS]
    expected = per_token(shares(of_all_layers[names], "token_layers")).merge(
        raw["samples"][["run_id", "sample_id", "domain", "document_sha256"]],
        on=["run_id", "sample_id"],
        validate="many_to_one",
    )
    assert_mart("fct_replay_sample", ["run_id", "policy_id", "sample_id"], expected)


def test_replays_by_run(assert_mart, raw, replays, replay_layers):
    documents = replays.merge(raw["samples"], on=["run_id", "sample_id"], suffixes=("", "_of"))
    summed = replays.groupby(POLICY)[SUMS].sum()
    summed["samples"] = replays.groupby(POLICY).size()
    summed["documents"] = documents.groupby(POLICY)["document_sha256"].nunique()
    layers = replay_layers.groupby(POLICY)
    summed[OF_LAYERS] = layers[OF_LAYERS].sum()
    summed["token_layers"] = layers["rows"].sum()
    summed["predicted_coverage"] = layers["predicted_coverage"].mean()
    agreed = replay_layers["predicted_agreement"] * replay_layers["predicted_occurrences"]
    sums = replay_layers.assign(agreements=agreed).groupby(POLICY)
    occurrences = sums["predicted_occurrences"].sum().replace(0, np.nan)
    summed["predicted_agreement"] = sums["agreements"].sum() / occurrences
    summed["layers"] = layers.size()
    summed = summed.reset_index()
    stated = [name for name, _ in OF_A_POLICY if name != "policy_id"]
    expected = per_token(shares(summed, "token_layers")).merge(
        replays.drop_duplicates(POLICY)[[*POLICY, *stated]], on=POLICY, validate="one_to_one"
    )
    overruled = expected["moe_indices"].map(len, na_action="ignore")
    expected = expected.assign(
        perplexity_ratio=np.exp(expected["delta_nll"]),
        layers_overruled=overruled.fillna(expected["layers"]),
    ).drop(columns="layers")
    assert_mart("fct_replay", POLICY, expected)


def test_users_see_the_replays_of_what_the_runs_hold(built, replays):
    """In a session that reaches no file outside the lake."""
    with closing(connect(Paths(built.home))) as session:
        found = session.sql("select run_id, policy_id, sample_id, rows, covered from replays")
        rows = found.fetchall()
        with pytest.raises(duckdb.PermissionException):
            session.sql("from read_parquet('/tmp/replays.parquet')").fetchall()
    keys = ["run_id", "policy_id", "sample_id", "rows", "covered"]
    assert sorted(rows) == sorted(replays[keys].itertuples(index=False, name=None))
