"""Every mart against an independent recomputation from the raw Parquet, in pandas and numpy."""

from collections.abc import Iterator
from contextlib import closing

import duckdb
import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

FINISHED = ["0042", "flat", "wide"]
FREQUENCIES = [0, 5, 10, 20, 50, 100, 200, 500, 1000]
ENTROPIES = [0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]


@pytest.fixture(scope="module")
def connection(built) -> Iterator[duckdb.DuckDBPyConnection]:
    with closing(duckdb.connect(str(built.database), read_only=True)) as session:
        yield session


@pytest.fixture(scope="module")
def raw(built) -> dict[str, pd.DataFrame]:
    """The lake's tables of the finished runs, read file by file."""

    def read(table: str) -> pd.DataFrame:
        parts = [
            pd.read_parquet(path, partitioning=None).assign(run_id=run_id)
            for run_id in FINISHED
            for path in sorted((built.lake.root / table / f"run_id={run_id}").iterdir())
        ]
        frame = pd.concat(parts, ignore_index=True)
        doubles = frame.select_dtypes("float32").columns
        return frame.astype(dict.fromkeys(doubles, "float64"))

    return {name: read(name) for name in ("runs", "layers", "vocabulary", "samples", "events")}


def mart(connection: duckdb.DuckDBPyConnection, name: str, keys: list[str]) -> pd.DataFrame:
    table = connection.table(name).to_arrow_table().to_pandas()
    return table.sort_values(keys, ignore_index=True)


def assert_same(found: pd.DataFrame, expected: pd.DataFrame, keys: list[str]) -> None:
    """Same rows and columns in the same order; numbers within 1e-9 of each other."""
    assert len(found) > 0
    expected = expected.sort_values(keys, ignore_index=True)[list(found.columns)]
    assert_frame_equal(found, expected, check_dtype=False, rtol=1e-9, atol=0)


def modal(experts: pd.Series) -> tuple[int, int]:
    """Return (modal expert, its count); of equals the smallest id."""
    counts = np.bincount(experts)
    return int(np.argmax(counts)), int(counts.max())


def token_statistics(events: pd.DataFrame) -> pd.DataFrame:
    """Return per (run, layer, token) what numpy's two-pass formulas say."""
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
    """Ties, single occurrences and deviations of 1e-5 about 4.85 are all there."""
    counts = raw["events"].groupby(["run_id", "layer", "token_id", "top_expert"]).size()
    most = counts.groupby(level=[0, 1, 2]).transform("max")
    assert (counts[counts == most].groupby(level=[0, 1, 2]).size() > 1).sum() > 5
    assert (tokens["frequency"] == 1).any()
    flat = tokens[(tokens["run_id"] == "flat") & (tokens["frequency"] > 20)]
    assert flat["mean_entropy"].between(4.8499, 4.8501).all()
    assert flat["std_entropy"].between(5e-6, 2e-5).all()


def test_token_routing(connection, tokens):
    keys = ["run_id", "layer", "token_id"]
    assert_same(mart(connection, "fct_token_routing", keys), tokens, keys)


def test_layer_routing(connection, tokens, raw):
    layers = raw["layers"].set_index(["run_id", "layer"])
    modal_occurrences = tokens.groupby(["run_id", "layer"])["modal_occurrences"].sum()
    rows = [
        {
            "run_id": run_id,
            "layer": layer,
            "moe_index": layers.loc[(run_id, layer), "moe_index"],
            "num_experts": layers.loc[(run_id, layer), "num_experts"],
            "events": len(group),
            "token_types": group["token_id"].nunique(),
            **moments(group),
            "normalised_entropy": group["entropy"].mean()
            / np.log(layers.loc[(run_id, layer), "num_experts"]),
            "routing_consistency": modal_occurrences[(run_id, layer)] / len(group),
        }
        for (run_id, layer), group in raw["events"].groupby(["run_id", "layer"])
    ]
    keys = ["run_id", "layer"]
    assert_same(mart(connection, "fct_layer_routing", keys), pd.DataFrame(rows), keys)


def test_frequency_rank(connection, raw):
    layers = raw["layers"].query("moe_index == 0")[["run_id", "layer"]]
    counts = (
        raw["events"]
        .merge(layers, on=["run_id", "layer"])
        .groupby(["run_id", "token_id"])
        .size()
        .rename("frequency")
        .reset_index()
        .sort_values(["run_id", "frequency", "token_id"], ascending=[True, False, True])
    )
    by_run = counts.groupby("run_id")
    counts["frequency_rank"] = by_run.cumcount() + 1
    counts["share"] = counts["frequency"] / by_run["frequency"].transform("sum")
    counts["cumulative_share"] = counts.groupby("run_id")["share"].cumsum()
    expected = counts.merge(raw["vocabulary"], on=["run_id", "token_id"])
    keys = ["run_id", "frequency_rank"]
    assert_same(mart(connection, "fct_frequency_rank", keys), expected, keys)


def test_fast_path_coverage(connection, tokens):
    rows = []
    for (run_id, layer), group in tokens.groupby(["run_id", "layer"]):
        for frequency in FREQUENCIES:
            for entropy in ENTROPIES:
                eligible = group.query("frequency > @frequency and mean_entropy < @entropy")
                rows.append(
                    {
                        "run_id": run_id,
                        "layer": layer,
                        "frequency_threshold": frequency,
                        "entropy_threshold": entropy,
                        "moe_index": group["moe_index"].iloc[0],
                        "eligible_tokens": len(eligible),
                        "token_types": len(group),
                        "covered_occurrences": eligible["frequency"].sum(),
                        "occurrences": group["frequency"].sum(),
                        "coverage": eligible["frequency"].sum() / group["frequency"].sum(),
                    }
                )
    keys = ["run_id", "layer", "frequency_threshold", "entropy_threshold"]
    found = mart(connection, "fct_fast_path_coverage", keys)
    assert found["coverage"].nunique() > 10
    assert_same(found, pd.DataFrame(rows), keys)


def test_runs(connection, raw):
    samples = raw["samples"].groupby("run_id")
    expected = (
        raw["runs"]
        .set_index("run_id")
        .assign(
            samples=samples.size(),
            tokens=samples["tokens"].sum(),
            dropped_tokens=samples["dropped_tokens"].sum(),
            moe_layers=raw["layers"].groupby("run_id").size(),
            events=raw["events"].groupby("run_id").size(),
        )
    )
    found = mart(connection, "dim_run", ["run_id"])
    for column in ("started_at", "finished_at"):
        found[column] = pd.to_datetime(found[column], utc=True)
    assert_same(found, expected.reset_index(), ["run_id"])


@pytest.mark.parametrize(
    ("name", "table", "key"),
    [
        ("dim_layer", "layers", "layer"),
        ("dim_token", "vocabulary", "token_id"),
        ("dim_sample", "samples", "sample_id"),
    ],
)
def test_dimensions_repeat_the_lake(connection, raw, name, table, key):
    keys = ["run_id", key]
    found = mart(connection, name, keys)
    assert set(found.columns) == set(raw[table].columns)
    assert_same(found, raw[table], keys)


def test_staged_events_are_the_finished_runs_events(connection, raw):
    """What ad-hoc SQL sees: every column of every event, of finished runs alone."""
    keys = ["run_id", "sample_id", "layer", "position"]
    found = mart(connection, "stg_events", keys).drop(columns="run_number")
    for frame in (found, raw["events"]):
        for column in ("experts", "weights"):
            frame[column] = frame[column].map(list)
    assert_same(found, raw["events"], keys)
