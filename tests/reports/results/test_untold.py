"""A run whose trace tells less: what can be shown is shown, what is absent is named."""

import re

import pandas as pd
import pytest

from gatehouse.reports.figures.gallery import FIGURES, RUN_FIGURES
from gatehouse.reports.marts import Loads
from gatehouse.reports.marts.facts import run_facts
from gatehouse.reports.marts.untold import ENTROPY, EVENTS, ORDER, TOKEN_IDS, WEIGHTS
from gatehouse.reports.page.charts import GROUPS
from gatehouse.reports.page.comparison import NONE, render_comparison
from gatehouse.reports.page.comparison_charts import LOADS, OVERLAP
from gatehouse.reports.page.payload import Links
from gatehouse.reports.page.report import render
from gatehouse.reports.results import files
from gatehouse.reports.results.results import Results
from gatehouse.warehouse.errors import GatehouseError
from tests.reports.made_up_page import made_up_page
from tests.reports.made_up_texts import made_up_texts
from tests.reports.made_up_untold import untold_page
from tests.reports.page.parsed_page import Page

IDS_ONLY = (ENTROPY, TOKEN_IDS, WEIGHTS, ORDER)
OF_COUNTS = (EVENTS, *IDS_ONLY)
UNTOLD = (IDS_ONLY, (ENTROPY, TOKEN_IDS), (ENTROPY, WEIGHTS), (ENTROPY, WEIGHTS, ORDER))
OF_EXPERTS = {
    *("expert_load", "expert_repetition", "expert_coactivation", "domain_specialisation"),
    *("expert_cache", "prefetch_recall", "expert_placement", "calibration_coverage"),
}
NOT_A_VALUE = r"NaN|null|nan%|None|undefined|<NA>"


def results_of(untold, folder) -> Results:
    run = untold_page(*untold)
    return Results(folder / "new", folder / "new/routing_stats.parquet", [], "run", run)


@pytest.mark.parametrize("untold", UNTOLD, ids=", ".join)
def test_the_page_says_at_its_top_what_is_absent_and_shows_the_rest(untold):
    assessed = untold_page(*untold)
    html = render(assessed, Links(), made_up_texts(assessed))
    page = Page(html)
    said = page.words.split("What the trace does not tell")[1].split("How the model routes")[0]
    assert said.strip().startswith("The trace (warp) has no entropy")
    charts = [chart for group in GROUPS for chart in group.charts]
    drawn = {chart.stem for chart in charts if f'id="{chart.stem}"' in html}
    assert {"overview", "load", "coactivation", "repetition", "domains"} <= drawn
    assert {"cache", "prefetch", "placement", "calibration"} <= drawn
    assert {"batch-experts", "keep-sets", "tuning"} <= drawn
    assert ("adaptive-k" in drawn) == ("adaptive-k" in page.data) == (WEIGHTS not in untold)
    assert ("transition" in drawn) == (ORDER not in untold)
    assert ("zipf" in drawn) == ("tokens" in page.data) == (TOKEN_IDS not in untold)
    assert all((chart.stem in drawn) != (f"“{chart.heading}”" in said) for chart in charts)
    assert not re.search(NOT_A_VALUE, page.words)
    assert "SUPPORTED" not in html.split("<script")[0]


def test_the_page_of_counts_shows_loads_and_nothing_that_nobody_knows():
    assessed = untold_page(*OF_COUNTS)
    page = Page(render(assessed, Links()))
    drawn = {each.get("id") for each in page.all("section") if "figure" in each.get("class", "")}
    assert drawn == {"overview", "load", "busiest", "placement", "tuning"}
    assert page.data["busiest"][0][-1] == pytest.approx(1)
    assert "The trace (counts) has no events, no entropy, no token ids, no weights" in page.words
    assert "Busiest" in page.words and page.data["layers"]["max_load_ratio"] == [1.6, 1.7, 1.8]
    facts = run_facts(assessed.run, assessed.marts.layers)
    assert not {"Samples", "Tokens", "Routing events"} & set(facts)
    assert f"Selections {assessed.marts.expert_load['selections'].sum():,}" in page.words
    assert not {"coactivation", "transition", "repetition", "domains", "tokens"} & set(page.data)
    assert not {"cache", "prefetch", "calibration"} & set(page.data)
    assert not {"adaptive-k", "batch-experts", "keep-sets"} & set(page.data)
    (row,) = page.data["tuning"]["rows"]
    assert (row["text"], row["tokens"], len(row["trained"])) == ("all text", None, 2)
    assert "The counts tell of no part of the text" in page.data["placement"]["note"]
    assert page.data["placement"]["balance"]["EPLB"]["held_out"] is None
    assert page.data["placement"]["advice"][0] in page.words
    assert not re.search(NOT_A_VALUE, page.words)


def test_a_table_of_tokens_has_no_column_that_is_not_told():
    tokens = Page(render(untold_page(ENTROPY, WEIGHTS, ORDER), Links())).data["tokens"]
    measures = {"mean_entropy", "column", "mean_confidence", "routing_consistency", "top_expert"}
    assert not measures & set(tokens)
    assert tokens["literal"] and tokens["frequency"]


def test_how_a_trace_was_computed_is_not_made_up():
    assessed = untold_page(*IDS_ONLY)
    facts = run_facts(assessed.run, assessed.marts.layers)
    assert facts["Source"] == "warp trace"
    assert not {"dtype", "Device", "Implementations", "Dropped tokens"} & set(facts)


@pytest.mark.parametrize("untold", (*UNTOLD[:2], OF_COUNTS), ids=", ".join)
def test_figures_that_need_what_is_not_told_are_named_not_drawn(untold, tmp_path, quick_figures):
    results = results_of(untold, tmp_path)
    drawn = set(files.write_figures(results))
    named = files.left_out(results).split("; these figures are not drawn: ")[1].split(", ")
    # what was not replayed is not the source's to tell
    assert drawn | set(named) | {"replay_cost"} == FIGURES.keys() | RUN_FIGURES.keys()
    assert not drawn & set(named) and "replay_cost" not in named
    assert drawn - {"expert_transition"} == ({"expert_load"} if EVENTS in untold else OF_EXPERTS)
    assert ("expert_transition" in drawn) == (ORDER not in untold)


def test_nothing_is_left_out_of_a_run_that_tells_everything(tmp_path):
    folder = tmp_path / "new"
    results = Results(folder, folder / "routing_stats.parquet", [], "run", made_up_page())
    assert files.left_out(results) is None


def test_a_run_without_entropy_has_nothing_to_validate(tmp_path):
    results = results_of((ENTROPY, TOKEN_IDS), tmp_path)
    with pytest.raises(GatehouseError, match=r"has no entropy and no token ids, as its trace \(wa"):
        files.write_validation(results, tmp_path / "mine")
    assert not list(tmp_path.iterdir())


def test_a_comparison_shows_loads_and_says_what_each_run_lacks():
    left, right = untold_page(*IDS_ONLY), untold_page(ENTROPY, TOKEN_IDS)
    overlap = pd.DataFrame({"moe_index": [0, 1, 2]} | {name: [0.5] * 3 for name in OVERLAP})
    unknown = overlap.assign(mean_entropy_change=None, top_agreement=float("nan"))
    page = Page(render_comparison(left, right, unknown, None, None))
    assert "no weights and no order of its experts: there is no verdict." in page.words
    assert "has no entropy and no token ids: there is no verdict." in page.words
    assert page.data["runs"][0]["max_load_ratio"] == [1.6, 1.7, 1.8]
    assert page.data["overlap"]["set_agreement"] == [0.5] * 3
    assert not re.search(NOT_A_VALUE, page.words)
    assert "hisker" not in page.words and "there are no intervals" in page.words
    half = Page(render_comparison(made_up_page(), right, None, None, None))
    assert "has no entropy and no token ids: there is no verdict." in half.words
    assert "hisker" in half.words and "there are no intervals" not in half.words
    assert page.words.count("SUPPORTED") == 0 < half.words.count("SUPPORTED")


def test_counts_are_compared_by_their_loads():
    frame = pd.DataFrame({"moe_index": [0, 2]} | {name: [0.5, 0.75] for name in LOADS})
    loads = Loads(frame.assign(load_correlation=float("nan")))
    counts = untold_page(*OF_COUNTS)
    for other in (made_up_page(), counts):
        page = Page(render_comparison(counts, other, None, None, loads))
        assert page.data["loads"]["shared_load"] == [0.5, None, 0.75]
        assert page.data["loads"]["load_correlation"] == [None] * 3
        assert "On average over 2 layers, 62.5% of the load is on the same experts" in page.words
        assert "Tokens are not compared, only loads" in page.words
        assert not re.search(NOT_A_VALUE, page.words.replace(f"{NONE} undefined", ""))
    page = Page(render_comparison(counts, counts, None, None, None))
    assert "Neither tokens nor loads are compared" in page.words and "loads" not in page.data
