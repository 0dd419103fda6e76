"""The page's section for inference as a reader uses it, in headless Chromium."""

import dataclasses

import pytest

from gatehouse.reports.page.payload import Links, payload
from gatehouse.reports.page.report import render
from tests.reports.made_up_findings import with_findings
from tests.reports.page.browsing import DESK, cells_of, downloaded, drawn_without_a_fault, whole

pytestmark = pytest.mark.xdist_group("browser")

STEMS = ("cache", "prefetch", "placement", "calibration")
NEEDED = ("adaptive-k", "batch-experts", "keep-sets", "tuning")


def test_downloads_hold_what_is_drawn(tab, run_page):
    data = payload(run_page, Links())
    rows = downloaded(tab, tab.locator("#cache .csv"))
    prompt = data["cache"]["phases"][0]
    for kind, each in (("each layer", prompt["own"]), ("all layers", prompt["shared"])):
        own = [row for row in rows if (row["phase"], row["cache"]) == ("prompt", kind)]
        assert [int(row["slots"]) for row in own] == each["slots"]
        for policy, rates in each["rates"].items():
            assert [float(row[policy]) for row in own] == rates
    assert [row["static_prompt"] for row in rows if row["phase"] == "prompt"] == [""] * (8 + 32)
    rows = downloaded(tab, tab.locator("#prefetch .csv"))
    generated = data["prefetch"]["phases"][1]
    own = [row for row in rows if row["phase"] == "generated"]
    assert [float(row["bigram"]) for row in own] == generated["recall"]["bigram"]
    assert [float(row["previous_token_8"]) for row in own] == generated["horizons"]["8"]
    rows = downloaded(tab, tab.locator("#placement .csv"))
    held_out = [float(row["EPLB"]) for row in rows if row["part"] == "Held-out text"]
    assert held_out == data["placement"]["balance"]["EPLB"]["held_out"]


def test_the_table_and_the_words_say_what_is_drawn(tab, run_page):
    data = payload(run_page, Links())
    figure = tab.locator("#calibration")
    figure.scroll_into_view_if_needed()
    cells = cells_of(figure)
    curves = data["calibration"]["curves"]
    assert whole(cells[2::4]) == [number for each in curves for number in each["experts"]]
    for stem in (*STEMS, *NEEDED):
        words = tab.locator(f"#{stem} .advice li").all_text_contents()
        assert words == data[stem]["advice"]
    for stem, said in (
        ("cache", "LRU hits as often as chance from 8 on"),
        ("prefetch", "at 4 of 8"),
        ("adaptive-k", "2.00 without a rule: by weight down to 1.50 with 87.5%"),
        ("batch-experts", "Text that was given: 32 select 7.40, at random 8.00"),
        ("keep-sets", "gate mass 0.72 with 6.2% of the text"),
    ):
        tab.locator(f"#{stem}").scroll_into_view_if_needed()
        tab.locator(f"#{stem} svg").first.wait_for()
        drawings = tab.locator(f"#{stem} .drawing").all()
        assert any(said in each.get_attribute("aria-label") for each in drawings)


def test_downloads_hold_how_many_experts_are_needed(tab, run_page):
    data = payload(run_page, Links())
    rows = downloaded(tab, tab.locator("#adaptive-k .csv"))
    for rule, each in data["adaptive-k"]["rules"].items():
        own = [row for row in rows if row["rule"] == rule]
        assert [float(row["experts"]) for row in own] == each["experts"]
        assert [float(row["retained_gate_mass"]) for row in own] == each["retained"]
    rows = downloaded(tab, tab.locator("#batch-experts .csv"))
    for kind, phases in data["batch-experts"]["kinds"].items():
        for each in phases:
            own = [row for row in rows if (row["batch_of"], row["phase"]) == (kind, each["phase"])]
            assert [float(row["experts"]) for row in own] == each["experts"]
            assert [float(row["at_random"]) for row in own] == each["chance"]
    rows = downloaded(tab, tab.locator("#keep-sets .csv"))
    for panel in data["keep-sets"]["panels"]:
        for measure, each in panel["measures"].items():
            own = [
                float(row["jaccard"])
                for row in rows
                if (float(row["keep_share"]), row["measure"]) == (panel["keep_share"], measure)
            ]
            assert own == [*each["jaccard"], each["halves"][1]]
    rows = downloaded(tab, tab.locator("#tuning .csv"))
    trained = [found for row in data["tuning"]["rows"] for found in row["trained"]]
    columns = ("mean_experts", "fewest", "most")
    assert [[float(row[name]) for name in columns] for row in rows] == trained


def test_what_to_fine_tune_is_a_table_at_once(tab, run_page):
    figure = tab.locator("#tuning")
    figure.scroll_into_view_if_needed()
    region = figure.get_by_role("region", name="Experts to fine-tune: the table")
    region.locator("td").first.wait_for()
    rows = [row.locator("td").all_text_contents() for row in region.locator("tbody tr").all()]
    assert rows[1] == ["code", "1,000", "1.00", "1.50 (1 to 2)", "1.00", "1.50 (1 to 2)"]
    assert rows[-1] == ["if all experts were selected alike", "", *["1.00", "2.00"] * 2]
    assert not figure.locator(".alternative").is_visible()


def test_a_run_that_lacks_it_all_says_so_without_a_fault(browser, run_page, tmp_path):
    names = ("cached_documents", "shared_caches", "predictions", "calibration")
    names += ("adaptive_k", "batch_experts", "keep_sets", "rankings", "tuning")
    bare = dataclasses.replace(
        run_page.marts,
        layers=run_page.marts.layers.assign(num_experts=[8, 8, 8, 4], expert_bytes=None),
        **{name: getattr(run_page.marts, name).head(0) for name in names},
    )
    path = tmp_path / "bare.html"
    lacking = with_findings(dataclasses.replace(run_page, marts=bare), run_page.findings)
    path.write_text(render(lacking, Links()), encoding="utf-8")
    with drawn_without_a_fault(browser, path, viewport=DESK, reduced_motion="reduce") as page:
        for stem in (*STEMS, *NEEDED):
            page.locator(f"#{stem}").scroll_into_view_if_needed()
            page.locator(f"#{stem} .empty").wait_for()
            assert not page.locator(f"#{stem} .csv").is_visible()
        assert "different numbers of experts" in page.locator("#placement .empty").text_content()
