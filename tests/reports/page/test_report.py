"""The page holds everything in itself, runs only its own scripts, and says what was found."""

import dataclasses
import hashlib
import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from gatehouse.reports.figures import style
from gatehouse.reports.page.charts import PARTS, shown
from gatehouse.reports.page.html import ASSETS
from gatehouse.reports.page.passages import budget
from gatehouse.reports.page.payload import Links
from gatehouse.reports.page.replay import with_replays
from gatehouse.reports.page.report import SCRIPTS, render
from gatehouse.reports.page.sections.lineage import COLUMNS, column_address
from gatehouse.reports.page.text import limits
from gatehouse.reports.verdict.findings import AssessedRun
from tests.reports.made_up import made_up_marts
from tests.reports.made_up_findings import made_up_findings, with_findings
from tests.reports.made_up_page import made_up_page
from tests.reports.made_up_texts import made_up_texts
from tests.reports.page.parsed_page import Page

LARGEST_PAGE = 6_000_000
GROUPS = [group for part in with_replays(PARTS, made_up_page()) for group in part.groups]
CHARTS = [chart for group in GROUPS for chart in group.charts]


@pytest.fixture(scope="module")
def run_page() -> AssessedRun:
    return made_up_page()


@pytest.fixture(scope="module")
def html(run_page) -> str:
    return render(run_page, Links(layer=1), made_up_texts(run_page))


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page(html)


def test_nothing_is_fetched(page):
    for tag, attributes in page.tags:
        assert tag not in {"link", "iframe", "object", "form", "img", "base"}
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "action", "srcset"):
            assert (attributes.get(name) or "#").startswith("#")
    style = (ASSETS / "page.css").read_text(encoding="utf-8")
    assert "@import" not in style
    assert "url(" not in style
    own = "".join((ASSETS / "scripts" / name).read_text(encoding="utf-8") for name in SCRIPTS)
    assert not re.search(r"https?:|fetch\(|XMLHttpRequest|eval\(|innerHTML|import ", own)


def test_only_the_pages_own_scripts_may_run(page):
    assert page.policy["default-src"] == "'none'"
    assert page.policy["img-src"] == "data:"
    kinds = [each.get("type") for each in page.all("script")]
    assert kinds == ["application/json", None, "module"]
    assert page.policy["script-src"].split() == page.hashes


def test_the_charts_library_is_the_one_recorded():
    recorded = json.loads((ASSETS / "vendored.json").read_text())
    assert set(recorded) == {path.name for path in ASSETS.glob("*.min.js")}
    for name, expected in recorded.items():
        content = (ASSETS / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == expected["sha256"]
        assert f'version="{expected["version"]}"' in content.decode()
    for licence in ("LICENSE", "LICENSE-d3", "NOTICE"):
        assert (ASSETS / f"echarts.{licence}").stat().st_size


def test_the_page_opens_with_how_the_model_routes(page, run_page):
    groups = [group.stem for group in GROUPS]
    assert groups[:4] == ["experts", "expert-cards", "layers", "the-text"]
    place, verdicts = groups.index("criteria"), [f"verdict-{layer}" for layer in range(3)]
    parts = [each["id"] for each in page.all("h2")]
    assert parts == [
        *("routing", *groups[:place], *verdicts, "model", *groups[place:]),
        *("run", "limits", "cite"),
    ]
    head = page.words[: page.words.index("How the model routes")]
    layers = run_page.marts.layers
    assert f"{run_page.run['tokens']:,} tokens of 12 samples; 3 MoE layers, top-2 of 8" in head
    met = sum(run_page.verdict.supporting)
    assert f"{run_page.verdict.verdict} {met} of 3 MoE layers meet all three criteria." in head
    busiest = layers["max_load_ratio"]
    words = page.words[page.words.index("Busiest expert") :]
    assert f"{busiest.min():.2f} (layer {busiest.idxmin()}) to {busiest.max():.2f}" in words


@pytest.mark.parametrize("focus", [part.stem for part in PARTS])
def test_what_a_reader_came_for_comes_first(run_page, focus):
    stems = [part.stem for part in shown((), focus)]
    assert stems == [focus, *(part.stem for part in PARTS if part.stem != focus)]
    first = {"routing": "routing", "verdict": "verdict-0", "inference": "inference"}[focus]
    focused = Page(render(run_page, Links(), focus=focus))
    assert focused.all("h2")[0]["id"] == first
    charts = [each["id"] for each in focused.all("section") if "figure" in each.get("class", "")]
    # without texts
    assert set(charts) == {chart.stem for chart in CHARTS} - {"passages"}


def test_the_verdict_has_its_three_numbers_in_one_place(page, run_page):
    validation, finding = run_page.layers[1].validation, run_page.findings.layers.iloc[1]
    words = page.words[page.words.index("in MoE layer 1") - 30 :]
    positions = [words.index(validation.verdict)]
    for criterion in validation.criteria:
        positions.append(words.index(f"{criterion.found} 95 % interval"))
        assert f"Grade: {criterion.grade}" in words
    positions += [words.index("Each token's values averaged"), words.index("What was run")]
    assert positions == sorted(positions)
    assert f"{finding['coverage_low']:.1%} to {finding['coverage_high']:.1%}" in words
    assert "The evidence in layer 1 is strong." in words


def test_one_layer_is_shown_at_first(page):
    sections = [each for each in page.all("section") if each.get("class") == "of-one-layer"]
    assert ["hidden" in each for each in sections] == [True, False, True]
    assert page.data["layer"] == 1
    # the texts and colours to choose from come after the layers
    assert [each.get("value") for each in page.all("option")][:3] == ["0", "1", "2"]
    assert sum(each.get("aria-current") == "true" for each in page.all("tr")) == 1


def test_the_model_is_summed_up(page, run_page):
    supporting = sum(run_page.verdict.supporting)
    assert f"{supporting} of 3 MoE layers meet all three criteria" in page.words
    assert "averaged over the layers, a description that decides nothing" in page.words
    assert "Capture more text." in page.words


def test_headings_descend_one_level_at_a_time(page):
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_every_chart_has_a_heading_a_reading_its_data_and_a_table(page):
    figures = [each for each in page.all("section") if "figure" in (each.get("class") or "")]
    assert [each["id"] for each in figures] == [chart.stem for chart in CHARTS]
    for chart in CHARTS:
        assert chart.reading in page.words
    assert sum(each.get("class") == "csv" for each in page.all("button")) == len(CHARTS)
    assert sum(each.get("class") == "alternative" for each in page.all("details")) == len(CHARTS)


def test_names_are_unique_and_lead_somewhere(page):
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        for name in ("aria-labelledby", "for"):
            assert name not in attributes or attributes[name] in ids
        link = attributes.get("href") or ""
        assert not link.startswith("#") or link.startswith("#layer=") or link[1:] in ids


def test_tokens_and_names_are_text_whatever_they_hold(html, page):
    assert html.count("<script") == 3
    assert page.all("img") == []
    assert "<b>web</b>" in page.words
    assert repr("</script><script>alert(1)</script>") in page.data["tokens"]["literal"]
    assert r"'\u2028'" in page.data["tokens"]["literal"]
    assert not set("<>&\u2028\u2029") & set(page.scripts[0])
    assert "@misc{made_up--web--0123456789," in page.words
    assert r"run made\_up-web-0123456789}" in page.words


def test_light_and_dark_narrow_and_wide_print_and_stillness(html, page):
    for query in ("prefers-color-scheme: dark", "max-width: 40rem", "prefers-reduced-motion"):
        assert query in html
    assert "@media print" in html
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all(
        "meta"
    )
    light, dark = (
        set(re.findall(r"--(\w[\w-]*):", block))
        for block in re.findall(r":root \{(.*?)\}", html, re.S)
    )
    assert light == dark


def test_heat_maps_have_the_colours_of_the_print_figures(html):
    found = re.findall(r"--(shares|ratios): (.*?);", html)
    assert [name for name, _ in found] == ["shares", "ratios"] * 2
    for colours, (_, listed) in zip(
        (style.share_colours(), style.chance_colours()), found[:2], strict=True
    ):
        stops = [to_rgb(stop) for stop in listed.split(", ")]
        # a colour map of the figures has 256 steps
        drawn = colours(np.linspace(0, 1, len(stops)))[:, :3]
        np.testing.assert_allclose(drawn, stops, atol=0.02)
    dark = {name: listed.split(", ") for name, listed in found[2:]}
    # the same colours, turned round but for the middle
    assert dark["shares"] == found[0][1].split(", ")[::-1]
    ratios = found[1][1].split(", ")
    assert dark["ratios"][:3] + dark["ratios"][4:] == ratios[2::-1] + ratios[:3:-1]


def test_what_needs_no_script_is_in_the_page(page, run_page):
    assert "drawn by a script" in page.words
    for mean in run_page.marts.layers["mean_entropy"]:
        assert f"{mean:.4f}" in page.words
    assert "ln 8 = 2.08 nats, so 0.5 nats is 24% of the range" in page.words
    assert "7 tokens past the maximum length of 512" in page.words
    assert "Apache License 2.0" in page.words


def test_one_of_a_kind_is_singular(run_page):
    counts = [1] + [0] * (len(run_page.layers) - 1)
    layers = [
        dataclasses.replace(
            each, validation=dataclasses.replace(each.validation, excluded_rows=excluded)
        )
        for each, excluded in zip(run_page.layers, counts, strict=True)
    ]
    run = run_page.run | {"dropped_tokens": 1}
    lines = limits(dataclasses.replace(run_page, run=run, layers=layers), 0)
    assert "1 token past the maximum length of 512 was never seen by the model." in lines
    row = "1 row with values that are not finite or not possible was excluded, over all layers."
    assert row in lines


def test_links_are_there_when_given(run_page):
    beside = {"Verdict": {"JSON": "validation.json"}, "Exports": {"a <b>.csv": "a%20%3Cb%3E.csv"}}
    links = Links("lineage.html", {"frequency_vs_entropy": "figures/a.png"}, beside, layer=0)
    linked = Page(render(run_page, links))
    own = [each["href"] for each in linked.all("a") if "#" not in each["href"]]
    assert own == [
        *("validation.json", "a%20%3Cb%3E.csv", "lineage.html"),
        *("figures/a.png", "figures/a.pdf"),
    ]
    head = linked.words[: linked.words.index("How the model routes")]
    assert "Exports: a <b>.csv" in head and "Frequency vs entropy: PNG , PDF" in head


def test_every_section_names_its_columns_and_links_them_where_there_is_a_lineage_page(run_page):
    """Exposures link back to these sections: each has an id."""
    linked, bare = (
        Page(render(run_page, links, made_up_texts(run_page)))
        for links in (Links("../../dbt/static_index.html"), Links())
    )
    ids = {attributes.get("id") for _, attributes in linked.tags}
    assert COLUMNS.keys() | {"main", "verdict"} <= ids
    assert {chart.stem for chart in CHARTS} <= COLUMNS.keys()
    addresses = {each["href"] for each in linked.all("a")}
    for name in {name for names in COLUMNS.values() for name in names}:
        assert column_address("../../dbt/static_index.html", name) in addresses
        assert name in bare.words
    assert not any("static_index" in (each["href"] or "") for each in bare.all("a"))


@pytest.mark.parametrize(
    ("shape", "tokens", "cards"),
    [((32, 24_000, 8), 2400, 8), ((48, 50_000, 128), 2400, 8), ((94, 6_000, 128), 700, 4)],
)
def test_the_page_stays_small(shape, tokens, cards):
    one, marts = made_up_page(1, 300, shape[2]), made_up_marts(*shape)
    every_layer = AssessedRun(one.run, marts, one.layers * shape[0], one.average)
    run_page = with_findings(every_layer, made_up_findings(marts))
    length = budget(marts.layers) // 4
    html = render(run_page, Links(), made_up_texts(run_page, length=length))
    assert len(html.encode()) < LARGEST_PAGE
    data = Page(html).data
    assert len(data["tokens"]["literal"]) > tokens
    assert all(len(layer["expert"]) >= cards for layer in data["cards"]["layers"])


def test_what_is_undefined_or_missing_is_said():
    whole = made_up_page(1, 40, top_k=1)
    empty = {name: getattr(whole.marts, name).head(0) for name in ("agreement", "thresholds")}
    undefined = whole.findings.layers.assign(
        spearman=None, spearman_low=float("nan"), held_out_consistency=pd.NA
    )
    bare = dataclasses.replace(whole, marts=dataclasses.replace(whole.marts, **empty))
    findings = dataclasses.replace(whole.findings, layers=undefined)
    page = Page(render(with_findings(bare, findings), Links(layer=7)))
    assert page.data["coactivation"]["layers"] == page.data["transition"]["layers"] == [None]
    assert page.data["layers"]["spearman"] == [None]
    assert not {"nan", "None", "NaN"} & set(page.words.split())
