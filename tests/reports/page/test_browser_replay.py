"""The page's section on what other routing costs as a reader uses it, in headless Chromium."""

import dataclasses

import pytest

from gatehouse.reports.page.payload import Links, payload
from gatehouse.reports.page.report import render
from gatehouse.warehouse import replays
from gatehouse.warehouse.replays import ReplayPolicy
from tests.reports.made_up_findings import with_findings
from tests.reports.made_up_replay import SHARE, replay_frames
from tests.reports.page.browsing import DESK, PHONE, downloaded, drawn_without_a_fault

pytestmark = pytest.mark.xdist_group("browser")


def test_downloads_hold_every_policy(tab, run_page):
    data = payload(run_page, Links())
    rows = downloaded(tab, tab.locator("#replay-cost .csv"))
    assert [row["policy"] for row in rows] == [
        each["policy"] for each in data["replay-cost"]["policies"]
    ]
    for row, policy in zip(rows, data["replay-cost"]["policies"], strict=True):
        assert float(row["delta_nll"]) == policy["delta_nll"]
        assert float(row["perplexity_ratio_high"]) == policy["perplexity_ratio_high"]
        assert row["control"] == ("yes" if policy["control"] else "no")
    rows = downloaded(tab, tab.locator("#replay-agreement .csv"))
    first = data["replay-agreement"]["tables"][0]
    own = [row for row in rows if row["policy"] == first["policy"]]
    assert [float(row["measured"]) for row in own] == first["measured"]
    assert [float(row["foretold"]) for row in own] == first["foretold"]


def test_charts_are_drawn_and_say_what_they_show(tab, run_page):
    data = payload(run_page, Links())
    figure = tab.locator("#replay-cost")
    figure.scroll_into_view_if_needed()
    figure.locator("svg").nth(2).wait_for()
    titles = figure.locator(".panel .title").all_text_contents()
    assert titles == [each["title"] for each in data["replay-cost"]["panels"]]
    said = figure.locator(".drawing").first.get_attribute("aria-label")
    assert "tokens by share of a set between +0.0010 and +0.0" in said
    drawn = " ".join(figure.locator("svg text").all_text_contents())
    assert "perplexity + 1 %" in drawn and "random experts: off the scale, +2." in drawn
    words = figure.locator(".advice li").all_text_contents()
    assert words == data["replay-cost"]["advice"]
    agreement = tab.locator("#replay-agreement")
    agreement.scroll_into_view_if_needed()
    agreement.locator("svg").first.wait_for()
    assert "in layer 1" in agreement.locator(".drawing").first.get_attribute("aria-label")


def test_the_table_of_policies_fits_a_phone(browser, address):
    page = browser.new_page(viewport=PHONE, reduced_motion="reduce")
    page.goto(address)
    page.locator("#policies").scroll_into_view_if_needed()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.locator("#policies tbody tr").count() == 18
    page.close()


@pytest.mark.parametrize(
    "costs",
    [
        {"own": (ReplayPolicy(replays.OWN), 1.0, 0.0)},
        {"tokens": (SHARE, 0.0, 0.0)},
        {"tokens": (SHARE, 0.3, -0.01), "own": (ReplayPolicy(replays.OWN), 1.0, 0.0)},
    ],
    ids=["controls alone", "no coverage", "a lower loss"],
)
def test_odd_replays_are_drawn_without_a_fault(browser, run_page, tmp_path, costs):
    frames = replay_frames(4, 2, costs, documents=1)
    marts = dataclasses.replace(run_page.marts, **frames)
    odd = with_findings(dataclasses.replace(run_page, marts=marts), run_page.findings)
    path = tmp_path / "odd.html"
    path.write_text(render(odd, Links()), encoding="utf-8")
    with drawn_without_a_fault(browser, path, viewport=DESK, reduced_motion="reduce") as page:
        for stem in ("replay-cost", "replay-agreement"):
            figure = page.locator(f"#{stem}")
            if figure.count():
                figure.scroll_into_view_if_needed()
                figure.locator("svg, .empty").first.wait_for()
