"""The page's section on what other routing costs shows what replays measured, or is not there."""

import dataclasses

import pandas as pd
import pytest

from gatehouse.reports.inference.replay_costs import replay_costs
from gatehouse.reports.inference.replay_curves import TARGET_NATS
from gatehouse.reports.inference.replay_sentences import verdict
from gatehouse.reports.marts.untold import EVENTS
from gatehouse.reports.page.payload import Links, payload
from gatehouse.reports.page.report import render
from gatehouse.reports.verdict.findings import AssessedRun
from gatehouse.warehouse import replays
from gatehouse.warehouse.replays import ReplayPolicy
from tests.reports.made_up_findings import with_findings
from tests.reports.made_up_page import made_up_page
from tests.reports.made_up_replay import COSTS, SHARE, replay_frames
from tests.reports.made_up_untold import untold_page
from tests.reports.page.parsed_page import Page

HEADING = "What would it cost?"
WAY = "runs the model with it."


@pytest.fixture(scope="module")
def run_page() -> AssessedRun:
    return made_up_page()


@pytest.fixture(scope="module")
def costs(run_page) -> dict:
    found = replay_costs(run_page.marts.replays, run_page.marts.replay_documents)
    return {cost.policy.policy_id: cost for cost in found}


@pytest.fixture(scope="module")
def data(run_page) -> dict:
    return payload(run_page, Links())


def with_replays(run_page: AssessedRun, **frames: pd.DataFrame) -> AssessedRun:
    marts = dataclasses.replace(run_page.marts, **frames)
    return with_findings(dataclasses.replace(run_page, marts=marts), run_page.findings)


def test_policies_are_as_they_were_measured(data, costs):
    policies = data["replay-cost"]["policies"]
    assert {each["policy_id"] for each in policies} == set(costs)
    for each in policies:
        cost = costs[each["policy_id"]]
        assert each["delta_nll"] == pytest.approx(cost.delta_nll.value, rel=1e-5)
        assert each["delta_nll_low"] == pytest.approx(cost.delta_nll.low, rel=1e-5)
        assert each["perplexity_ratio_high"] == pytest.approx(cost.perplexity_ratio.high, rel=1e-5)
        assert each["coverage"] == pytest.approx(cost.coverage.value, rel=1e-5)
        assert each["control"] == cost.policy.is_control
    flags = [each["control"] for each in policies]
    assert flags == sorted(flags)


def test_curves_place_policies_by_what_they_gain(data, costs):
    drawn = data["replay-cost"]
    assert drawn["target"] == TARGET_NATS
    tables, dropped, masked = drawn["panels"]
    for panel, gain in (
        (tables, lambda cost: cost.coverage.value),
        (dropped, lambda cost: cost.experts.value),
        (masked, lambda cost: cost.policy.masked_experts),
    ):
        for curve in panel["curves"]:
            expected = [gain(costs[each]) for each in curve["policy_ids"]]
            assert curve["places"] == pytest.approx(expected, rel=1e-5)
            assert all(
                curve["control"] == costs[id].policy.is_control for id in curve["policy_ids"]
            )
    beyond = [curve["name"] for curve in tables["curves"] if any(curve["beyond"])]
    assert beyond == ["random experts", "another token's entry"]


def test_agreement_is_foretold_and_measured_by_layer(data, run_page):
    rows = run_page.marts.replay_layers.set_index(["policy_id", "moe_index"])
    words = {words: policy.policy_id for words, (policy, *_) in COSTS.items()}
    tables = data["replay-agreement"]["tables"]
    # of bigrams nothing is foretold
    assert {each["policy"] for each in tables} == {
        name for name, (policy, *_) in COSTS.items() if policy.kind == replays.TOKENS
    }
    for each in tables:
        own = rows.loc[words[each["policy"]]]
        assert each["measured"] == pytest.approx(list(own["set_agreement"]), rel=1e-5)
        assert each["foretold"] == pytest.approx(list(own["predicted_agreement"]), rel=1e-5)


def test_the_section_has_sentences_and_a_row_for_each_policy(run_page, costs):
    page = Page(render(run_page, Links()))
    part = page.words.split(HEADING)[-1].split("All layers")[0]
    assert verdict(list(costs.values())) in part
    for cost in costs.values():
        control = "(control) " if cost.policy.is_control else ""
        delta = cost.delta_nll
        row = f"{cost.words} {control}{cost.coverage.value:.1%} {delta.value:+.4f}"
        assert row in part
        assert f"{delta.low:+.4f} to {delta.high:+.4f}" in part
    assert WAY not in page.words


def test_a_run_that_was_not_replayed_has_no_section_but_the_way_to_one(run_page):
    none = {name: frame.head(0) for name, frame in replay_frames(3, 2).items()}
    without = with_replays(run_page, **none)
    data = payload(without, Links())
    assert not {"replay-cost", "replay-agreement"} & set(data)
    page = Page(render(without, Links()))
    assert HEADING not in page.words
    run_id = run_page.run["run_id"]
    assert f"gatehouse replay {run_id} {WAY}" in page.words
    assert not {"nan", "None", "NaN"} & set(page.words.split())


@pytest.mark.parametrize("untold", [("entropy",), (EVENTS, "entropy", "token ids", "weights")])
def test_a_trace_has_no_model_to_replay(untold):
    page = Page(render(untold_page(*untold), Links()))
    assert WAY not in page.words and HEADING not in page.words


def test_few_documents_no_coverage_and_controls_alone_are_drawn(run_page):
    few = with_replays(run_page, **replay_frames(3, 2, {"a": (SHARE, 0.0, 0.0)}, documents=1))
    data = payload(few, Links())["replay-cost"]
    assert data["policies"][0]["delta_nll_low"] is None
    assert data["policies"][0]["set_agreement"] is None
    assert "have no intervals" in data["note"]
    assert data["advice"][0] == "“a” never applied to this text."
    page = Page(render(few, Links()))
    assert not {"nan", "None", "NaN"} & set(page.words.split())
    own = with_replays(
        run_page, **replay_frames(3, 2, {"own": (ReplayPolicy(replays.OWN), 1.0, 0.0)})
    )
    found = payload(own, Links())
    assert found["replay-cost"]["panels"] == []
    # nothing is foretold of controls, so there is nothing to compare
    assert "replay-agreement" not in found


def test_words_of_a_policy_are_text_whatever_they_hold(run_page):
    hostile = "</script><script>alert(1)</script>"
    frames = replay_frames(3, 2, {hostile: (SHARE, 0.25, 0.001)})
    html = render(with_replays(run_page, **frames), Links())
    assert html.count("<script") == 3
    assert hostile in Page(html).words
