"""The text itself as a reader uses it: pointer, keyboard, dialog, themes, directions."""

import re
from itertools import pairwise

import pytest

from gatehouse.reports.marts.traced_text import TracedText
from gatehouse.reports.page.payload import Links
from gatehouse.reports.page.report import render
from gatehouse.reports.page.text_page import render_text
from tests.reports.made_up_page import made_up_page
from tests.reports.made_up_texts import ARABIC, GENERATED, LENGTH, made_up_texts
from tests.reports.page.browsing import (
    DESK,
    PHONE,
    cells_of,
    downloaded,
    drawn_without_a_fault,
    frame_of,
)

pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture
def section(tab):
    """The section on its first passage and colouring, the page on layer 1."""
    tab.locator("#layer").select_option("1")
    tab.locator("#passages").scroll_into_view_if_needed()
    tab.locator("#passages .word").first.wait_for()
    tab.locator("#passage").select_option("0")
    tab.locator("#colouring").select_option("expert")
    return tab.locator("#passages")


@pytest.fixture(scope="module")
def routes(run_page):
    """The first passage in layer 1, by position."""
    texts = made_up_texts(run_page)
    of_layer = texts.routes[texts.routes["moe_index"] == 1]
    return of_layer[of_layer["sample_id"] == 7].set_index("position")


def grounds(section) -> list[str]:
    """Return the colour behind each word."""
    script = "words => words.map((word) => getComputedStyle(word).backgroundColor)"
    return section.locator(".word").evaluate_all(script)


def test_words_have_the_colour_of_their_first_expert(section, routes):
    first = [int(experts[0]) for experts in routes["experts"]]
    shown = grounds(section)
    assert len(shown) == LENGTH
    of_expert = {expert: shown[at] for at, expert in enumerate(first)}
    assert shown == [of_expert[expert] for expert in first]
    assert len(set(of_expert.values())) == len(of_expert)
    legend = section.locator(".legend li").all_text_contents()
    counts = {int(each.split()[1]): int(each.split()[2]) for each in legend}
    assert counts == {expert: first.count(expert) for expert in set(first)}


def test_the_layer_bar_and_the_switch_change_the_colours(section, tab, routes):
    before = grounds(section)
    tab.locator("#layer").select_option("2")
    assert grounds(section) != before
    tab.locator("#layer").select_option("1")
    assert grounds(section) == before
    seen = {tuple(before)}
    for name in ("entropy", "confidence", "consistency", "agreement"):
        tab.locator("#colouring").select_option(name)
        seen.add(tuple(grounds(section)))
        assert section.locator(".legend li").count() >= 2
    assert len(seen) == 5
    unknown = section.locator(".word.agrees-unknown").count()
    assert unknown == routes["shared"].isna().sum()
    same = (routes["shared"] == 2).sum()
    assert section.locator(".word.agrees-same").count() == same
    tab.locator("#colouring").select_option("entropy")
    means = section.locator(".legend").text_content()
    assert f"mean {routes['entropy'].mean():.2f} nats" in means
    # a ramp: the more entropy, the more of the colour
    strength = "words => words.map((word) => parseFloat(word.style.getPropertyValue('--strength')))"
    values = section.locator(".word").evaluate_all(strength)
    order = routes["entropy"].to_numpy().argsort()
    assert all(values[a] <= values[b] + 1 for a, b in pairwise(order))


def test_pointing_at_a_word_tells_its_routing_and_escape_hides_it(section, tab, run_page, routes):
    section.locator(".word").nth(25).hover()
    tip = section.locator(".tip")
    told = tip.locator("> *").all_text_contents()
    route = routes.loc[25]
    weights = [
        f"{expert} ({weight:.2f})" for expert, weight in zip(route["experts"], route["weights"])
    ]
    assert told[0].endswith("position 25")
    assert told[1] == f"Experts {', '.join(weights)}"
    assert told[2] == f"Entropy {route['entropy']:.2f} nats, confidence {route['confidence']:.2f}"
    row = frame_of(run_page, 1).loc[int(re.search(r"id (\d+)", told[0])[1])]
    usual = re.fullmatch(r"Usually expert (\d+), (\d+)% of ([\d,]+) occurrences?", told[3])
    assert int(usual[1]) == row["top_expert"]
    # the page has it in thousandths
    assert abs(int(usual[2]) - 100 * row["routing_consistency"]) <= 0.56
    assert int(usual[3].replace(",", "")) == row["frequency"]
    assert told[4].startswith("Lookup table: ")
    # the pointer may rest on what was told
    tip.hover()
    assert tip.is_visible()
    tab.keyboard.press("Escape")
    assert not tip.is_visible()


def test_a_keyboard_reaches_every_word_by_one_stop(section, tab):
    tab.locator("#colouring").focus()
    tab.keyboard.press("Tab")
    at = "document.activeElement.dataset.offset"
    assert tab.evaluate(at) == "0"
    assert section.locator(".tip").is_visible()
    for key, to in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", LENGTH - 1)):
        tab.keyboard.press(key)
        assert tab.evaluate(at) == str(to)
    described = tab.evaluate("document.activeElement.getAttribute('aria-describedby')")
    assert tab.locator(f"#{described}").text_content().count("Expert") >= 1
    tab.keyboard.press("Home")
    tab.keyboard.press("ArrowDown")
    below = int(tab.evaluate(at))
    top = "document.activeElement.getClientRects()[0].top"
    further = tab.evaluate(top)
    tab.keyboard.press("ArrowUp")
    assert 0 < below < LENGTH and tab.evaluate(top) < further
    assert section.locator('.word[tabindex="0"]').count() == 1


@pytest.mark.parametrize("key", ["Enter", "click"])
def test_a_word_opens_its_tokens_dialog_and_gets_the_focus_back(section, tab, run_page, key):
    word = section.locator(".word").nth(33)
    if key == "click":
        word.click()
    else:
        word.focus()
        tab.keyboard.press(key)
    dialog = tab.locator("#token-detail")
    assert dialog.is_visible() and dialog.locator("svg").count() == 3
    heads = dialog.locator("th").all_text_contents()
    assert heads[0] == "Layer" and heads[-3:] == ["Experts here", "Entropy here", "Confidence here"]
    texts = made_up_texts(run_page)
    at = texts.routes.query("sample_id == 7 and position == 33")
    cells = dialog.locator("tbody tr").all()
    assert len(cells) == 4
    for row, route in zip(cells, at.to_dict("records")):
        experts = row.locator("td").nth(len(heads) - 3).text_content()
        assert [int(each) for each in re.findall(r"(\d+) \(", experts)] == [*route["experts"]]
    tab.keyboard.press("Escape")
    assert tab.evaluate("document.activeElement.dataset.offset") == "33"


def test_what_cannot_be_seen_is_shown_and_no_token_is_markup(section):
    marks = section.locator(".glyph").all_text_contents()
    assert {"·", "⏎", "␍", "␀", "∅", "⟨U+202E⟩", "⟨U+2028⟩", "␛"} <= set(marks)
    assert section.locator("img, script, b:not(.tip b)").count() == 0
    assert "<script>alert(1)</script>" in section.locator(".words").text_content()
    options = section.page.locator("#passage optgroup").evaluate_all("all => all.map(o => o.label)")
    assert options == ["<i>code</i>", "prose"]


def test_arabic_runs_from_the_right_and_its_letters_join(section, tab):
    tab.locator("#passage").select_option("1")
    words = section.locator(".words")
    assert words.evaluate("element => getComputedStyle(element).direction") == "rtl"
    boxes = [section.locator(".word").nth(at).bounding_box()["x"] for at in range(2)]
    assert boxes[1] < boxes[0]
    # nothing between two words that would part their letters
    for side in ("padding", "margin", "border-left-width", "border-right-width"):
        style = (
            section.locator(".word")
            .nth(1)
            .evaluate(f"element => getComputedStyle(element).getPropertyValue('{side}')")
        )
        assert set(re.findall(r"\d+", style)) == {"0"}
    section.locator(".word").first.focus()
    tab.keyboard.press("ArrowLeft")
    assert tab.evaluate("document.activeElement.dataset.offset") == "1"
    assert ARABIC[0] in words.text_content()


def test_generated_words_are_marked(section, tab):
    tab.locator("#passage").select_option("3")
    assert section.locator(".word.generated").count() == GENERATED
    assert section.locator(".generated-from").text_content() == "generated:"
    last = section.locator(".word").last
    assert last.get_attribute("aria-label").endswith(", generated")
    assert "tokens 0 to 59 of 100" not in section.locator(".note").text_content()
    tab.locator("#passage").select_option("0")
    assert (
        section.locator(".note")
        .text_content()
        .startswith("Sample 7 (test): tokens 0 to 59 of 100. Drawn by nobody.")
    )


def test_a_screen_reader_hears_tokens_and_their_experts(section, routes):
    heard = section.aria_snapshot()
    assert 'combobox "Coloured by"' in heard
    group = heard[heard.index('group "Tokens of name 0"') :].split("\n- ")[0]
    first = [int(expert) for expert in re.findall(r", expert (\d+)\"(?:'|:|\s|$)", group)]
    assert first == [int(experts[0]) for experts in routes["experts"]]


def test_the_data_of_a_passage_can_be_had(section, tab, routes):
    rows = downloaded(tab, section.locator(".csv"))
    assert [row["experts"] for row in rows] == [
        " ".join(map(str, each)) for each in routes["experts"]
    ]
    assert [int(row["position"]) for row in rows] == [*range(LENGTH)]
    assert len(cells_of(section)) == LENGTH * 8


def test_a_dark_phone_and_256_experts(browser, tmp_path):
    page_of_many = made_up_page(1, 90, 256, 8)
    path = tmp_path / "many.html"
    path.write_text(render(page_of_many, Links(), made_up_texts(page_of_many)), encoding="utf-8")
    phone = browser.new_page(viewport=PHONE, color_scheme="dark", reduced_motion="reduce")
    faults: list[str] = []
    phone.on("pageerror", lambda error: faults.append(str(error)))
    phone.goto(path.as_uri())
    phone.locator("#passages").scroll_into_view_if_needed()
    section = phone.locator("#passages")
    section.locator(".word").nth(5).focus()
    phone.keyboard.press("ArrowRight")
    box = section.locator(".tip").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"]
    assert phone.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert len(set(grounds(section))) > 8
    assert (
        "Experts of one hue are often chosen together." in section.locator(".note").text_content()
    )
    assert faults == []
    phone.close()


def test_a_page_without_texts_has_no_such_section(browser, run_page, tmp_path):
    path = tmp_path / "bare.html"
    path.write_text(render(run_page, Links()), encoding="utf-8")
    bare = browser.new_page(viewport=DESK)
    faults: list[str] = []
    bare.on("pageerror", lambda error: faults.append(str(error)))
    bare.goto(path.as_uri())
    assert bare.locator("#passages, #the-text").count() == 0
    assert bare.locator("html.scripted").count() == 1 and faults == []
    bare.close()


@pytest.mark.parametrize("of_run", [True, False])
def test_a_text_alone_is_the_same_section_without_charts(browser, run_page, tmp_path, of_run):
    marts = run_page.marts
    known = {"ranks": marts.frequency_rank, "tokens": marts.tokens} if of_run else {}
    texts = made_up_texts(run_page, passages=1)
    traced = TracedText("<b>model</b>", "some text", texts, marts.layers, **known)
    path = tmp_path / "text.html"
    path.write_text(render_text(traced, 2), encoding="utf-8")
    looks = {"viewport": PHONE, "reduced_motion": "reduce"}
    with drawn_without_a_fault(browser, path, **looks) as alone:
        word = alone.locator("#passages .word").nth(5)
        word.click()
        rows = alone.locator("#token-detail tbody tr")
        assert rows.count() == 4
        route = texts.routes.query("moe_index == 2 and position == 5").iloc[0]
        told = rows.nth(2).text_content()
        assert all(f"{expert} (" in told for expert in route["experts"])
        usual = alone.locator("#token-detail th", has_text="Held out").count()
        assert usual == int(of_run)
        alone.keyboard.press("Escape")
        assert alone.locator("#layer").input_value() == "2"
        before = grounds(alone.locator("#passages"))
        alone.locator("#next-layer").click()
        assert grounds(alone.locator("#passages")) != before
        assert not alone.locator("#passage").is_visible()
        assert alone.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
