"""The flow: from text to report, against a real Prefect server, one night after the other."""

import asyncio
import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from tests.conftest import draw_quickly, write_texts


@dataclass(frozen=True)
class Night:
    """The home and the text of the first night, and what the flow then returned."""

    home: Path
    corpus: Path
    model: Path
    found: str

    @property
    def again(self) -> dict[str, Any]:
        """Parameters of the flow that name the first night's run."""
        return {
            "model": str(self.model),
            "dataset": self.corpus.name,
            "num_samples": 15,
            "batch_size": 4,
        }

    def comes_again(self, num_samples: int) -> str:
        """Return what the deployment's next night returns."""
        from gatehouse.flows.scheduled.nightly import nightly

        return nightly(str(self.model), self.corpus.name, num_samples=num_samples)


@pytest.fixture(scope="module")
def first_night(prefect_server, tiny_mixtral, tmp_path_factory) -> Iterator[Night]:
    """The first 15 of 40 texts, landed and reported by the nightly flow."""
    from gatehouse.flows.scheduled.nightly import nightly

    corpus = write_texts(tmp_path_factory.mktemp("texts") / "texts.jsonl")
    # a token that a spreadsheet would take for a formula
    corpus.write_text(corpus.read_text().replace('"text": "', '"text": "= ', 1))
    home = tmp_path_factory.mktemp("nights")
    with pytest.MonkeyPatch.context() as patched:
        draw_quickly(patched)
        patched.setenv("GATEHOUSE_HOME", str(home))
        # the deployment names a file of its working directory
        patched.chdir(corpus.parent)
        found = nightly(str(tiny_mixtral), corpus.name, num_samples=15)
        yield Night(home, corpus, tiny_mixtral, found)


def test_text_becomes_a_report_by_tasks_that_a_server_sees(first_night):
    paths = Paths(first_night.home)
    (run_id,) = Lake(paths.lake).runs()
    folder = paths.results(run_id)
    found = first_night.found
    assert "VAR Hypothesis Validation" in found and found.endswith(f"Report: {folder}/report.html")
    assert {path.name for path in folder.iterdir()} == {
        "routing_stats.parquet",
        "routing_stats.csv",
        "analysis_summary.txt",
        "validation_report.txt",
        "validation.json",
        "figures",
        "report.html",
    }
    with connect(paths) as connection:
        tokens, events = connection.sql("select tokens, events from dim_run").fetchall()[0]
    assert events == 3 * tokens > 0
    names, artifacts = asyncio.run(recorded())
    assert names >= {
        "look for new samples of texts.jsonl",
        "prepare 15 samples of texts.jsonl",
        f"load model of {run_id}",
        "capture shard 0 (of 1)",
        f"close {run_id}",
        "build marts",
        f"validate {run_id} (float32)",
        "draw figures",
        "write report",
    }
    by_key = {each.key: each for each in artifacts}
    assert float(by_key["gatehouse-capture"].data) == 100
    assert by_key["gatehouse-capture"].description.startswith(f"{run_id}: 1 of 1 shards, ")
    (row,) = json.loads(by_key["gatehouse-layers"].data)
    assert row["Layer"] == "0" and row["Verdict"] in ("SUPPORTED", "NOT SUPPORTED")
    verdict = by_key["gatehouse-verdict"].data
    assert f"{row['Verdict']}" in verdict and f"{folder.as_uri()}/report.html" in verdict
    (picture,) = re.findall(r"!\[frequency vs entropy\]\(data:image/png;base64,(.*?)\)", verdict)
    assert base64.b64decode(picture).startswith(b"\x89PNG")
    assert f"({folder.as_uri()}/report.html)" in by_key["gatehouse-report"].data


def test_what_a_run_says_is_in_its_log_on_the_server(first_night):
    """The night's, its flow's and the tasks' lines, in the logs of these two flow runs."""
    lines = asyncio.run(logged("gatehouse-nightly", "gatehouse", runs=1))
    for said in (
        r".* on texts\.jsonl: 15 samples from 0",
        r"prepared 15 samples of .*: .*samples\.parquet",
        "weights: .* on cpu: .*",
        r".*: 15 samples, .* tokens x 3 MoE layers = .* events; .*",
        r"built \d+ models over 1 finished run, .*",
    ):
        assert len([line for line in lines if re.fullmatch(said, line)]) == 1, said


def test_the_same_run_with_all_layers_gives_a_layer_column_and_figures_each(
    first_night, tmp_path, caplog
):
    import pandas as pd

    from gatehouse.flows.pipeline import pipeline

    found = pipeline(
        **first_night.again, layer="all", output=tmp_path / "all", spreadsheet_safe=True
    )
    (run_id,) = Lake(Paths(first_night.home).lake).runs()
    assert f"{run_id} is finished: nothing to capture" in caplog.messages
    assert any(line.startswith("nothing new in 1 finished run") for line in caplog.messages)
    of_one_layer = first_night.found.rpartition("Report: ")[0].strip()
    full = (tmp_path / "all" / "validation_report.txt").read_text(encoding="utf-8")
    assert of_one_layer in full and of_one_layer not in found
    assert "Every layer in full: " in found
    assert found.endswith(f"Report: {tmp_path / 'all'}/report.html")
    statistics = pd.read_parquet(tmp_path / "all" / "routing_stats.parquet")
    assert list(statistics.columns)[:2] == ["layer", "token_id"]
    assert '"\'="' in (tmp_path / "all" / "routing_stats.csv").read_text(encoding="utf-8")
    assert sorted(statistics["layer"].unique()) == [0, 1, 2]
    for layer in range(3):
        figures = tmp_path / "all" / f"layer-{layer}" / "figures"
        assert (figures / "frequency_vs_entropy.png").exists()
        of_layer = statistics.query("layer == @layer")
        assert of_layer["frequency"].sum() == statistics.query("layer == 0")["frequency"].sum()
    assert (tmp_path / "all" / "report.html").exists()
    assert (tmp_path / "all" / "figures" / "layer_overview.png").exists()
    report = (tmp_path / "all" / "validation_report.txt").read_text(encoding="utf-8")
    assert report.count("VAR Hypothesis Validation") == 3
    assert "All MoE layers" in report


def test_the_next_night_lands_the_next_samples(first_night):
    """From here on the tests are the nights of one deployment, in their order."""
    first_night.comes_again(num_samples=15)
    with connect(Paths(first_night.home)) as connection:
        rows = connection.sql(
            "select first_sample, num_samples from dim_run order by first_sample"
        ).fetchall()
        samples = connection.sql("select sample_id from dim_sample order by sample_id").fetchall()
    assert rows == [(0, 15), (15, 15)]
    assert [sample for (sample,) in samples] == list(range(30))


def test_a_night_that_broke_off_is_finished_by_the_next_whatever_that_one_asks(
    first_night, monkeypatch
):
    """The last ten texts: fewer than the night asks for."""

    def full(*_: object, **__: object) -> None:
        raise GatehouseError("no room")

    with monkeypatch.context() as patched, pytest.raises(GatehouseError, match="no room"):
        patched.setattr(Lake, "land_shard", full)
        first_night.comes_again(num_samples=15)
    lake = Lake(Paths(first_night.home).lake)
    *_, broken_off = lake.runs()
    assert not lake.runs()[broken_off]["finished_at"]
    assert "Report: " in first_night.comes_again(num_samples=5)
    assert list(lake.runs())[2:] == [broken_off]
    with connect(Paths(first_night.home)) as connection:
        runs = connection.sql("select run_id, first_sample, num_samples from dim_run").fetchall()
    assert (broken_off, 30, 10) in runs and len(runs) == 3


def test_nights_after_the_last_sample_end_well_and_say_so(first_night):
    nothing = "no new samples: .* holds 40 samples, and finished runs of .* reach its end"
    paths = Paths(first_night.home)
    *_, last = Lake(paths.lake).runs()
    # as if the last night had been killed after its build
    page = paths.results(last) / "report.html"
    page.unlink()
    for _ in range(4):
        assert re.match(nothing, first_night.comes_again(num_samples=15))
        assert page.exists()
    # whatever else has finished meanwhile is built
    lines = asyncio.run(logged("gatehouse-nightly", "gatehouse"))
    built = [line for line in lines if line.startswith("nothing new in 3 finished")]
    assert len(built) == 5
    states = asyncio.run(states_of("gatehouse-nightly"))
    assert [state.name for state in states] == [*2 * ["Completed"], "Failed", *5 * ["Completed"]]
    assert all(re.match(nothing, state.message) for state in states[4:])
    # no flow inside a night has failed either
    assert [state.name for state in asyncio.run(states_of("gatehouse"))].count("Failed") == 1


def test_a_week_verifies_and_reports_on_every_run(first_night):
    from gatehouse.flows.scheduled.weekly import verify_flow, weekly_report

    paths = Paths(first_night.home)
    assert verify_flow(return_state=True).message == "all is as recorded"
    first, *_ = Lake(paths.lake).runs()
    shard = next(paths.lake.glob(f"events/run_id={first}/*.parquet"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    try:
        wrong = verify_flow(return_state=True)
    finally:
        shard.write_bytes(whole)
    assert wrong.is_failed() and "`gatehouse verify --repair`" in wrong.message
    page = paths.results(first) / "report.html"
    page.unlink()
    found = weekly_report()
    assert page.exists() and paths.sweep.exists()
    assert found.startswith("1 new report, 1 trend\n")
    assert all(run_id in found for run_id in Lake(paths.lake).runs())


def test_another_runs_results_are_refused_before_anything_is_captured(first_night):
    from gatehouse.flows.pipeline import pipeline

    paths = Paths(first_night.home)
    other, before = paths.lake / "runs" / "run_id=other", Lake(paths.lake).run_ids()
    other.mkdir()
    try:
        with pytest.raises(GatehouseError, match="belongs to the warehouse"):
            pipeline(**first_night.again, first_sample=1, output=paths.results("other"))
    finally:
        other.rmdir()
    assert Lake(paths.lake).run_ids() == before


def test_a_run_of_other_settings_that_broke_off_is_left_to_whoever_began_it(tmp_path, monkeypatch):
    """A night takes what it asks for, not the ten thousand windows of somebody's experiment."""
    from gatehouse.flows.scheduled.nightly import next_samples

    begun = {"model": "demo", "dataset": "pydoc", "first_sample": 0, "num_samples": 10_000}
    begun |= {"max_length": 512, "windows": True, "generate": 16, "finished_at": None}
    begun["source"] = "capture"
    monkeypatch.setattr(Lake, "runs", lambda _: {"begun": begun})
    lake = Lake(tmp_path)
    assert next_samples(lake, "demo", "pydoc", 1_000) == (0, 1_000)
    begun["windows"] = False
    assert next_samples(lake, "demo", "pydoc", 1_000) == (0, 1_000)
    begun["generate"] = None
    assert next_samples(lake, "demo", "pydoc", 1_000) == (0, 10_000)
    begun["finished_at"] = "then"
    assert next_samples(lake, "demo", "pydoc", 1_000) == (10_000, 1_000)
    assert next_samples(lake, "demo", "c4", 1_000) == (0, 1_000)
    begun["source"] = "vllm"
    assert next_samples(lake, "demo", "pydoc", 1_000) == (0, 1_000)


@pytest.mark.parametrize("level", ["INFO", "CRITICAL"])
def test_a_line_is_on_the_console_once_whether_or_not_prefect_shows_its_log_there(
    prefect_server, monkeypatch, capfd, level
):
    """A worker's console shows the log; that of `gatehouse run` does not."""
    import logging
    import sys

    from prefect import flow
    from prefect.logging.handlers import PrefectConsoleHandler

    import gatehouse.flows.pipeline  # noqa: F401 - what is said goes to the log from here on
    from gatehouse.flows.console import say

    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [PrefectConsoleHandler(sys.stderr, level=level)])
    flow(lambda: say("a line"), name="says")()
    assert capfd.readouterr().err.count("a line") == 1


async def logged(*flows: str, runs: int | None = None) -> list[str]:
    """Every line in the logs of each flow's first runs, with those on their way there.

    Other tests' runs are on the same server.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
    from prefect.logging.handlers import APILogHandler

    await APILogHandler.aflush()
    ids = [run.id for flow in flows for run in (await runs_of(flow))[:runs]]
    of_these_runs = LogFilter(flow_run_id=LogFilterFlowRunId(any_=ids))
    async with get_client() as client:
        return [log.message for log in await client.read_logs(of_these_runs, limit=200)]


async def runs_of(flow: str) -> list[Any]:
    """A flow's runs on the server, the first one first."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName
    from prefect.client.schemas.sorting import FlowRunSort

    async with get_client() as client:
        of_this_flow = FlowFilter(name=FlowFilterName(any_=[flow]))
        return await client.read_flow_runs(
            flow_filter=of_this_flow, sort=FlowRunSort.START_TIME_ASC
        )


async def states_of(flow: str) -> list[Any]:
    """The final states of a flow's runs on the server, the first run's first."""
    return [run.state for run in await runs_of(flow)]


async def recorded() -> tuple[set[str], list]:
    """The names of the server's task runs, and its artifacts."""
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        tasks = await client.read_task_runs()
        artifacts = await client.read_artifacts()
        return {run.name for run in tasks}, artifacts


def test_shards_that_workers_capture_are_tasks_of_the_flow(
    prefect_server, home, tiny_mixtral, tmp_path, monkeypatch, capfd, caplog
):
    """They wait for a worker, which starts no server of its own; what it says is in the log."""
    from gatehouse.flows import pipeline

    corpus = tmp_path / "texts.txt"
    corpus.write_text("".join(f"a token of line {n}\n" for n in range(600)))
    # the marts are another test's
    monkeypatch.setattr(pipeline, "reported", lambda run_id, request, paths: run_id)
    before = len(asyncio.run(shard_tasks()))
    found = pipeline.pipeline(
        model=str(tiny_mixtral), dataset=str(corpus), lines=True, max_length=16, workers=1
    )
    lake = Lake(Paths(home).lake)
    assert lake.shards.finished(found) == {0, 1} and lake.runs()[found]["finished_at"]
    assert len(asyncio.run(shard_tasks())) == before + 2
    lines = asyncio.run(logged("gatehouse"))
    assert any(line.startswith(f"{found}: 600 samples") for line in lines)
    # Prefect's console is the one of whoever used it first
    assert "weights: " in caplog.text + capfd.readouterr().err


async def shard_tasks() -> list[Any]:
    """The task runs on the server that capture shards."""
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        tasks = await client.read_task_runs()
        return [each for each in tasks if each.name.startswith("capture shard")]


def test_bad_input_fails_the_flow_with_the_same_line(prefect_server, home, tiny_mixtral, texts):
    from gatehouse.flows.pipeline import pipeline

    with pytest.raises(GatehouseError, match="3 MoE layers, 0 to 2"):
        pipeline(model=str(tiny_mixtral), dataset=str(texts), layer="5")
