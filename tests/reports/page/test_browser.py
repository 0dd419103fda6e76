"""The page as a reader uses it: layers, charts, themes and downloads in headless Chromium."""

import csv
import io
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from gatehouse.reports.marts import Loads
from gatehouse.reports.marts.untold import ENTROPY, EVENTS, ORDER, TOKEN_IDS, WEIGHTS
from gatehouse.reports.page.html import ASSETS
from gatehouse.reports.page.payload import Links
from gatehouse.reports.page.report import render
from gatehouse.reports.page.runs.comparison_charts import LOADS, OVERLAP
from gatehouse.reports.page.runs.trend import render_trend
from gatehouse.warehouse.contents.spreadsheets import guarded
from tests.reports.made_up_page import made_up_page
from tests.reports.made_up_texts import made_up_texts
from tests.reports.made_up_untold import untold_page
from tests.reports.page.browsing import (
    DESK,
    PHONE,
    assert_layer,
    cells_of,
    column,
    downloaded,
    drawn_without_a_fault,
    figures_of,
    frame_of,
    whole,
)
from tests.reports.page.test_comparison import FLIPS, of_two, page_of_twelve
from tests.reports.page.test_trend import series

pytestmark = pytest.mark.xdist_group("browser")


PLACES = """() => Array.from(document.querySelectorAll("h2, .csv"))
  .filter((each) => each.checkVisibility())
  .map((each) => Math.round(each.getBoundingClientRect().top + scrollY))"""

SHIFTS = """() => new Promise((answer) => {
  const seen = (list) => list.getEntries().map(({ value }) => value);
  const shifts = [];
  const observer = new PerformanceObserver((list) => shifts.push(...seen(list)));
  observer.observe({ type: "layout-shift", buffered: true });
  // what is buffered arrives before the next frames
  requestAnimationFrame(() => requestAnimationFrame(() => answer(shifts)));
})"""


def test_every_chart_is_drawn_without_a_fault_and_nothing_moves_for_it(tab):
    places = tab.evaluate(PLACES)
    assert tab.locator(".figure .drawing svg, .figure .drawing canvas").count() < 10
    for figure in figures_of(tab, "svg, canvas, .panels table, .passage, .empty"):
        for drawing in figure.locator(".drawing").all():
            assert len(drawing.get_attribute("aria-label")) > 20
    assert tab.locator(".figure .drawing svg, .figure .drawing canvas").count() > 20
    assert tab.evaluate(PLACES) == places


def test_the_layer_changes_verdict_charts_table_and_address(tab, run_page):
    tab.locator("#frequency-entropy").scroll_into_view_if_needed()
    drawing = tab.locator("#frequency-entropy .drawing")
    drawing.and_(tab.locator("[aria-label*='layer 1,']")).wait_for()
    tab.locator("#layer").select_option("3")
    assert_layer(tab, 3)
    validation = run_page.layers[3].validation
    assert tab.locator("#layer-verdict").text_content().endswith(validation.verdict)
    shown = tab.locator(".of-one-layer:not([hidden])")
    assert validation.criteria[0].found in shown.text_content()
    drawing.and_(tab.locator("[aria-label*='layer 3,']")).wait_for()
    assert tab.locator("tr[aria-current] th").text_content() == "3"
    first = tab.locator("#token-table tbody tr").first
    entropy = frame_of(run_page, 3)["mean_entropy"].loc[whole(column(tab, "Id"))[0]]
    assert abs(float(first.locator("td").nth(2).text_content()) - entropy) <= 0.0006
    transition = tab.locator("#transition")
    transition.scroll_into_view_if_needed()
    transition.locator(".empty", has_text="last MoE layer").wait_for()
    # the last layer's next button says that it is disabled, but keeps the focus
    tab.locator("#next-layer").click(force=True)
    assert_layer(tab, 3)
    tab.locator("#previous-layer").focus()
    tab.keyboard.press("ArrowLeft")
    assert_layer(tab, 2)
    tab.locator("#layer").focus()
    tab.keyboard.press("ArrowUp")
    assert_layer(tab, 1)
    tab.locator("#layers-by-number a", has_text="0").first.click()
    assert_layer(tab, 0)
    assert tab.locator("#layer").input_value() == "0"
    tab.locator("#layer").select_option("1")


def test_links_within_the_page_keep_the_layer_in_the_address(tab):
    tab.locator("nav.contents a", has_text="Limits").click()
    assert_layer(tab, 1)
    assert tab.evaluate("document.activeElement.id") == "limits"


def test_a_click_in_a_chart_chooses_its_layer(tab):
    tab.locator("#overview").scroll_into_view_if_needed()
    drawing = tab.locator("#overview .drawing").first
    box = drawing.bounding_box()
    drawing.click(position={"x": box["width"] - 40, "y": box["height"] / 2})
    assert_layer(tab, 3)
    tab.locator("#layer").select_option("1")


def test_downloads_hold_the_data(tab, run_page):
    rows = downloaded(tab, tab.locator("#overview .csv"))
    assert [float(row["coverage"]) for row in rows] == pytest.approx(
        run_page.findings.layers["coverage"].to_list(), rel=1e-5
    )
    rows = downloaded(tab, tab.locator("#tokens-csv"))
    assert len(rows) == 400
    literals = [repr(text) for text in run_page.marts.frequency_rank["token_str"]]
    assert {row["literal"] for row in rows} == set(literals)
    box = tab.locator(".pages .spreadsheet-safe")
    assert not box.is_checked()
    box.check()
    rows = downloaded(tab, tab.locator("#tokens-csv"))
    assert {row["literal"] for row in rows} == set(guarded(pa.array(literals)).to_pylist())
    box.uncheck()
    rows = downloaded(tab, tab.locator("#domains .csv"))
    domains = run_page.marts.domain_expert
    expected = domains[domains["moe_index"] == 1].set_index(["domain", "expert"])["specialisation"]
    assert len(rows) == len(expected)
    for row in rows:
        share = expected[row["domain"], int(row["expert"])]
        assert float(row["share"]) == pytest.approx(share, abs=0.00006)


def test_the_downloads_have_the_rules_of_all_csv(tab):
    cases = ["=1", "+1", "@a", "-x", "-1", "-1.5e-3", "-", "-1+1", "-1\n", "\t=1", "\r=1", "\n=1"]
    cases += ["'=1", "'-1", "''@a", "a", " =1", "'", ""]
    source = (ASSETS / "scripts" / "core" / "format.js").read_text(encoding="utf-8")
    safe = guarded(pa.array(["=a", *cases])).to_pylist()
    for how, expected in (("undefined", ["=a", *cases]), ("guarded", safe)):
        text = tab.evaluate(
            f"rows => {{ {source}; return csv({{columns: ['=a'], rows}}, {how}) }}",
            [[case] for case in cases],
        )
        cells = [row[0] if row else "" for row in csv.reader(io.StringIO(text, newline=""))]
        assert cells == expected


def test_a_heat_map_says_what_its_colours_mean(tab, run_page):
    tab.locator("#domains").scroll_into_view_if_needed()
    tab.locator("#domains canvas").first.wait_for()
    scale, cells = tab.evaluate(
        """() => {
          const drawing = document.querySelector("#domains .drawing");
          const option = echarts.getInstanceByDom(drawing).getOption();
          return [option.visualMap[0], option.series[0].data.map((cell) => cell.value ?? cell)];
        }"""
    )
    limit = 2 ** scale["max"]
    assert scale["min"] == -scale["max"]
    assert tab.locator("#domains .key-end").all_text_contents() == [
        f"≤ {1 / limit:.2g}\N{MULTIPLICATION SIGN}",
        "1\N{MULTIPLICATION SIGN}",
        f"≥ {limit:.2g}\N{MULTIPLICATION SIGN}",
    ]
    domains = run_page.marts.domain_expert.query("moe_index == 1")
    shares = domains["specialisation"] / domains["uniform_specialisation"]
    places = np.clip(np.log2(shares.to_numpy(float)), -scale["max"], scale["max"])
    assert [cell[2] for cell in cells] == pytest.approx(places, abs=0.01)


def test_the_table_alternative_is_the_chart(tab, run_page):
    figure = tab.locator("#minima")
    figure.scroll_into_view_if_needed()
    cells = cells_of(figure)
    minima = run_page.findings.minima
    assert whole(cells[1::3]) == minima.loc[minima["moe_index"] == 1, "tokens"].to_list()


def test_a_shared_address_opens_at_its_layer(browser, address):
    shared = browser.new_page(viewport=PHONE)
    shared.goto(f"{address}#layer=2")
    assert shared.locator("#layer").input_value() == "2"
    assert "in MoE layer 2" in shared.locator(".of-one-layer:not([hidden]) h2").text_content()
    # a link from elsewhere to a figure far down leads to it, below the bar
    shared.goto("about:blank")
    shared.goto(f"{address}#cache")
    top = "document.getElementById('cache').getBoundingClientRect().top"
    assert 0 <= shared.evaluate(top) < PHONE["height"] / 4
    shared.close()


def test_both_themes_reach_page_and_charts(tab):
    tab.locator("#consistency").scroll_into_view_if_needed()
    tab.locator("#consistency svg").wait_for()
    grounds, charts = set(), set()
    for scheme in ("light", "dark", "light"):
        tab.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        grounds.add(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
        charts.add(
            frozenset(re.findall(r'stroke="(.*?)"', tab.locator("#consistency").inner_html()))
        )
    assert len(grounds) == len(charts) == 2


def test_a_phone_scrolls_in_one_direction_only(browser, tmp_path):
    path = tmp_path / "one.html"
    path.write_text(render(made_up_page(1, 60, top_k=1), Links()), encoding="utf-8")
    phone = browser.new_page(viewport=PHONE, reduced_motion="reduce")
    phone.goto(path.as_uri())
    places = phone.evaluate(PLACES)
    for figure in phone.locator(".figure").all():
        figure.scroll_into_view_if_needed()
    assert phone.evaluate(PLACES) == places
    assert phone.evaluate(SHIFTS) == []
    assert phone.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    phone.locator("#coactivation .empty", has_text="one expert for each token").wait_for()
    phone.close()


OF_COUNTS = (EVENTS, ENTROPY, TOKEN_IDS, WEIGHTS, ORDER)


@pytest.mark.parametrize("untold", [(ENTROPY, WEIGHTS), OF_COUNTS], ids=["trace", "counts"])
def test_the_page_of_a_trace_is_drawn_without_a_fault_and_without_what_it_does_not_tell(
    browser, tmp_path, untold
):
    path = tmp_path / "untold.html"
    assessed = untold_page(*untold)
    page_of_trace = render(assessed, Links(), made_up_texts(assessed))
    path.write_text(page_of_trace, encoding="utf-8")
    with drawn_without_a_fault(browser, path, viewport=DESK, reduced_motion="reduce") as page:
        assert len(list(figures_of(page, "svg, canvas, .panels table, .passage"))) > 0
        page.locator("#next-layer").click()
        if TOKEN_IDS not in untold:
            page.locator("#token-table tbody button").first.click()
            facts = page.locator("#token-facts").text_content()
            assert facts.endswith("top expert and consistency.")
        assert not re.search("NaN|undefined|null", page.locator("#main").inner_text())


def test_a_comparison_is_drawn_without_a_fault(browser, run_page, tmp_path):
    path = tmp_path / "compare.html"
    overlap = pd.DataFrame({"moe_index": range(4), **dict.fromkeys(OVERLAP, 0.5)})
    loads = pd.DataFrame({"moe_index": range(4), **dict.fromkeys(LOADS, 0.5)})
    overlap["top_agreement"] = overlap["mean_entropy_change"] = None
    page_of_two = of_two(run_page, made_up_page(2, 90), overlap, FLIPS, Loads(loads))
    path.write_text(page_of_two, encoding="utf-8")
    with drawn_without_a_fault(browser, path, viewport=PHONE, color_scheme="dark") as page:
        assert len(list(figures_of(page))) > 0
        assert page.locator(".figure svg").count() == 14
        rows = downloaded(page, page.locator("#numbers .csv"))
        coverage = run_page.findings.layers["coverage"].to_list()
        assert [float(row["coverage_a"]) for row in rows] == pytest.approx(coverage, rel=1e-5)
        assert [row["coverage_b"] == "" for row in rows] == [False, False, True, True]
        rows = downloaded(page, page.locator("#flips .csv"))
        assert [(row["by"], row["value"]) for row in rows[4:]] == [
            ("margin from", "0"),
            ("margin from", "0.01"),
            ("position from", "0"),
            ("position from", "4"),
        ]
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_any_two_of_many_runs_can_be_chosen(browser, tmp_path):
    path = tmp_path / "compare.html"
    path.write_text(page_of_twelve(), encoding="utf-8")
    with drawn_without_a_fault(browser, path, viewport=PHONE) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        page.locator("#agreement-matrix a", has_text="65.0% of C and J").first.click()
        lists = [page.locator(f"#run-{place}") for place in (0, 1)]
        assert [each.input_value() for each in lists] == ["2", "9"]
        rows = downloaded(page, page.locator("#numbers .csv"))
        assert {"coverage_c", "coverage_j"} <= rows[0].keys()
        # a run beside itself: the other list moves on
        lists[0].select_option("9")
        assert [each.input_value() for each in lists] == ["9", "10"]
        lists[0].select_option("11")
        assert [each.input_value() for each in lists] == ["10", "11"]
        assert page.locator("#mismatch").text_content() == "This is not compared of these two runs."
        page.locator("#flips").scroll_into_view_if_needed()
        page.locator("#flips .empty").wait_for()
        page.locator("#agreement-matrix a", has_text="loads").first.click()
        assert (
            page.locator("#mismatch").text_content().startswith("On average over 3 layers, 50.0%")
        )


def test_runs_are_drawn_over_time_without_a_fault(browser, run_page, tmp_path):
    path = tmp_path / "trend.html"
    rows = series(7)
    path.write_text(render_trend(rows, run_page.run), encoding="utf-8")
    with drawn_without_a_fault(browser, path, viewport=PHONE, color_scheme="dark") as page:
        assert len(list(figures_of(page))) > 0
        assert page.locator(".figure svg").count() == 6
        found = downloaded(page, page.locator("#entropy .csv"))
        assert [float(row["mean_entropy"]) for row in found] == pytest.approx(
            rows["mean_entropy"].to_list(), rel=1e-5
        )
        found = downloaded(page, page.locator("#drift .csv"))
        assert [row["shared_load_with_first"] == "" for row in found] == [True] + 6 * [False]
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_without_scripts_the_findings_are_there(browser, address, run_page):
    plain = browser.new_context(java_script_enabled=False).new_page()
    plain.goto(address)
    assert plain.locator("noscript").is_visible()
    assert plain.get_by_text(run_page.layers[1].validation.criteria[2].found).first.is_visible()
    assert plain.locator("#layers-by-number").is_visible()
    assert plain.get_by_text("ln 8 = 2.08 nats").is_visible()
    assert not plain.locator("#token-table").is_visible()
    plain.context.close()
