"""What the page draws of how many experts text needs is what the marts hold."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from gatehouse.reports.page.payload import Links, payload
from gatehouse.reports.page.report import render
from gatehouse.reports.verdict.findings import AssessedRun
from tests.reports.made_up_findings import with_findings
from tests.reports.made_up_page import made_up_page
from tests.reports.page.parsed_page import Page

STEMS = ("adaptive-k", "batch-experts", "keep-sets", "tuning")
NAMES = ("adaptive_k", "batch_experts", "keep_sets", "rankings", "tuning")


@pytest.fixture(scope="module")
def run_page() -> AssessedRun:
    return made_up_page()


@pytest.fixture(scope="module")
def data(run_page) -> dict:
    return payload(run_page, Links())


def altered(run_page: AssessedRun, **frames: pd.DataFrame) -> dict:
    marts = dataclasses.replace(run_page.marts, **frames)
    other = dataclasses.replace(run_page, marts=marts)
    return payload(with_findings(other, run_page.findings), Links())


def test_adaptive_k_is_that_of_the_marts(data, run_page):
    drawn = data["adaptive-k"]
    assert list(drawn["rules"]) == ["weight", "entropy"]
    assert drawn["all_experts"] == 2
    for rule, curves in drawn["rules"].items():
        rows = run_page.marts.adaptive_k
        rows = rows[rows["rule"] == rule]
        assert curves["thresholds"] == list(rows["threshold"])
        assert curves["experts"] == pytest.approx(list(rows["mean_experts"]), rel=1e-5)
        assert curves["retained"] == pytest.approx(list(rows["retained_gate_mass"]), rel=1e-5)


def test_batches_are_those_of_the_marts(data, run_page):
    drawn = data["batch-experts"]["kinds"]
    assert {kind: [each["phase"] for each in phases] for kind, phases in drawn.items()} == {
        kind: ["prompt", "generated"] for kind in ("tokens", "sequences")
    }
    frame = run_page.marts.batch_experts.set_index(["batch_of", "phase"]).sort_index()
    for kind, phases in drawn.items():
        for each in phases:
            rows = frame.loc[(kind, each["phase"])]
            assert each["sizes"] == list(rows["size"])
            assert each["experts"] == pytest.approx(list(rows["mean_experts"]), rel=1e-5)
            assert each["chance"] == pytest.approx(list(rows["uniform_experts"]), rel=1e-5)


def test_keep_sets_end_at_all_text_and_the_halves_stand_apart(data, run_page):
    frame = run_page.marts.keep_sets
    drawn = data["keep-sets"]["panels"]
    assert [each["keep_share"] for each in drawn] == [0.25, 0.5, 0.75]
    for each in drawn:
        for measure, curve in each["measures"].items():
            is_kept = frame["keep_share"] == each["keep_share"]
            rows = frame[is_kept & (frame["measure"] == measure)]
            of_all = rows[rows["reference"] == "all"]
            assert curve["text_shares"] == list(of_all["text_share"])
            assert curve["jaccard"] == pytest.approx(list(of_all["jaccard"]), rel=1e-5)
            assert (curve["text_shares"][-1], curve["jaccard"][-1]) == (1, 1)
            second = rows[rows["part"] == "second 1/2"].iloc[0]
            assert curve["halves"] == pytest.approx([0.5, second["jaccard"]], rel=1e-5)


def test_tuning_has_all_text_its_domains_and_what_even_shares_would_be(data, run_page):
    drawn = data["tuning"]
    assert [row["text"] for row in drawn["rows"]] == ["all text", "code", "maths <i>", "web"]
    assert [row["tokens"] for row in drawn["rows"][1:]] == [1000] * 3
    assert drawn["rows"][0]["tokens"] == run_page.marts.layers["events"].max()
    assert drawn["even"] == [1, 2, 1, 2]
    frame = run_page.marts.tuning.fillna({"domain": "all text"}).set_index("domain")
    for row in drawn["rows"]:
        columns = ["mean_experts", "min_experts", "max_experts"]
        assert row["trained"] == frame.loc[row["text"], columns].to_numpy().tolist()


def test_one_domain_is_all_text(run_page):
    tuning = run_page.marts.tuning
    found = altered(run_page, tuning=tuning[tuning["domain"].isna() | (tuning["domain"] == "web")])
    assert [row["text"] for row in found["tuning"]["rows"]] == ["all text"]
    assert "domain" not in found["tuning"]["advice"][0]


def test_what_to_take_stands_beside_its_chart(data, run_page):
    page = Page(render(run_page, Links()))
    for stem in STEMS:
        assert data[stem]["advice"]
        assert all(sentence in page.words for sentence in data[stem]["advice"])
    given, generated = data["batch-experts"]["advice"]
    assert given.startswith("Text that was given: ")
    assert generated.startswith("Generated text: ")


def test_one_phase_is_not_named(run_page):
    prompt = run_page.marts.batch_experts.query("phase == 'prompt'")
    (sentence,) = altered(run_page, batch_experts=prompt)["batch-experts"]["advice"]
    assert "ext that was given" not in sentence


def test_a_router_of_one_expert_has_none_to_drop():
    found = payload(made_up_page(top_k=1), Links())["adaptive-k"]
    assert found["advice"] == []
    assert "selects one expert for each token" in found["empty"]


def test_text_that_has_no_parts_is_not_compared_with_itself(run_page):
    whole = run_page.marts.keep_sets.query("part == 'all'")
    assert altered(run_page, keep_sets=whole)["keep-sets"] == {"advice": [], "panels": []}


def test_a_run_of_no_tokens_has_empty_charts(run_page):
    found = altered(run_page, **{name: getattr(run_page.marts, name).head(0) for name in NAMES})
    assert found["adaptive-k"]["rules"] == {}
    assert found["batch-experts"]["kinds"] == {"tokens": [], "sequences": []}
    assert found["keep-sets"]["panels"] == found["tuning"]["rows"] == []
    assert [found[stem]["advice"] for stem in STEMS] == [[], [], [], []]


def test_layers_that_do_not_tell_their_weights_leave_gate_scores_out(run_page):
    """A mean over some of the layers is not that of all."""
    tuning = run_page.marts.tuning
    layers = np.where(tuning["relevance"] == "gate", 2, 3)
    found = altered(run_page, tuning=tuning.assign(layers=layers))["tuning"]
    assert found["choices"] == ["token share, p = 0.1", "token share, p = 0.2"]
