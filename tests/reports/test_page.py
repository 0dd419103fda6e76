"""The page holds everything in itself, shows tokens as text, and says what was found."""

import dataclasses
import itertools
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from reports.figures import FIGURES
from reports.hypothesis import validate
from reports.page import READING, TOP_TOKENS, render

PNG = b"\x89PNG\r\n\x1a\n not a real image"
VOID = {"meta", "img", "link", "br", "hr", "input"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; refuses tags that are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


@pytest.fixture
def validation(analysis):
    return validate(analysis.frame, special_token_ids=analysis.special_token_ids)


@pytest.fixture
def html(analysis, validation) -> str:
    return render(analysis, validation, dict.fromkeys(FIGURES, PNG))


def test_nothing_is_fetched_and_nothing_runs(html):
    page = Page(html)
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe", "object", "form"}
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "action", "srcset"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert "http:" not in html
    assert "https:" not in html
    assert "@import" not in html
    assert "url(" not in html


def test_the_verdict_and_its_three_numbers_come_first(html, validation):
    words = Page(html).words
    positions = [words.index("SUPPORTED")]
    positions += [words.index(criterion.found) for criterion in validation.criteria]
    positions += [words.index(title) for title in ("Measures", "What was run", "MoE layers")]
    positions += [words.index(title) for title in ("Figures", "most frequent tokens", "Limits")]
    assert positions == sorted(positions)
    for criterion in validation.criteria:
        assert f"Grade: {criterion.grade}" in words


def test_headings_descend_one_level_at_a_time(html):
    levels = [int(tag[1]) for tag, _ in Page(html).tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_figures_are_embedded_with_alternative_text_and_a_reading(html, analysis):
    images = Page(html).all("img")
    assert len(images) == len(FIGURES) == len(READING)
    assert len({image["alt"] for image in images}) == len(images)
    for image in images:
        assert image["src"].startswith("data:image/png;base64,iVBOR")
    assert "400 tokens" in images[0]["alt"]
    for _, reading in READING.values():
        assert reading.split(":")[0] in Page(html).words


def test_tokens_are_text_whatever_they_hold(html):
    page = Page(html)
    assert page.all("script") == []
    assert "'<script>alert(1)</script>'" in page.words
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert r"'\n'" in page.words


def test_names_of_models_are_escaped_too(analysis, validation):
    run = analysis.run | {"model": '"><img src=x onerror=alert(1)>', "dataset": "<b>"}
    page = Page(render(dataclasses.replace(analysis, run=run), validation, {}))
    assert page.all("img") == []
    assert page.all("b") != []
    assert all("onerror" not in attributes for _, attributes in page.tags)


def test_light_and_dark_narrow_and_wide(html):
    page = Page(html)
    assert "@media (prefers-color-scheme: dark)" in html
    assert "@media (max-width: 40rem)" in html
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all(
        "meta"
    )
    light, dark = (
        set(re.findall(r"--(\w[\w-]*):", block))
        for block in re.findall(r":root \{(.*?)\}", html, re.S)
    )
    assert light == dark


def test_a_wrapped_table_scrolls_by_keyboard(html):
    regions = [each for each in Page(html).all("div") if each.get("class") == "scroll"]
    assert len(regions) == len(Page(html).all("table")) == 2
    assert all(each["tabindex"] == "0" and each["aria-label"] for each in regions)


def test_the_token_table_has_the_most_frequent_and_their_eligibility(analysis, validation, html):
    table = html.split('id="tokens"')[1].split("</table>")[0]
    rows = re.findall(r"<tr>\s*<td>(\d+)</td>.*?</tr>", table, re.S)
    assert rows == [str(rank) for rank in range(1, TOP_TOKENS + 1)]
    top = analysis.frame.head(TOP_TOKENS)
    eligible = (top["frequency"] > 50) & (top["mean_entropy"] < 0.5)
    assert table.count("<td>yes</td>") == eligible.sum()
    assert f"{top['frequency'].iloc[0]:,}" in table


def test_every_layer_is_listed_and_the_tested_one_marked(html, analysis):
    table = html.split('id="layers"')[1].split("</table>")[0]
    assert table.count('<th scope="row">') == len(analysis.layers)
    assert table.count('aria-current="true"') == 1
    for mean in analysis.layers["mean_entropy"]:
        assert f"<td>{mean:.4f}</td>" in table


def test_limits_carry_the_runs_own_numbers(html, validation):
    words = Page(html).words
    assert "ln 8 = 2.08 nats, so 0.5 nats is 24% of the range" in words
    assert "7 tokens past the maximum length of 512" in words
    assert f"{validation.special.occurrence_share:.1%} of the occurrences" in words


def test_undefined_measures_are_said(analysis):
    constant = dataclasses.replace(analysis, frame=analysis.frame.assign(mean_entropy=0.3))
    page = Page(render(constant, validate(constant.frame), {}))
    assert "undefined: all mean entropies are equal" in page.words
    assert "nan" not in page.words.lower().split()
    assert "None" not in page.words


def test_a_missing_spread_is_no_obstacle(analysis, validation):
    frame = analysis.frame.assign(std_entropy=np.nan)
    assert render(dataclasses.replace(analysis, frame=frame), validation, {})
