"""Two runs on one page: numbers and their differences, what differs, overlap where there is one."""

import dataclasses
import itertools
import re

import pandas as pd
import pytest

from gatehouse.reports.marts import Flips
from gatehouse.reports.page.comparison import NONE, render_comparison
from gatehouse.reports.page.comparison_charts import OVERLAP
from tests.reports.made_up_findings import with_findings
from tests.reports.made_up_page import made_up_page
from tests.reports.page.parsed_page import Page

LEFT = made_up_page(3, 200)
SECOND = made_up_page(4, 250, seed=5)
RIGHT = with_findings(
    dataclasses.replace(SECOND, run=SECOND.run | {"run_id": "<i>other</i>", "dtype": "int4"}),
    SECOND.findings,
)
SHARED = pd.DataFrame(
    {"moe_index": [0, 1, 2], **{name: [0.25, float("nan"), 0.75] for name in OVERLAP}}
)
SHARES = {"tokens": [30, 10], "set_flip_share": [0.25, 0.5], "top_flip_share": [0.125, 0.5]}
FLIPS = Flips(
    1234,
    2,
    0.4321,
    0.625,
    pd.DataFrame({"moe_index": [0, 2], **SHARES}),
    pd.DataFrame({"smallest_margin": [0.0, 0.01], **SHARES}),
    pd.DataFrame({"first_position": [0, 4], **SHARES}),
)


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render_comparison(LEFT, RIGHT, SHARED, FLIPS, None))


def rows_of(html: str, table: str) -> list[list[str]]:
    body = html.split(f'id="{table}"')[1].split("</table>")[0]
    return [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in body.split("<tr")[2:]]


def test_the_page_runs_only_its_own_scripts_and_shows_names_as_text(page):
    assert page.policy["script-src"].split() == page.hashes
    assert page.all("i") == []
    assert "B: <i>other</i>" in page.words
    assert not set("<>&") & set(page.scripts[0])


def test_headings_descend_one_level_at_a_time(page):
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_the_three_numbers_have_their_differences():
    rows = rows_of(render_comparison(LEFT, RIGHT, None, None, None), "averages")
    values = [
        (each.correlation.spearman, each.entropy.low_entropy_share, each.fast_path.coverage)
        for each in (LEFT.average.validation, RIGHT.average.validation)
    ]
    expected = [second - first for first, second in zip(*values)]
    assert rows[0][1:] == [f"{values[0][0]:.3f}", f"{values[1][0]:.3f}", f"{expected[0]:+.3f}"]
    for row, first, second, change in zip(rows[1:], *(each[1:] for each in (*values, expected))):
        assert row[1:] == [f"{first:.1%}", f"{second:.1%}", f"{100 * change:+.1f} points"]


def test_facts_that_are_not_equal_are_marked():
    html = render_comparison(LEFT, RIGHT, None, None, None)
    marked = re.findall(r'<tr class="differs"><th scope="row">(\D.*?)</th>', html)
    assert marked == ["Run", "Tokens", "Routing events", "MoE layers", "dtype"]
    assert html.count("<td>differs</td>") == len(marked)


def test_a_layer_that_one_run_lacks_is_left_open(page):
    data = page.data
    assert data["indices"] == [0, 1, 2, 3]
    assert data["runs"][0]["spearman"][3] is None
    assert data["runs"][1]["spearman"][3] is not None
    assert data["overlap"]["set_agreement"] == [0.25, None, 0.75, None]
    last = rows_of(render_comparison(LEFT, RIGHT, None, None, None), "layers-by-number")[-1]
    assert last[0] == "3"
    assert last[3] == last[5] == NONE


def test_without_overlap_there_is_no_empty_chart():
    for overlap in (None, SHARED.head(0)):
        page = Page(render_comparison(LEFT, LEFT, overlap, None, None))
        assert not {"overlap", "loads", "flips"} & set(page.data)
        assert "Overlap was not counted" in page.words
        assert [each.get("id") for each in page.all("section") if each.get("id")] == ["numbers"]
        assert "both runs read" not in page.words


def test_the_page_says_how_many_tokens_flip_and_where(page):
    assert (
        "Of 1,234 tokens that both runs read, 43.2% go to another set of experts in at least one "
        "of 2 layers (0.62 layers per token on average)." in page.words
    )
    flips = page.data["flips"]
    assert flips["layers"]["set_flip_share"] == [0.25, None, 0.5, None]
    assert flips["margins"]["smallest_margin"] == [0, 0.01]
    assert flips["positions"]["first_position"] == [0, 4]
    assert (
        flips["margins"]["top_flip_share"] == flips["positions"]["top_flip_share"] == [0.125, 0.5]
    )


def test_a_run_without_entropy_or_an_order_is_compared_by_its_sets():
    unknown = SHARED.assign(
        **dict.fromkeys(("top_agreement", *OVERLAP[-2:])), set_agreement=[0.25, 0.5, 0.75]
    )
    page = Page(render_comparison(LEFT, RIGHT, unknown, FLIPS, None))
    assert page.data["overlap"]["mean_entropy_change"] == [None] * 4
    assert page.data["overlap"]["set_agreement"] == [0.25, 0.5, 0.75, None]
