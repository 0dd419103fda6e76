"""Runs on one page: equal expert sets, numbers and differences, what differs, what is compared."""

import dataclasses
import itertools
import re

import pandas as pd
import pytest

from gatehouse.reports.marts import Flips, Loads, Pair
from gatehouse.reports.page.runs.agreement import in_percent, label
from gatehouse.reports.page.runs.comparison import NONE, render_comparison
from gatehouse.reports.page.runs.comparison_charts import LOADS, OVERLAP
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


def of_two(left, right, overlap, flips, loads) -> str:
    """Return the page of two runs."""
    return render_comparison([left, right], {(0, 1): Pair(overlap, flips, loads)})


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(of_two(LEFT, RIGHT, SHARED, FLIPS, None))


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
    rows = rows_of(of_two(LEFT, RIGHT, None, None, None), "averages")
    values = [
        (each.correlation.spearman, each.entropy.low_entropy_share, each.fast_path.coverage)
        for each in (LEFT.average.validation, RIGHT.average.validation)
    ]
    expected = [second - first for first, second in zip(*values)]
    assert rows[0][1:] == [f"{values[0][0]:.3f}", f"{values[1][0]:.3f}", f"{expected[0]:+.3f}"]
    for row, first, second, change in zip(rows[1:], *(each[1:] for each in (*values, expected))):
        assert row[1:] == [f"{first:.1%}", f"{second:.1%}", f"{100 * change:+.1f} points"]


def test_facts_that_are_not_equal_are_marked():
    html = of_two(LEFT, RIGHT, None, None, None)
    marked = re.findall(r'<tr class="differs"><th scope="row">(\D.*?)</th>', html)
    assert marked == ["Run", "Tokens", "Routing events", "MoE layers", "dtype"]
    assert html.count("<td>differs</td>") == len(marked)


def test_a_layer_that_one_run_lacks_is_left_open(page):
    data = page.data
    assert data["indices"] == [0, 1, 2, 3]
    assert data["runs"][0]["spearman"][3] is None
    assert data["runs"][1]["spearman"][3] is not None
    assert data["pairs"]["0-1"]["overlap"]["set_agreement"] == [0.25, None, 0.75, None]
    last = rows_of(of_two(LEFT, RIGHT, None, None, None), "layers-by-number")[-1]
    assert last[0] == "3"
    assert last[3] == last[5] == NONE


def test_without_overlap_there_is_no_empty_chart():
    for overlap in (None, SHARED.head(0)):
        page = Page(of_two(LEFT, LEFT, overlap, None, None))
        assert page.data["pairs"] == {"0-1": {}}
        assert "Overlap was not counted" in page.words
        assert [each.get("id") for each in page.all("section") if each.get("id")] == ["numbers"]
        assert "both runs read" not in page.words


def test_the_page_says_how_many_tokens_flip_and_where(page):
    assert (
        "Of 1,234 tokens that both runs read, 43.2% go to another set of experts in at least one "
        "of 2 layers (0.62 layers per token on average)." in page.words
    )
    flips = page.data["pairs"]["0-1"]["flips"]
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
    page = Page(of_two(LEFT, RIGHT, unknown, FLIPS, None))
    assert page.data["pairs"]["0-1"]["overlap"]["mean_entropy_change"] == [None] * 4
    assert page.data["pairs"]["0-1"]["overlap"]["set_agreement"] == [0.25, 0.5, 0.75, None]


def sections(html: str) -> list[str]:
    return re.findall(r'<section aria-labelledby="(\w+)"', html)


def test_the_page_opens_with_the_share_of_equal_expert_sets():
    overlap = pd.DataFrame(
        {"moe_index": [0, 1, 2]}
        | {name: [0.25, 0.5, 0.9] for name in OVERLAP}
        | {"tokens": 1234, "set_agreement": [0.5, 0.99996, 0.75]}
    )
    html = of_two(LEFT, RIGHT, overlap, FLIPS, None)
    assert sections(html)[0] == "agreement"
    page = Page(html)
    assert "75.0% of the expert sets are equal" in page.words
    assert "over 1,234 tokens in 3 MoE layers" in page.words
    by_layer = html.split('id="agreement-by-layer"')[1].split("</table>")[0]
    assert re.findall(r"<td.*?>(.*?)</td>", by_layer) == ["50.0%", "&gt;99.9%", "75.0%"]
    strengths = [int(each) for each in re.findall(r"--strength: (\d+)%", by_layer)]
    # on a scale from the least to the most that is shown, which the legend says
    assert strengths == [0, 85, round(85 * 0.25 / 0.49996)]
    assert "50.0% >99.9% of the expert sets are equal" in page.words


LONG = "a name as long as such names become when a sweep puts every setting into them " * 2


@pytest.fixture(scope="module")
def of_twelve() -> str:
    return page_of_twelve()


def page_of_twelve() -> str:
    """Twelve runs: the first eleven share text, the last only its load with the first."""
    sides = [
        dataclasses.replace(LEFT, run=LEFT.run | {"run_id": f"run-{place}", "name": LONG})
        for place in range(12)
    ]
    loads = Loads(pd.DataFrame({"moe_index": [0, 1, 2]} | {name: [0.5] * 3 for name in LOADS}))

    def pair(one: int, other: int) -> Pair:
        if other == 11:
            return Pair(loads=loads if one == 0 else None)
        agreement = 1 - (other - one) / 20
        return Pair(SHARED.assign(set_agreement=agreement), FLIPS, loads)

    pairs = {ids: pair(*ids) for ids in itertools.combinations(range(12), 2)}
    return render_comparison(sides, pairs, ["a stranger"])


def test_of_many_runs_a_matrix_has_every_pair_both_ways(of_twelve):
    page = Page(of_twelve)
    assert sections(of_twelve)[0] == "agreement" and "12 runs compared" in page.words
    rows = rows_of(of_twelve, "agreement-matrix")
    shown = [[re.sub("<.*?>.*?</.*?>|<.*?>", "", cell) for cell in row[1:]] for row in matrix(rows)]
    for one, other in itertools.product(range(12), repeat=2):
        if one == other:
            assert shown[one][other] == "·"
        elif 11 in (one, other):
            assert shown[one][other] == ("loads" if 0 in (one, other) else NONE)
        else:
            assert shown[one][other] == f"{1 - abs(other - one) / 20:.1%}"
    assert "50.0% 95.0% of the expert sets are equal" in page.words
    assert "Run A, run-0, was named first." in page.words
    assert "Left out" in page.words and "a stranger" in page.words


def matrix(rows: list[list[str]]) -> list[list[str]]:
    """Return the rows of a matrix, the links in its cells as their words."""
    return [[re.sub(r"</?a[^>]*>", "", cell) for cell in row] for row in rows]


def test_every_pair_can_be_chosen_and_has_its_data(of_twelve):
    page = Page(of_twelve)
    assert page.data["pair"] == "0-1" and len(page.data["pairs"]) == 12 * 11 // 2
    assert set(page.data["pairs"]["0-11"]) == {"loads", "sentence"}
    assert page.data["pairs"]["1-11"] == {}
    links = {each["data-pair"] for each in page.all("a") if "data-pair" in each}
    assert links == {name for name, common in page.data["pairs"].items() if common}
    assert [len(page.all("option")), page.data["letters"][-1]] == [24, "L"]
    ids = [each.get("id") for each in page.all("section") if each.get("id")]
    assert ids == ["numbers", "loads", "overlap", "flips"]


def test_letters_go_on_after_z_and_no_share_is_rounded_to_all():
    assert [label(place) for place in (0, 25, 26, 51, 52)] == ["A", "Z", "AA", "AZ", "BA"]
    assert [in_percent(each) for each in (0.9994, 0.99951, 1.0)] == ["99.9%", ">99.9%", "100.0%"]
