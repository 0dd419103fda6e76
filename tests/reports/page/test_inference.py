"""What the page's section for inference draws is what the marts hold, and its words follow."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from gatehouse.reports.inference.cache_curve import cliff
from gatehouse.reports.inference.placements import placements, windowed_loads
from gatehouse.reports.page.payload import Links, payload
from gatehouse.reports.page.report import render
from gatehouse.reports.verdict.findings import AssessedRun
from tests.reports.made_up_findings import with_findings
from tests.reports.made_up_page import made_up_page
from tests.reports.page.parsed_page import Page


@pytest.fixture(scope="module")
def run_page() -> AssessedRun:
    return made_up_page()


@pytest.fixture(scope="module")
def data(run_page) -> dict:
    return payload(run_page, Links())


def altered(run_page: AssessedRun, run: dict | None = None, **frames: pd.DataFrame) -> AssessedRun:
    marts = dataclasses.replace(run_page.marts, **frames)
    other = dataclasses.replace(run_page, marts=marts, run=run_page.run | (run or {}))
    return with_findings(other, run_page.findings)


def test_hit_rates_are_those_of_the_marts(data, run_page):
    marts = run_page.marts
    assert [each["phase"] for each in data["cache"]["phases"]] == ["prompt", "generated"]
    for each in data["cache"]["phases"]:
        rows = marts.cached_documents[marts.cached_documents["phase"] == each["phase"]]
        sums = rows.groupby(["policy", "slots"])[["hits", "accesses"]].sum()
        own = each["own"]
        assert set(own["rates"]) == set(rows["policy"]) - {"static_hindsight"}
        assert own["chance"] == pytest.approx([slots / 8 for slots in own["slots"]])
        for policy, rates in own["rates"].items():
            expected = sums.loc[policy].loc[own["slots"]]
            assert rates == pytest.approx(list(expected["hits"] / expected["accesses"]), rel=1e-5)
        best = own["rates"][own["best"]]
        inner = slice(0, -1)
        assert all(np.less_equal(own["low"], best)[inner])
        assert all(np.greater_equal(own["high"], best)[inner])
        shared = marts.shared_caches[marts.shared_caches["phase"] == each["phase"]]
        assert each["shared"]["working_set"] == cliff(shared) == 6
        for policy, rates in each["shared"]["rates"].items():
            expected = shared[shared["policy"] == policy].set_index("slots")["hit_rate"]
            assert rates == pytest.approx(list(expected.loc[each["shared"]["slots"]]))


def test_recalls_are_those_of_the_marts(data, run_page):
    frame = run_page.marts.predictions.set_index(["phase", "predictor", "horizon", "budget"])
    frame = frame.sort_index()
    shortest = {"previous_token": 1, "layer_before": 1}
    for each in data["prefetch"]["phases"]:
        for predictor, values in each["recall"].items():
            rows = frame.loc[(each["phase"], predictor, shortest.get(predictor, 0))]
            assert values == pytest.approx(list(rows["recall"].loc[each["budgets"]]), rel=1e-5)
        assert list(each["horizons"]) == ["1", "2", "4", "8"]
        for horizon, values in each["horizons"].items():
            rows = frame.loc[(each["phase"], "previous_token", int(horizon))]
            assert values == pytest.approx(list(rows["recall"].loc[each["budgets"]]), rel=1e-5)


def test_balances_are_those_that_are_measured(data, run_page):
    found = placements(windowed_loads(run_page.marts.load_windows, 3, 8), 4)
    for name, drawn in data["placement"]["balance"].items():
        measured = getattr(found, name.lower())
        assert drawn["learned"] == pytest.approx(list(measured.learned.layers), rel=1e-5)
        assert drawn["held_out"] == pytest.approx(list(measured.held_out.layers), rel=1e-5)
        assert drawn["windows"] == pytest.approx(list(measured.windows), rel=1e-5)
    assert data["placement"]["advice"] == [found.advice]


def test_calibration_counts_every_expert(data, run_page):
    frame = run_page.marts.calibration
    assert data["calibration"]["samples"] == 12
    for each in data["calibration"]["curves"]:
        rows = frame[frame["tokens"] == each["tokens"]]
        assert each["all_experts"] == rows["experts"].sum() == 24
        assert each["experts"] == list(rows.dropna()["experts"].cumsum())
        assert each["samples"] == list(rows.dropna()["samples"])


def test_what_to_take_stands_beside_its_chart(data, run_page):
    page = Page(render(run_page, Links()))
    for stem in ("cache", "prefetch", "placement", "calibration"):
        advice = data[stem]["advice"]
        assert advice
        part = page.words.split(page_heading(stem), 1)[1]
        assert all(sentence in part for sentence in advice)
    given, working, generated, _ = data["cache"]["advice"]
    assert given.startswith("Text that was given: At ")
    assert working.startswith("Text that was given: Working set: one lru cache for all layers")
    assert generated.startswith("Generated text: At ")


def page_heading(stem: str) -> str:
    return {
        "cache": "Experts in a cache",
        "prefetch": "Experts loaded ahead",
        "placement": "Experts placed on GPUs",
        "calibration": "Text until every expert has been selected",
    }[stem]


def test_one_phase_is_not_named(run_page):
    marts = run_page.marts
    names = ("cached_documents", "shared_caches", "predictions")
    prompt = {name: getattr(marts, name).query("phase == 'prompt'") for name in names}
    found = payload(altered(run_page, **prompt), Links())
    for stem in ("cache", "prefetch"):
        assert [each["text"] for each in found[stem]["phases"]] == [""]
        assert not any("ext that was given" in each for each in found[stem]["advice"])


def test_what_is_missing_is_said(run_page):
    marts = run_page.marts
    documents, predictions = marts.cached_documents, marts.predictions
    found = payload(
        altered(
            run_page,
            layers=marts.layers.assign(expert_bytes=None),
            cached_documents=documents[
                (documents["policy"] != "static_train") & (documents["document"] < "d3")
            ],
            predictions=predictions[predictions["predictor"].isin(["previous_token"])],
            load_windows=marts.load_windows[marts.load_windows["split"] == "train"],
        ),
        Links(),
    )
    assert "No cache is filled from a train split" in found["cache"]["note"]
    assert "How large an expert is, the run does not tell." in found["cache"]["note"]
    assert "MB" not in " ".join(found["cache"]["advice"])
    assert "there is no saying how sure this is" in found["cache"]["advice"][0]
    assert [each["own"]["low"] for each in found["cache"]["phases"]] == [None, None]
    assert "No prediction learns from a train split" in found["prefetch"]["note"]
    assert found["placement"]["balance"]["random"]["held_out"] is None
    assert "Nothing is held out." in found["placement"]["note"]


def test_layers_that_cannot_be_placed_have_a_reason_and_no_advice(run_page):
    layers = run_page.marts.layers.assign(num_experts=[8, 8, 4], top_k=[2, 2, 1])
    found = payload(altered(run_page, layers=layers), Links())
    assert found["placement"] == {
        "advice": [],
        "empty": "The layers have different numbers of experts: no one placement.",
    }
    assert found["prefetch"]["advice"] == []


def test_a_run_of_no_tokens_has_empty_charts(run_page):
    names = ("cached_documents", "shared_caches", "predictions", "calibration")
    none = {name: getattr(run_page.marts, name).head(0) for name in names}
    found = payload(altered(run_page, **none), Links())
    assert found["cache"]["phases"] == found["prefetch"]["phases"] == []
    assert found["calibration"]["curves"] == []
    assert not found["cache"]["advice"] + found["prefetch"]["advice"]
