"""show and trace: the routing that landed, and the routing of a text that no run has."""

import dataclasses
import io
import json
import re
import shutil
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from gatehouse.flows import console
from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps import capture
from gatehouse.flows.trace import trace
from gatehouse.reports.marts import layers, run_summary
from gatehouse.reports.results.coloured_text import pieces, table
from gatehouse.reports.results.texts import landed_text, texts_of
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from tests.reports.page.parsed_page import Page
from tests.reports.page.test_payload import unpacked

EXACT = ("position", "token_id", "layer", "experts", "weights", "entropy", "confidence")


@pytest.fixture(scope="module")
def corpus(captured) -> list[str]:
    lines = (captured.parent / "texts.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


@pytest.fixture(scope="module")
def landed(captured):
    paths = Paths(captured)
    (run_id,) = Lake(paths.lake).run_ids()
    with closing(connect(paths)) as connection:
        yield landed_text(connection, run_id, 11, 1)


def experts_of(out: str) -> list[list[list[int]]]:
    """Return the experts in the printed table, by token and layer."""
    lines = out.split("Experts by MoE layer:\n")[1].rstrip("\n").splitlines()[1:]
    found = (re.search(r"((?:  +[\d ]+?)+)$", line)[1] for line in lines)
    return [
        [[int(e) for e in cell.split()] for cell in re.split("  +", each.strip())] for each in found
    ]


def test_a_trace_is_what_a_capture_lands(captured, corpus, landed, tiny_mixtral):
    for number in (11, 0):
        request = RunRequest(model=str(tiny_mixtral), max_length=128)
        traced = trace(request, corpus[number])
        events = pq.read_table(next(captured.glob("lake/events/*/shard-00000.parquet"))).to_pandas()
        own = events[events["sample_id"] == number].sort_values(["layer", "position"])
        routes = traced.texts.routes.sort_values(["moe_index", "position"])
        assert len(own) == len(routes) > 60
        for name in ("experts", "weights"):
            np.testing.assert_array_equal(np.stack(routes[name]), np.stack(own[name]))
        for name in ("position", "entropy", "confidence"):
            np.testing.assert_array_equal(routes[name].to_numpy(), own[name].to_numpy())
        first = own[own["layer"] == own["layer"].min()]
        assert traced.texts.tokens["token_id"].to_list() == first["token_id"].to_list()


def test_what_a_trace_generates_is_what_a_capture_generates(tiny_mixtral, tmp_path):
    text = "the router sends every token to two experts"
    (tmp_path / "one.txt").write_text(text)
    asked = {"model": str(tiny_mixtral), "generate": 6, "max_length": 64}
    paths = Paths(tmp_path / "home")
    summary = capture.capture(RunRequest(**asked, dataset=str(tmp_path / "one.txt")), paths)
    events = pq.read_table(next(paths.lake.glob("events/*/shard-00000.parquet"))).to_pandas()
    traced = trace(RunRequest(**asked), text)
    assert summary.tokens == len(traced.texts.tokens)
    (passage,) = traced.texts.passages.to_dict("records")
    assert passage["tokens"] - passage["prompt_tokens"] == 6
    own = events.sort_values(["layer", "position"])
    np.testing.assert_array_equal(
        np.stack(traced.texts.routes["experts"]), np.stack(own["experts"])
    )


def test_show_prints_the_landed_experts_and_writes_a_page(run, captured, landed, tmp_path):
    target = tmp_path / "text.html"
    code, out, err = run(
        "show", "--home", captured, "--sample", 11, "--layer", 1, "--output", target
    )
    assert (code, err) == (0, f"Page: {target}\n") and "\x1b" not in out
    routes = landed.texts.routes
    by_layer = [np.stack(own["experts"]).tolist() for _, own in routes.groupby("moe_index")]
    assert experts_of(out) == [list(token) for token in zip(*by_layer)]
    words = "".join(landed.texts.tokens["token_str"])
    assert words in out and "MoE layer 1" in out
    first = [experts[0] for experts in by_layer[1]]
    for expert in set(first):
        assert f" {expert}  {first.count(expert)}" in out
    html = target.read_text(encoding="utf-8")
    page = Page(html)
    assert len(html) < 150_000
    assert page.policy["default-src"] == "'none'"
    assert page.policy["script-src"].split() == page.hashes
    assert page.data["layer"] == 1 and "Sample 11" in page.words
    chosen = unpacked(page.data["text"]["layers"][2]["chosen"]).reshape(-1, 2)
    assert chosen.astype(int).tolist() == by_layer[2]
    # the dialog's numbers are the run's
    assert set(page.data["tokens"]["id"]) == set(landed.texts.tokens["token_id"])


def test_trace_prints_and_writes_the_same(
    run, captured, corpus, tiny_mixtral, tmp_path, monkeypatch
):
    model = ["--model", tiny_mixtral, "--max-length", 128]
    code, landed, _ = run("show", "--home", captured, "--sample", 11)
    code, out, err = run("trace", corpus[11], *model, "--output", tmp_path / "a.html")
    assert code == 0 and err.splitlines()[-1] == f"Page: {tmp_path / 'a.html'}"
    assert experts_of(out) == experts_of(landed)
    data = Page((tmp_path / "a.html").read_text(encoding="utf-8")).data
    assert "tokens" not in data and "shared" not in data["text"]["layers"][0]
    assert data["text"]["passages"][0]["sample_id"] is None
    assert data["text"]["passages"][0]["shown"] == len(experts_of(out))
    # as a capture reads a file of Windows
    piped = corpus[11].replace("\n", "\r\n").encode("utf-8-sig")
    given = io.TextIOWrapper(io.BytesIO(piped), encoding="ascii")
    monkeypatch.setattr(sys, "stdin", given)
    assert run("trace", "-", *model)[:2] == (0, out)


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "there is no text: gatehouse trace"), ("\udcff", "the text is not in UTF-8")],
)
def test_a_text_that_cannot_be_read_is_one_line(run, text, said):
    code, out, err = run("trace", text)
    assert (code, out, err.count("\n")) == (2, "", 1) and said in err


def test_a_long_text_is_cut_as_a_capture_cuts_it(run, captured, corpus, tiny_mixtral):
    words = ["trace", corpus[11], "--model", tiny_mixtral, "--max-length", 10]
    code, out, err = run(*words)
    assert code == 0 and "43 tokens beyond --max-length 10 left out" in err
    _, landed, _ = run("show", "--home", captured, "--sample", 11)
    assert experts_of(out) == experts_of(landed)[:10]


def test_events_that_cannot_be_read_are_one_line(run, captured, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(captured, home, ignore=shutil.ignore_patterns("results", "prefect"))
    (shard,) = home.glob("lake/events/*/*.parquet")
    shard.write_bytes(shard.read_bytes()[:-100])
    code, out, err = run("show", "--home", home, "--sample", 3)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "the events of" in err and "`gatehouse verify --repair` mends the lake" in err
    # a report has its other sections
    paths = Paths(home)
    with closing(connect(paths)) as connection:
        (run_id,) = Lake(paths.lake).run_ids()
        of_run, of_layers = run_summary(connection, run_id), layers(connection, run_id)
    assert texts_of(of_run, of_layers, (), paths) is None
    assert texts_of(of_run, of_layers, (), Paths(captured)).rule.startswith("Drawn by the hashes")


def test_what_is_not_there_is_one_line_with_the_way_out(run, captured, landed):
    code, out, err = run("show", "--home", captured, "--sample", 4711)
    assert (code, out, err.count("\n")) == (2, "", 1) and "has no sample 4711" in err
    code, query, _ = run("sql", "from dim_sample", "--home", captured)
    assert code == 0 and "sample_id" in query
    code, _, err = run("show", "--home", captured, "--layer", 9)
    assert code == 2 and "there is no MoE layer 9: this run has 0, 1, 2" in err
    code, _, err = run("trace", "some text", "--layer", 9)
    assert code == 2 and "--layer 9" in err
    code, _, err = run("report", "--home", captured, "--samples", "3,x")
    assert code == 2 and "numbers of samples" in err
    code, _, err = run("report", "--home", captured, "--samples", "4711")
    assert code == 2 and "has no sample 4711" in err


def coloured(monkeypatch, pieces, **environment) -> str:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    file = io.StringIO()
    monkeypatch.setattr(
        console, "Console", lambda **how: Console(file=file, force_terminal=True, **how)
    )
    console.answer_coloured(pieces)
    return file.getvalue()


def test_a_terminal_has_colours_unless_no_color_is_set(monkeypatch):
    pieces = [("word\x1b[2J", 1), (" plain", None)]
    shown = coloured(monkeypatch, pieces, TERM="xterm", COLORTERM="truecolor")
    assert "48;2;255;196;112m" in shown and "\x1b[2J" not in shown and "\\x1b[2J" in shown
    bare = coloured(monkeypatch, pieces, TERM="xterm", NO_COLOR="1")
    assert bare == "word\\x1b[2J plain"


def test_the_terminals_hues_are_the_pages():
    style = (Path(__file__).parents[3] / "reports/page/assets/page.css").read_text()
    assert tuple(re.findall(r"--hue-\d: (#\w{6})", style)) == console.HUES
    assert re.search(r"--on-hue: (#\w{6})", style)[1] == console.ON_HUE


@pytest.mark.parametrize("unknown", [None, np.nan])
def test_a_token_without_text_is_shown_by_its_id(landed, unknown):
    tokens = landed.texts.tokens.assign(token_str=pd.Series(unknown, landed.texts.tokens.index))
    bare = dataclasses.replace(landed, texts=dataclasses.replace(landed.texts, tokens=tokens))
    shown = "".join(piece for piece, _ in pieces(bare, 0, None))
    ids = [f"[{each}]" for each in tokens["token_id"]]
    assert "".join(ids) in shown and experts_of(shown)
    rows = shown.split("Experts by MoE layer:\n")[1].splitlines()[1:]
    assert [row.split()[0] for row in rows] == ids


def test_a_narrow_terminal_has_first_experts_and_then_fewer_layers(landed):
    wide = table(landed, 0, None)
    assert table(landed, 0, 200) == wide
    width = max(map(len, wide.splitlines()))
    narrow = table(landed, 1, width - 1)
    assert narrow.startswith("Of each layer the first expert alone")
    body = narrow.split("Experts by MoE layer:\n")[1].splitlines()
    assert body[0].split() == ["token", "0", "1", "2"] and max(map(len, body)) < width
    narrowest = table(landed, 1, max(map(len, body)) - 1)
    assert "MoE layers 1 to 2 of 0 to 2." in narrowest
