"""The page as a reader uses it: the token table and the thresholds in headless Chromium."""

import re

import pytest

from tests.reports.made_up_cards import CONTEXTS, PLANTED
from tests.reports.made_up_page import ODD_TOKENS
from tests.reports.page.browsing import PAGE_ROWS, column, frame_of, whole

pytestmark = pytest.mark.xdist_group("browser")


def test_search_takes_literals_and_ids_in_any_case(tab, run_page):
    search = tab.locator("#token-search")
    search.fill("TOKEN39")
    assert tab.locator("#token-matches").text_content() == "11 tokens match"
    assert len(column(tab, "Id")) == 11
    some_id = int(run_page.marts.frequency_rank["token_id"].iloc[200])
    search.fill(str(some_id))
    assert some_id in whole(column(tab, "Id"))
    search.fill("no such token")
    assert tab.locator("#token-matches").text_content() == "0 tokens match"
    search.fill("")
    assert tab.locator("#token-matches").text_content() == ""


def test_hostile_tokens_are_text(tab):
    tab.locator("#token-search").fill("</script><")
    button = tab.locator("#token-table tbody button")
    assert button.text_content() == repr("</script><script>alert(1)</script>")
    tab.locator("#token-search").fill("<img")
    assert tab.locator("#token-table tbody button").text_content().startswith("'<img src=x")
    assert tab.locator("img, [onload]").count() == 0
    for text in ODD_TOKENS:
        tab.locator("#token-search").fill(repr(text))
        assert column(tab, "Token")[0].removesuffix("special") == repr(text)
    tab.locator("#token-search").fill("")


@pytest.mark.parametrize("name", ["Id", "Frequency", "Entropy"])
def test_numbers_are_sorted_as_numbers_both_ways(tab, name):
    heading = tab.locator("#token-table thead th", has_text=re.compile(f"^{name}$"))
    for _ in range(2):
        heading.locator("button").click()
        values = [float(text.replace(",", "")) for text in column(tab, name)]
        descending = heading.get_attribute("aria-sort") == "descending"
        assert values == sorted(values, reverse=descending)
        assert len(values) == PAGE_ROWS
    assert tab.locator("#token-table thead th[aria-sort]").count() == 1


def test_pages_turn_and_hold_every_token_once(tab):
    tab.locator("#token-table thead button", has_text="Frequency").click()
    seen: list[int] = []
    while True:
        seen += whole(column(tab, "Id"))
        if tab.locator("#next-page").is_disabled():
            break
        tab.locator("#next-page").click()
    assert tab.locator("#page-number").text_content() == "Page 4 of 4"
    assert sorted(seen) == list(range(400))
    tab.locator("#previous-page").click()
    assert tab.locator("#page-number").text_content() == "Page 3 of 4"


def move(tab, slider: str, position: int) -> None:
    tab.locator(f"#{slider}-threshold").evaluate(
        "(input, at) => { input.value = at; input.dispatchEvent(new Event('input')); }", position
    )


def test_slider_numbers_are_those_of_the_frame(tab, run_page):
    steps = tab.evaluate("JSON.parse(document.getElementById('data').textContent).steps")
    frame = frame_of(run_page, 1)
    settings = [(i, j) for i in range(0, len(steps["frequency"]), 3) for j in range(0, 42, 4)]
    for i, j in settings:
        move(tab, "frequency", i)
        move(tab, "entropy", j)
        over, under = steps["frequency"][i], steps["entropy"][j]
        low = frame["mean_entropy"] < under
        chosen = frame[low & (frame["frequency"] > over)]
        coverage = chosen["frequency"].sum() / frame["frequency"].sum()
        shown = [tab.locator(f"#{name}").text_content() for name in NUMBERS]
        assert shown == [
            f"{len(chosen):,}",
            *map(shares, (len(chosen) / 400, low.mean(), coverage)),
        ]
    tab.locator("#reset-thresholds").click()
    tab.locator("#frequency-value", has_text=re.compile("^50$")).wait_for()
    assert tab.locator("#frequency-value").text_content() == "50"
    assert tab.locator("#entropy-value").text_content() == "0.5 nats"
    assert tab.locator("#coverage-value").text_content() == shares(
        run_page.layers[1].validation.fast_path.coverage
    )


NUMBERS = ("eligible-tokens", "eligible-share", "low-entropy-share", "coverage-value")


def shares(value: float) -> str:
    return f"{value:.1%}"


def test_sliders_move_by_keyboard_and_change_who_is_eligible(tab, run_page):
    slider = tab.locator("#frequency-threshold")
    slider.focus()
    tab.keyboard.press("End")
    assert slider.get_attribute("aria-valuetext") == "2,000"
    tab.keyboard.press("ArrowLeft")
    assert tab.locator("#frequency-value").text_content() == "1,000"
    frame = frame_of(run_page, 1)
    expected = ((frame["frequency"] > 1000) & (frame["mean_entropy"] < 0.5)).sum()
    tab.locator("#token-table thead button", has_text="Eligible").click()
    eligible = tab.locator("#token-table tbody td:last-child").all_text_contents()
    assert eligible.count("yes") == expected
    tab.locator("#reset-thresholds").click()


@pytest.mark.parametrize("key", ["click", "Enter"])
def test_a_token_opens_in_every_layer_and_gives_the_focus_back(tab, run_page, key):
    tab.locator("#token-search").fill("' token33'")
    button = tab.locator("#token-table tbody button")
    if key == "click":
        tab.locator("#token-table tbody td").nth(3).click()
    else:
        button.focus()
        tab.keyboard.press(key)
    dialog = tab.locator("#token-detail")
    assert dialog.is_visible()
    assert "' token33'" in tab.locator("#token-heading").text_content()
    rows = dialog.locator("tbody tr").all_text_contents()
    assert len(rows) == 4
    token = int(whole(column(tab, "Id"))[0])
    for layer in range(4):
        shown = dialog.locator("tbody tr").nth(layer).locator("td").all_text_contents()
        expected = frame_of(run_page, layer).loc[token]
        assert int(shown[1]) == expected["top_expert"]
        assert abs(float(shown[2]) - expected["mean_entropy"]) <= 0.0006
    assert dialog.locator("svg").count() == 3
    tab.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert tab.evaluate("document.activeElement.textContent") == button.text_content()
    tab.locator("#token-search").fill("")


def test_a_card_shows_its_expert_and_leads_to_tokens_and_neighbours(tab, run_page):
    tab.locator("#layer").select_option("1")
    tab.locator("#cards").scroll_into_view_if_needed()
    options, heading = tab.locator("#cards [role=option]"), tab.locator("#card-heading")
    options.first.wait_for()
    cards = run_page.marts.cards
    order = cards.experts[cards.experts["moe_index"] == 1]["expert"].to_list()
    assert whole(options.locator("b").all_text_contents()) == order
    options.first.press("End")
    assert heading.text_content() == f"Expert {order[-1]}"
    focused = "document.activeElement.getAttribute('aria-selected')"
    assert tab.evaluate(focused) == "true"
    tab.keyboard.press("ArrowUp")
    assert heading.text_content() == f"Expert {order[-2]}"
    options.nth(order.index(PLANTED[0])).click()
    row = tab.locator("#cards .of-domains tbody tr", has_text=PLANTED[1])
    assert row.locator("td").all_text_contents() == ["", "+1.70", "beyond"]
    others = tab.locator("#cards .of-domains tbody tr", has_text="within")
    assert others.locator(".by-chance").count() == 2
    assert tab.locator("#cards .of-contexts mark").count() == CONTEXTS
    tab.locator("#cards .of-tokens button").first.click()
    assert tab.locator("#token-heading").is_visible()
    tab.keyboard.press("Escape")
    neighbour = tab.locator("#cards .of-neighbours button").first
    name = neighbour.text_content()
    neighbour.press("Enter")
    assert heading.text_content() == name
    assert tab.evaluate(focused) == "true"
    tab.locator("#layer").select_option("2")
    first = cards.experts[cards.experts["moe_index"] == 2]["expert"].iloc[0]
    assert heading.text_content() == f"Expert {first}"
    tab.locator("#layer").select_option("1")
