"""validate, plot and report on a real run: their files, their exit codes, what they agree on."""

import dataclasses
import itertools
import json
import re
import shutil
from contextlib import closing
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote

import duckdb
import numpy as np
import pandas as pd
import pytest

from gatehouse.flows.console import bar
from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps import build, capture
from gatehouse.reports import marts as queries
from gatehouse.reports.marts import Marts
from gatehouse.reports.marts.expert_cards import ExpertCards
from gatehouse.reports.results.results import assess
from gatehouse.reports.verdict.thresholds import Thresholds
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.notes.run_names import forget_name, name_run
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.replays import ReplayPolicy


@pytest.fixture
def results(captured) -> Path:
    return next((captured / "results").glob("*-*"), captured / "results")


def test_the_text_and_the_json_say_the_same(run, captured):
    code, out, _ = run("validate", "--home", captured, "--layer", 1)
    assert code == 0 and "MoE layer 1" in out
    (report,) = (captured / "results").glob("*/validation_report.txt")
    assert report.read_text(encoding="utf-8") == out
    content = json.loads(report.with_name("validation.json").read_text(encoding="utf-8"))
    (layer,) = content["layers"]
    assert content["source"]["run_id"] == report.parent.name
    assert content["model"] is None and layer["layer"] == 1
    assert layer["strength"] in out and layer["verdict"] in out
    assert f"{layer['statistics']['correlation']['spearman']:.4f}" in out


def test_all_layers_end_with_the_model(run, captured):
    code, out, _ = run("validate", "--home", captured, "--layer", "all")
    assert code == 0
    (path,) = (captured / "results").glob("*/validation.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    # on the terminal a row each, in the file the report of each
    rows = [line.split() for line in out.splitlines() if line.endswith((" yes", " no"))]
    assert [row[0] for row in rows] == ["0", "1", "2"]
    for row, each in zip(rows, content["layers"]):
        assert row[1] == f"{each['statistics']['correlation']['spearman']:.3f}"
        assert row[-1] == ("yes" if each["supported"] else "no")
    assert f"VAR Hypothesis {content['model']['verdict']} for the model" in out
    assert content["model"]["statement"] in out and len(out.splitlines()) < 30
    report = path.with_name("validation_report.txt")
    assert out.rstrip().endswith(f"Every layer in full: {report}")
    full = report.read_text(encoding="utf-8")
    assert full.count("VAR Hypothesis Validation\n") == 3 and "All MoE layers" in full
    assert [each["layer"] for each in content["layers"]] == [0, 1, 2]
    assert content["model"]["layers"] == 3


def test_a_run_is_named_with_or_without_its_option(run, captured):
    (run_id,) = Lake(Paths(captured).lake).runs()
    plain = run("validate", run_id, "--home", captured)
    assert plain == run("validate", "--run", run_id, "--home", captured)
    assert plain[0] == 0


def test_strict_tells_scripts_by_the_exit_code(run, captured, tmp_path):
    ranks = np.arange(1, 201)
    frame = pd.DataFrame(
        {
            "token_id": ranks,
            "token_str": [f"token {rank}" for rank in ranks],
            "frequency": 20_000 // ranks,
            "mean_entropy": 0.1 + 0.002 * ranks,
            "mean_confidence": 0.9,
            "routing_consistency": 0.9,
        }
    )
    for name, moved, expected in (("good", 0.0, 0), ("bad", 2.0, 1)):
        path = tmp_path / f"{name}.parquet"
        frame.assign(mean_entropy=frame["mean_entropy"] + moved).to_parquet(path)
        code, out, _ = run("validate", "--input", path)
        assert code == 0
        code, strict, err = run("validate", "--input", path, "--strict")
        assert (code, strict, err) == (expected, out, "")
    code, _, err = run("validate", "--home", captured, "--strict")
    assert (code, err) == (1, "")


def test_a_report_of_a_file_has_its_json_beside_it(run, captured, tmp_path):
    with closing(connect(Paths(captured))) as connection:
        run_id = queries.resolve_run(connection, None)
        queries.routing_statistics(connection, run_id, 0).to_csv(tmp_path / "s.csv", index=False)
    code, out, _ = run("validate", "--input", tmp_path / "s.csv", "--output", tmp_path / "r.txt")
    assert code == 0 and (tmp_path / "r.txt").read_text(encoding="utf-8") == out
    content = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert content["source"] == {"file": str(tmp_path / "s.csv")}


def test_the_sweep_covers_every_layer_and_pair(run, captured, tmp_path):
    code, out, _ = run("validate", "--home", captured, "--sweep", "--output", tmp_path / "s.csv")
    assert code == 0 and "0 of 81" in out and str(tmp_path / "s.csv") in out
    table = pd.read_csv(tmp_path / "s.csv")
    assert len(table) == 3 * 81
    code, out, _ = run("validate", "--home", captured, "--sweep", "--layer", 2, "--strict")
    assert code == 1
    assert set(pd.read_csv(captured / "results" / "sweep.csv")["layer"]) == {2}
    with closing(connect(Paths(captured))) as connection:
        of_run = assess(connection, table["run_id"][0], Paths(captured), Thresholds(20, 1.0), bar)
    for each in of_run.layers:
        row = table.query(
            f"layer == {each.layer} and frequency_threshold == 20 and entropy_threshold == 1"
        ).iloc[0]
        assert row["verdict"] == each.validation.verdict
        assert row["spearman"] == pytest.approx(each.validation.correlation.spearman)
        assert row["coverage"] == pytest.approx(each.validation.fast_path.coverage)


def test_the_pages_links_lead_to_its_figures(run, quick_figures, captured, tmp_path):
    target = tmp_path / "a b#c"
    code, out, _ = run("report", "--home", captured, "--output", target)
    page = Path(out.strip())
    assert code == 0 and page == target / "report.html"
    links = re.findall(r'href="([^"#][^"]*)"', page.read_text(encoding="utf-8"))
    files = [target / unquote(link) for link in links]
    drawn = [path for path in files if path.parent.name == "figures"]
    assert len(drawn) == 2 * (4 + 14) and all(path.is_file() for path in files)
    elsewhere = tmp_path / "report.html"
    code, out, _ = run("report", "--home", captured, "--output", elsewhere)
    assert code == 0 and out.strip() == str(elsewhere)


@pytest.fixture(scope="module")
def several(captured, tmp_path_factory) -> tuple[Path, list[str]]:
    """A home with two more runs of the same text: at half the precision, and of half the text."""
    home = tmp_path_factory.mktemp("several") / "home"
    shutil.copytree(captured, home, ignore=shutil.ignore_patterns("results", "prefect"))
    paths = Paths(home)
    (record,) = Lake(paths.lake).runs().values()
    same = {"model": record["model"], "dataset": record["dataset"], "max_length": 128}
    for other in ({"dtype": "bfloat16", "name": "half as precise"}, {"num_samples": 20}):
        capture.capture(RunRequest(**same, **other), paths)
    build.build(paths)
    with closing(connect(paths)) as connection:
        return home, queries.finished_runs(connection)


@pytest.fixture(scope="module")
def two_runs(several) -> tuple[Path, list[str]]:
    """The first two of them."""
    home, runs = several
    return home, runs[:2]


def test_two_runs_stand_side_by_side(run, two_runs):
    home, runs = two_runs
    code, out, said = run("report", "--home", home, "--compare", *runs)
    page = Path(out.strip())
    assert code == 0 and page == home / "results" / f"{runs[0]}-and-{runs[1]}.html"
    html = page.read_text(encoding="utf-8")
    assert all(run_id in html for run_id in runs)
    assert "bfloat16" in html and "Same experts" in html and "half as precise" in html
    code, _, err = run("report", "--home", home, "--compare", runs[0], runs[0])
    assert code == 2 and "takes different runs, not" in err
    with closing(connect(Paths(home))) as connection:
        there = queries.run_overlap(connection, *runs)
        back = queries.run_overlap(connection, *reversed(runs))
        flips = queries.run_flips(connection, *reversed(runs))
    assert list(there["moe_index"]) == [0, 1, 2]
    assert there["expert_overlap"].between(0.9, 1).all()
    assert flips.sentence in said and flips.sentence[1:] in html
    for frame in (flips.by_layer, flips.by_margin, flips.by_position):
        flipped = (frame["tokens"] * frame["set_flip_share"]).sum()
        assert flipped == pytest.approx(flips.tokens * flips.mean_flipped_layers) and flipped > 0
    assert flips.by_layer["set_flip_share"].to_numpy() == pytest.approx(
        1 - there["set_agreement"].to_numpy()
    )
    share = there["set_agreement"].mean()
    assert f"{share:.1%}</b> of the expert sets are equal" in html
    assert (there["mean_entropy_change"] == -back["mean_entropy_change"]).all()
    assert there.drop(columns="mean_entropy_change").equals(
        back.drop(columns="mean_entropy_change")
    )


def test_more_runs_stand_side_by_side_in_the_order_of_their_names(run, several, tmp_path):
    home, (plain, half, part) = several
    words = ["--compare", part, "half as precise", plain, "--output", tmp_path / "page.html"]
    code, out, said = run("report", "--home", home, *words)
    assert code == 0 and out.strip() == str(tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"Run A, {part}, was named first." in html and "3 runs compared" in html
    with closing(connect(Paths(home))) as connection:
        pairs = {
            ids: queries.run_pair(connection, *ids).equal_sets
            for ids in itertools.combinations((part, half, plain), 2)
        }
    assert all(f"{share:.1%}<span" in html for share in pairs.values())
    least, most = min(pairs, key=pairs.get), max(pairs, key=pairs.get)
    assert (
        f"equal expert sets, of 3 pairs of runs: {pairs[least]:.1%} ({' and '.join(least)}) to "
        f"{pairs[most]:.1%} ({' and '.join(most)})"
    ) in said
    code, out, _ = run("report", "--home", home, "--compare", part, half, plain)
    assert code == 0 and Path(out.strip()).parent == home / "results"
    assert Path(out.strip()).name.startswith(f"{part}-and-2-others-")


def test_runs_of_one_series_are_drawn_over_time(run, several):
    """At half the precision it is another series."""
    home, (plain, half, part) = several
    code, out, said = run("report", "--home", home, "--trend")
    page = Path(out.strip())
    assert code == 0 and re.fullmatch(r"trend-[0-9a-f]{10}\.html", page.name)
    html = page.read_text(encoding="utf-8")
    assert plain in html and part in html and half not in html
    assert "2 runs are too few to tell a trend from chance." in said
    with closing(connect(Paths(home))) as connection:
        loads = queries.run_loads(connection, plain, part).by_layer["shared_load"].mean()
    assert f"load shared with the first run goes from {loads:.1%}" not in said
    assert html.count(f"<td>{loads:.1%}</td>") >= 2
    code, out, said = run("report", "--home", home, "--trend", "--run", half)
    assert code == 0 and "nothing has moved yet" in said and Path(out.strip()) != page


def test_a_run_without_any_choice_has_no_trend(run, captured, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(captured, home, ignore=shutil.ignore_patterns("results", "prefect"))
    with closing(duckdb.connect(str(home / "gatehouse.duckdb"))) as connection:
        connection.execute("delete from fct_run_trend")
    code, _, err = run("report", "--home", home, "--trend")
    assert code == 2 and "selected no expert in any layer" in err


def test_a_name_stands_for_its_run_and_precision_tells_two_apart(run, several):
    home, (plain, half, part) = several
    status = json.loads(run("status", "--format", "json", "--home", home)[1])
    assert status["home"] == str(home)
    assert [each["run_id"] for each in status["runs"]] == [plain, half, part]
    assert [each["name"] for each in status["runs"]] == [None, "half as precise", None]
    assert [each["dtype"] for each in status["runs"]] == ["float32", "bfloat16", "float32"]
    assert {each["state"] for each in status["runs"]} == {"finished"}
    assert all(each["landed_shards"] == each["shards"] == 1 for each in status["runs"])
    table = run("status", "--home", home)[1].splitlines()
    assert ["float32" in line for line in table] == [False, True, False, True]
    assert ["half as precise" in line for line in table] == [False, False, True, False]
    code, out, _ = run("validate", "--run", "half as precise", "--home", home)
    assert code == 0 and f"half as precise: {half} (bfloat16), MoE layer 0" in out
    assert f"{plain} (float32), MoE layer 0" in run("validate", "--run", plain, "--home", home)[1]
    verified = json.loads(run("verify", "half as precise", "--format", "json", "--home", home)[1])
    assert verified["well"] and [each["run_id"] for each in verified["runs"]] == [half]
    assert verified["runs"][0]["events"] > 0 and verified["runs"][0]["problems"] == []


def test_a_name_of_two_runs_is_refused_with_their_ids(run, two_runs):
    home, (plain, half) = two_runs
    name_run(Paths(home).lake, plain, "half as precise")
    try:
        code, out, err = run("verify", "half as precise", "--home", home)
        assert (code, out) == (2, "") and plain in err and half in err
    finally:
        forget_name(Paths(home).lake, plain)


BAD = {
    "two runs to validate": (["validate", "x", "--run", "y"], "name the run once: x or --run y"),
    "no such run to report": (["report", "no-such"], "no finished run 'no-such' is built"),
    "sweep of a file": (["validate", "--sweep", "--input", "x.csv"], "leave --input out"),
    "sweep of no run": (["validate", "--sweep", "--run", "no-such"], "gatehouse status"),
    "sweep of no layer": (["validate", "--sweep", "--layer", "9"], "the runs have 0, 1, 2"),
    "one run to compare": (["report", "--compare", "x"], "takes two runs or more"),
    "runs to compare": (["report", "--compare", "x", "y"], "no finished run 'x'"),
    "a layer over time": (
        ["report", "--trend", "--layer", "1"],
        "leave --compare, --layer, --samples",
    ),
    "an unknown focus": (["report", "--focus", "x"], "'--focus': 'x' is not one of"),
    "a layer to compare": (
        ["report", "--compare", "x", "y", "--layer", "1"],
        "leave the run, --layer, --samples and --focus out",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_questions_end_in_one_line(run, captured, name):
    words, expected = BAD[name]
    code, out, err = run(words[0], "--home", captured, *words[1:])
    assert (code, out, err.count("\n")) == (2, "", 1) and expected in err


def columns_by_frame() -> dict[str, str]:
    """Return what says the columns of each frame: its own words, or those of what reads it."""
    described = " ".join((Marts.__doc__ or "").split())
    found = {}
    for name in Marts.__dataclass_fields__.keys() - {"layers"}:
        part = re.split(rf"[ ,]{name}(?:, [\w, ]+)?: ", described)[1]
        found[name] = part
        if elsewhere := re.match(r"(?:as )?`(reports\.marts\.\w+)`", part):
            module = import_module(f"gatehouse.{elsewhere[1]}")
            if hasattr(module, name):
                stated = getattr(module, name).__doc__
                found[name] = f"{stated} {' '.join(ReplayPolicy.__dataclass_fields__)}"
    return found


def test_the_marts_frames_are_those_that_the_reports_name(captured):
    with closing(connect(Paths(captured))) as connection:
        run_id = queries.resolve_run(connection, None)
        marts = queries.read_marts(connection, run_id)
        blocks = queries.block_routing(connection, run_id, 1)
    described = columns_by_frame()
    stated = " ".join((ExpertCards.__doc__ or "").split())
    for name, frame in vars(marts.cards).items():
        part = stated.split(f" {name}: ")[1]
        assert len(frame) > 0, name
        assert all(column in part for column in set(frame.columns) - {"moe_index", "expert"}), name
    for name, frame in vars(dataclasses.replace(marts, cards=marts.cards.experts)).items():
        # the fixture's run is not replayed
        assert len(frame) > 0 or name.startswith("replay"), name
        if name not in ("layers", "cards"):
            part = described[name]
            for column in frame.columns:
                assert column in part or f"held_out_{column}" in part or "same measures" in part
    tokens = marts.tokens[marts.tokens["moe_index"] == 1].set_index("token_id")
    assert tokens["frequency"].sum() == blocks["occurrences"].sum()
    sums = blocks.groupby("token_id")["entropy_sum"].sum() / tokens["frequency"]
    assert sums.to_numpy() == pytest.approx(tokens["mean_entropy"][sums.index].to_numpy())
    assert marts.expert_load.groupby("moe_index")["load_share"].sum().to_numpy() == pytest.approx(1)
    assert set(marts.transition["moe_index"]) == {0, 1}


@pytest.fixture
def without_entropy(captured, tmp_path) -> tuple[Path, str]:
    """A copy of the captured home whose run is one of a trace without entropy, and its id."""
    home = tmp_path / "trace"
    shutil.copytree(captured, home)
    shutil.rmtree(home / "results", ignore_errors=True)
    with closing(duckdb.connect(str(Paths(home).database))) as marts:
        marts.execute("update dim_run set source = 'vllm'")
        marts.execute("update dim_layer set has_distribution = false, has_weights = false")
        marts.execute("update fct_token_routing set mean_entropy = null, mean_confidence = null")
        marts.execute("update fct_layer_routing set mean_entropy = null, normalised_entropy = null")
        (run_id,) = marts.execute("select run_id from dim_run").fetchone()
    return home, run_id


def test_a_run_without_entropy_is_not_validated_but_its_report_shows_what_it_has(
    run, without_entropy, quick_figures
):
    home, run_id = without_entropy
    line = (
        f"gatehouse: {run_id} has no entropy, as its trace (vllm) has none: there is nothing to "
        f"validate; `gatehouse report --run {run_id}` shows what it has\n"
    )
    for options in ([], ["--strict"], ["--layer", "all"], ["--sweep", "--run", run_id]):
        assert run("validate", "--home", home, *options) == (2, "", line)
    code, out, err = run("validate", "--home", home, "--sweep")
    assert (code, out) == (2, "") and "no run tells what a verdict needs" in err
    assert not (home / "results").exists()
    code, out, err = run("report", "--home", home, "--run", run_id)
    assert code == 0 and Path(out.strip()).name == "report.html"
    assert err.startswith(f"{run_id} has no entropy and no weights, as its trace (vllm) has none; ")
    drawn = {path.stem for path in (home / "results" / run_id / "figures").glob("*.png")}
    assert {"zipf", "expert_load", "expert_transition"} <= drawn
    named = err.split("; these figures are not drawn: ")[1].strip().split(", ")
    assert not drawn & set(named)
