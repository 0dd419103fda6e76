"""Results of runs whose source tells less, from the marts that dbt builds of them."""

from contextlib import closing, nullcontext

import pandas as pd
import pytest

from gatehouse.reports.marts import untold_by_run
from gatehouse.reports.marts.untold import A_VERDICT, ENTROPY, EVENTS, ORDER, TOKEN_IDS, WEIGHTS
from gatehouse.reports.page.payload import Links
from gatehouse.reports.page.report import render
from gatehouse.reports.results.results import open_results
from gatehouse.reports.results.selection import Selection
from gatehouse.reports.results.sweep import sweep
from gatehouse.reports.results.texts import landed_text, texts_of
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths
from tests.dbt_project.conftest import FINISHED
from tests.dbt_project.random_runs import PARTLY_TOLD
from tests.reports.page.parsed_page import Page

THINGS = {"distribution": ENTROPY, "tokens": TOKEN_IDS, "weights": WEIGHTS, "order": ORDER}
UNTOLD = {
    run_id: {THINGS[name] for name in unknown if name in THINGS}
    for run_id, unknown in PARTLY_TOLD.items()
    # all captures but those with --output-norms lack norms, and say nothing of it
    if unknown != ("norms",)
}
OF_COUNTS = {"counted": {EVENTS, *THINGS.values()}}


def bar(what: str, total: int | None):
    return nullcontext(lambda done: None)


def test_the_marts_tell_what_a_source_did_not_tell(connection):
    found = untold_by_run(connection)
    assert {run_id: set(things) for run_id, things in found.items()} == {
        run_id: UNTOLD.get(run_id, set()) for run_id in FINISHED
    } | OF_COUNTS


@pytest.mark.parametrize("run_id", UNTOLD)
def test_a_run_that_tells_less_has_a_page(built, run_id):
    results = open_results(Selection(run_id=run_id), Paths(built.home), bar)
    assert results.sections == []
    of_run = results.of_run
    texts = texts_of(of_run.run, of_run.marts.layers, of_run.untold, Paths(built.home))
    page = Page(render(of_run, Links(), texts))
    assert (
        ("text" in page.data)
        == ("passages" in page.data.get("text", {}))
        == (TOKEN_IDS not in of_run.untold)
    )
    assert "What the trace does not tell" in page.words
    assert all(word not in page.words for word in ("NaN", "nan", "None", "undefined"))
    assert len(page.data["load"]["ratio"]["data"]) > 0


def test_a_sweep_leaves_out_the_runs_that_cannot_have_a_verdict(built, tmp_path):
    target = tmp_path / "sweep.csv"
    text, _ = sweep(None, None, Paths(built.home), bar, target)
    without = {run_id for run_id, things in (UNTOLD | OF_COUNTS).items() if things & A_VERDICT}
    assert set(text.splitlines()[-1].split(": ")[1].split(", ")) == without
    assert set(pd.read_csv(target, dtype={"run_id": str})["run_id"]) == set(FINISHED) - without


def test_a_sweep_of_one_run_that_cannot_have_a_verdict_is_refused(built, tmp_path):
    target = tmp_path / "sweep.csv"
    with pytest.raises(GatehouseError, match=r"ids-only has no entropy, no token ids and no order"):
        sweep("ids-only", None, Paths(built.home), bar, target)
    assert not target.exists()


def test_a_text_that_is_not_told_is_not_shown(built):
    without = next(run_id for run_id, things in UNTOLD.items() if TOKEN_IDS in things)
    with closing(connect(Paths(built.home))) as session:
        for run_id in (without, "counted"):
            with pytest.raises(GatehouseError, match="name another run, whose text landed"):
                landed_text(session, run_id, 0, None)
        told = next(run_id for run_id, things in UNTOLD.items() if TOKEN_IDS not in things)
        assert len(landed_text(session, told, 1, None).texts.tokens)
        # a sample of the corpus may be empty
        with pytest.raises(GatehouseError, match=r"sample 0 of .* has no tokens"):
            landed_text(session, told, 0, None)
