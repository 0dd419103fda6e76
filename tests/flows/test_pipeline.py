"""The flow: from text to report, against a real Prefect server, and by itself."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import PACKAGE, Paths
from tests.conftest import without_prefect

MARKER = "swordfish-0123456789"
"""A secret that must not appear anywhere."""

GATEHOUSE = Path(sys.executable).with_name("gatehouse")


@pytest.fixture
def parameters(tiny_mixtral, texts) -> dict:
    return {"model": str(tiny_mixtral), "dataset": str(texts), "max_length": 128}


def test_text_becomes_a_report_by_tasks_that_a_server_sees(
    prefect_server, home, coarse, parameters, capfd
):
    from gatehouse.flows.pipeline import pipeline

    found = pipeline(**parameters)
    paths = Paths.resolve()
    (run_id,) = Lake(paths.lake).runs()
    folder = paths.results(run_id)
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
    for step in ("prepare samples", "build marts", "validate", "draw figures", "write report"):
        assert any(name.startswith(step) for name in names), (step, names)
    assert any("capture shard" in name for name in names)
    assert any("SUPPORTED" in str(each.data) for each in artifacts)
    assert pipeline(**parameters) == found
    assert f"{run_id} is finished: nothing to capture" in capfd.readouterr().err


def is_pickle(path: Path) -> bool:
    """Return whether a file is a pickle, or Prefect's record of a result that holds one."""
    content = path.read_bytes()
    binary = content[:1] == b"\x80" and content[1:2] in (b"\2", b"\3", b"\4", b"\5")
    record = content[:1] == b"{" and b'"serializer"' in content and b'"pickle"' in content
    return (binary and content[-1:] == b".") or record or "pickle" in path.suffix


async def recorded() -> tuple[set[str], list]:
    """The names of the server's task runs, and its artifacts."""
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        tasks = await client.read_task_runs()
        artifacts = await client.read_artifacts()
        return {run.name.rpartition("-")[0] or run.name for run in tasks}, artifacts


def test_all_layers_give_a_layer_column_and_figures_each(
    prefect_server, home, coarse, parameters, tmp_path
):
    import pandas as pd

    from gatehouse.flows.pipeline import pipeline

    pipeline(**parameters, layer="all", output=tmp_path / "all")
    statistics = pd.read_parquet(tmp_path / "all" / "routing_stats.parquet")
    assert list(statistics.columns)[:2] == ["layer", "token_id"]
    assert sorted(statistics["layer"].unique()) == [0, 1, 2]
    for layer in range(3):
        figures = tmp_path / "all" / f"layer-{layer}" / "figures"
        assert (figures / "frequency_vs_entropy.png").exists()
        one = pd.read_parquet(tmp_path / "all" / "routing_stats.parquet").query("layer == @layer")
        assert one["frequency"].sum() == statistics.query("layer == 0")["frequency"].sum()
    assert (tmp_path / "all" / "report.html").exists()
    assert (tmp_path / "all" / "figures" / "layer_overview.png").exists()
    report = (tmp_path / "all" / "validation_report.txt").read_text(encoding="utf-8")
    # each layer, and their average
    assert report.count("VAR Hypothesis Validation") == 3 + 1


def test_the_nightly_flow_lands_the_next_samples(
    prefect_server, home, coarse, parameters, monkeypatch
):
    from gatehouse.flows.pipeline import nightly

    dataset = Path(parameters["dataset"])
    monkeypatch.chdir(dataset.parent)
    names = {"model": parameters["model"], "dataset": dataset.name}
    for _ in range(2):
        nightly(**names, num_samples=15)
    with connect() as connection:
        rows = connection.sql(
            "select first_sample, num_samples from dim_run order by first_sample"
        ).fetchall()
        samples = connection.sql("select sample_id from dim_sample order by sample_id").fetchall()
    assert rows == [(0, 15), (15, 15)]
    assert [sample for (sample,) in samples] == list(range(30))


def test_bad_input_fails_the_flow_with_the_same_line(prefect_server, home, parameters):
    from gatehouse.flows.pipeline import pipeline

    with pytest.raises(GatehouseError, match="3 MoE layers, 0 to 2"):
        pipeline(**parameters, layer="5")


def test_run_works_by_itself_offline_and_quiet(home, parameters):
    """No server, no network, no telemetry: nothing on the screen but our own lines."""
    private = ("PREFECT", "DO_NOT_TRACK", "TELEMETRY")
    environment = {
        key: value for key, value in os.environ.items() if not any(word in key for word in private)
    } | dict.fromkeys(("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "PREFECT_API_KEY"), MARKER)
    command = [str(GATEHOUSE), "run", "--model", parameters["model"]]
    command += ["--dataset", parameters["dataset"], "--max-length", "128"]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stderr
    first, *_, last = ended.stdout.strip().splitlines()
    assert first == "=" * 60 and last.startswith("Report: ") and last.endswith("report.html")
    said = [line.split(":")[0].split(" ")[0] for line in ended.stderr.strip().splitlines()]
    run_id = next(iter(Lake(Paths.resolve().lake).runs()))
    assert said == ["prepared", "weights", run_id, "built"], ended.stderr
    files = [path for path in home.rglob("*") if path.is_file()]
    assert [path for path in files if MARKER.encode() in path.read_bytes()] == []
    assert MARKER not in ended.stdout + ended.stderr
    assert [path for path in files if is_pickle(path)] == []
    manifest = json.loads((home / "dbt" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["metadata"]["send_anonymous_usage_stats"] is False


PROGRAM = """
import sys, types
from gatehouse.flows import prefect_run

def settings(**parameters):
    from prefect.settings import get_current_settings

    found = get_current_settings()
    reported = found.server.analytics_enabled, found.cloud.enable_orchestration_telemetry
    return *reported, found.server.ui.show_promotional_content, found.results.persist_by_default

fake = types.SimpleNamespace(pipeline=settings, work_ahead=lambda request, paths: None)
sys.modules["gatehouse.flows.pipeline"] = fake
print(prefect_run.run())
"""


def test_prefect_reports_nothing_and_keeps_no_results(home):
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        env=without_prefect(),
        cwd=PACKAGE,
    )
    assert ended.stdout.strip() == "(False, False, False, False)", ended.stderr
