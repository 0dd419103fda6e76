"""The sweep says at every pair of thresholds what a validation at that pair says."""

import pandas as pd
import pytest

from gatehouse.reports.statistics import ENTROPY_THRESHOLDS, FREQUENCY_THRESHOLDS
from gatehouse.reports.verdict.criteria import RHO
from gatehouse.reports.verdict.sweep import COLUMNS, correlations, judged_grid, summary
from gatehouse.reports.verdict.thresholds import Thresholds
from gatehouse.reports.verdict.validation import validate


@pytest.fixture
def layers(make_frame) -> dict[int, pd.DataFrame]:
    constant = make_frame(50).assign(mean_entropy=0.3)
    return {0: make_frame(), 1: make_frame(low_entropy=False), 2: constant}


def grid_of(layers: dict[int, pd.DataFrame]) -> pd.DataFrame:
    rows = []
    for layer, frame in layers.items():
        for least in FREQUENCY_THRESHOLDS:
            for most in ENTROPY_THRESHOLDS:
                low = frame["mean_entropy"] < most
                covered = frame.loc[low & (frame["frequency"] > least), "frequency"].sum()
                rows.append(
                    {
                        "model": "demo",
                        "dataset": "pydoc",
                        "run_id": "run",
                        "moe_index": layer,
                        "frequency_threshold": least,
                        "entropy_threshold": most,
                        "low_entropy_share": low.mean(),
                        "coverage": covered / frame["frequency"].sum(),
                    }
                )
    return pd.DataFrame(rows)


@pytest.fixture
def table(layers) -> pd.DataFrame:
    tokens = pd.concat([frame.assign(layer=layer) for layer, frame in layers.items()])
    return judged_grid(grid_of(layers), [correlations("run", tokens)])


def test_every_row_is_what_a_validation_finds(table, layers):
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 3 * 81
    for row in table.itertuples():
        validation = validate(
            layers[row.layer],
            Thresholds(row.frequency_threshold, row.entropy_threshold),
        )
        assert row.verdict == validation.verdict
        assert row.criteria_met == sum(each.met for each in validation.criteria)
    assert set(table["verdict"]) == {"SUPPORTED", "NOT SUPPORTED"}


def test_an_undefined_correlation_supports_nothing(table):
    constant = table[table["layer"] == 2]
    assert constant["spearman"].isna().all()
    assert (constant["verdict"] == "NOT SUPPORTED").all()


def test_the_summary_names_the_strictest_pair_that_meets_both_shares(table):
    rows = summary(table).set_index("layer")
    for layer, pairs in table.groupby("layer"):
        supported = (pairs["verdict"] == "SUPPORTED").sum()
        assert rows.loc[layer, "supported"] == f"{supported} of 81"
        met = pairs[(pairs["low_entropy_share"] >= 0.3) & (pairs["coverage"] > 0.4)]
        assert rows.loc[layer, "both shares met"] == f"{len(met)} of 81"
        lowest = met["entropy_threshold"].min()
        at_lowest = met[met["entropy_threshold"] == lowest]
        highest = at_lowest["frequency_threshold"].max()
        expected = f"frequency > {highest:,}, entropy < {lowest:g}"
        assert rows.loc[layer, "strictest pair"] == expected
    assert rows.loc[2, "supported"] == "0 of 81"
    assert rows.loc[2, RHO] == "undefined"


def test_a_layer_without_such_a_pair_says_so(table):
    assert summary(table.assign(coverage=0.1)).iloc[0]["strictest pair"] == "none"
