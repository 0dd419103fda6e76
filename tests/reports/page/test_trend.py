"""The page of a series: every sentence is entailed by its numbers, and nothing unknown is drawn."""

import re

import numpy as np
import pandas as pd
import pytest

from gatehouse.reports.marts.trends import DRIFTS, MEASURED
from gatehouse.reports.page.runs.trend import render_trend
from gatehouse.reports.page.runs.trend_sentences import MEASURES, sentences
from gatehouse.reports.statistics import holm
from gatehouse.reports.statistics.trend import trend
from tests.reports.made_up_page import made_up_page
from tests.reports.page.parsed_page import Page

NOT_A_VALUE = r"\b(nan|None|NaT|undefined|null)\b"


def series(runs: int, layers: int = 3, seed: int = 0, **columns) -> pd.DataFrame:
    """Rows of a series; `columns` overrule what is made up, by run."""
    noise = np.random.default_rng(seed)
    rows = pd.DataFrame(
        {
            "run_id": np.repeat([f"night-{run}" for run in range(runs)], layers),
            "moe_index": list(range(layers)) * runs,
            "started_at": np.repeat(
                pd.date_range("2026-03-01 02:00", periods=runs, tz="UTC"), layers
            ),
            **{name: noise.uniform(0.4, 0.6, runs * layers) for name in (*MEASURED, *DRIFTS)},
            **dict.fromkeys(("model_fingerprint", "tokenizer_fingerprint", "versions"), "same"),
            "device": "cpu",
            "tokens": 1234,
        }
    )
    rows.loc[: layers - 1, [*DRIFTS]] = np.nan
    for name, values in columns.items():
        rows[name] = np.repeat(values, layers)
    return rows


def test_two_runs_have_no_trend():
    said = sentences(series(2, mean_entropy=[0.5, 1.5]))
    assert said[0] == "2 runs are too few to tell a trend from chance."
    assert "mean entropy goes from 0.500 nats to 1.500 nats" in said[1]
    assert "tends" not in " ".join(said)
    assert sentences(series(1)) == [
        "There is one run of this model, dataset and settings: nothing has moved yet."
    ]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("slope", [0.0, 0.02, -0.1])
def test_every_sentence_on_a_trend_is_entailed_by_its_numbers(seed, slope):
    """Recomputed: what is said to move has a corrected p below 0.05, all else is said not to."""
    runs = 12
    steps = slope * np.arange(runs) + np.random.default_rng(seed).uniform(0, 0.3, runs)
    rows = series(runs, seed=seed, mean_entropy=1.5 + steps)
    means = rows.groupby("run_id", sort=False)[[*MEASURES]].mean()
    found = {name: trend(means[name]) for name in MEASURES}
    adjusted = holm([each.log10_p for each in found.values()])
    said = sentences(rows)
    for (name, measure), log10_p in zip(MEASURES.items(), adjusted):
        of_it = [line for line in said if measure.name in line]
        assert len(of_it) == 1
        moving = re.match(rf"Over (\d+) runs, {re.escape(measure.name)} tends (up|down)", of_it[0])
        assert bool(moving) == (10**log10_p < 0.05)
        if moving:
            assert int(moving[1]) == found[name].runs
            assert (moving[2] == "up") == (found[name].tau > 0)
            assert f"the first has {measure.words(found[name].first)}" in of_it[0]
        else:
            ends = f"between {measure.words(found[name].least)} and "
            assert f"{measure.name} ({ends}{measure.words(found[name].most)})" in of_it[0]
    if slope < 0:
        assert said[0].startswith("Over 12 runs, mean entropy tends down")


def test_another_model_or_other_software_is_named_with_its_run():
    said = sentences(series(3, model_fingerprint=["a", "a", "b"], versions=["1", "2", "2"]))
    assert said[-2:] == [
        "The weights, config or tokenizer changed with night-2 (2026-03-03).",
        "The software or device changed with night-1 (2026-03-02).",
    ]


def test_the_page_draws_every_measure_of_every_run():
    rows = series(7)
    html = render_trend(rows, made_up_page().run)
    page = Page(html)
    assert page.policy["script-src"].split() == page.hashes
    assert [each["id"] for each in page.all("section") if "id" in each] == [
        *("balance", "entropy", "consistency", "drift")
    ]
    means = rows.groupby("run_id", sort=False)["mean_entropy"].mean()
    assert page.data["means"]["mean_entropy"] == pytest.approx(list(means), rel=1e-5)
    layer = rows.loc[rows["moe_index"] == 1, "max_load_ratio"]
    assert page.data["layers"]["max_load_ratio"][1] == pytest.approx(list(layer), rel=1e-5)
    assert page.data["means"]["shared_load_with_first"][0] is None
    assert page.data["times"][:2] == ["2026-03-01 02:00", "2026-03-02 02:00"]
    body = html.split('id="runs"')[1].split("</table>")[0]
    assert body.count("<tr>") == 1 + 7 and f"{means.iloc[3]:.3f}" in body
    assert not re.search(NOT_A_VALUE, page.words)


def test_what_the_runs_do_not_tell_is_not_drawn():
    rows = series(5).assign(mean_entropy=np.nan, held_out_consistency=np.nan, tokens=np.nan)
    page = Page(render_trend(rows, made_up_page().run))
    assert [each["id"] for each in page.all("section") if "id" in each] == ["balance", "drift"]
    assert not re.search(NOT_A_VALUE, page.words)
    assert "entropy" not in " ".join(sentences(rows))
