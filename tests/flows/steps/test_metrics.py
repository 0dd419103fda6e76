"""Metrics of a capture: what they say is what landed, and both files say the same."""

import json
import os
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps.capture import capture
from gatehouse.flows.steps.pace import metrics
from gatehouse.flows.steps.pace.metrics import METRICS, MetricsFile, as_line, as_open_metrics
from gatehouse.flows.steps.pace.progress import Progress, memory_held
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths

HALF_WAY = Progress(
    run_id="demo-pydoc-1",
    shards=8,
    shards_left=6,
    shards_captured=2,
    tokens=12_345_678_901,
    moe_layers=48,
    seconds=100.0,
    memory=3 * 2**30,
    gpu_memory=None,
)


def read(text: str) -> dict[str, float]:
    """Return the samples of OpenMetrics text as the parser of Prometheus's own client reads it."""
    families = list(text_string_to_metric_families(text))
    assert {family.unit for family in families} <= {"", "seconds", "bytes"}
    samples = [sample for family in families for sample in family.samples]
    assert {sample.labels["run_id"] for sample in samples} == {"demo-pydoc-1"}
    names = [sample.name.removeprefix("gatehouse_capture_") for sample in samples]
    return {
        name.removesuffix("_total"): sample.value
        for name, sample in zip(names, samples, strict=True)
    }


def test_both_files_say_what_was_measured_and_leave_out_what_is_not_known():
    line = json.loads(as_line(HALF_WAY, datetime(2026, 1, 2, tzinfo=UTC)))
    assert line.pop("time") == "2026-01-02T00:00:00.000+00:00"
    assert line.pop("run_id") == "demo-pydoc-1"
    assert line["tokens_per_second"] == HALF_WAY.tokens / 100
    assert line["events"] == HALF_WAY.tokens * 48
    assert line["left_seconds"] == 300
    assert line["gpu_memory_bytes"] is None
    known = {name: value for name, value in line.items() if value is not None}
    assert read(as_open_metrics(HALF_WAY)) == known
    assert list(line) == [metric.name for metric in METRICS]


def test_nothing_is_divided_before_the_first_shard():
    begun = Progress("demo-pydoc-1", 8, 8, 0, 0, 0, 0.0, memory_held(), 0)
    assert (begun.tokens_per_second, begun.events_per_second, begun.seconds_left) == 3 * (None,)
    assert "tokens_per_second" not in read(as_open_metrics(begun))
    assert read(as_open_metrics(begun))["gpu_memory_bytes"] == 0


def test_a_capture_writes_a_line_a_shard_and_its_last_says_what_landed(
    tiny_mixtral, texts, tmp_path, monkeypatch
):
    """Broken off after the first shard of three and resumed into the same file."""
    monkeypatch.setattr("gatehouse.ingest.samples_file.SHARD_SAMPLES", 16)
    paths, file = Paths(tmp_path / "home"), tmp_path / "new" / "metrics.jsonl"
    request = RunRequest(model=str(tiny_mixtral), dataset=str(texts), metrics=file)
    land = Lake.land_shard

    def once(lake: Lake, run_id: str, shard: int, *others: Any, **named: Any) -> None:
        if shard:
            raise GatehouseError("no room")
        land(lake, run_id, shard, *others, **named)

    with monkeypatch.context() as patched, pytest.raises(GatehouseError, match="no room"):
        patched.setattr(Lake, "land_shard", once)
        capture(request, paths)
    summary = capture(request, paths)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["shards_left"] for line in lines] == [3, 2, 2, 1, 0]
    assert [line["shards_captured"] for line in lines] == [0, 1, 0, 1, 2]
    assert {line["run_id"] for line in lines} == {summary.run_id}
    assert lines[1]["tokens"] + lines[-1]["tokens"] == summary.tokens
    landed = sum(row["events"] for row in Lake(paths.lake).shards.recorded(summary.run_id).values())
    assert lines[1]["events"] + lines[-1]["events"] == landed
    assert all(line["memory_bytes"] > 10**7 for line in lines)


def test_a_full_disk_ends_the_metrics_and_not_the_run(tmp_path, capsys):
    file = MetricsFile(tmp_path / "metrics.jsonl", Paths(tmp_path / "home"))
    os.remove(tmp_path / "metrics.jsonl")
    (tmp_path / "metrics.jsonl").mkdir()
    for _ in range(3):
        file(HALF_WAY)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("no more metrics, and the run goes on: ")


@pytest.mark.parametrize("name", ["metrics.csv", "metrics", "folder.prom"])
def test_another_ending_is_refused_and_so_is_a_folder(tmp_path, name):
    (tmp_path / "folder.prom").mkdir()
    with pytest.raises(GatehouseError, match=r"name a file that ends in \.jsonl .* or \.prom"):
        metrics.check_metrics(tmp_path / name, Paths(tmp_path / "home"))


def test_text_for_prometheus_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "metrics.prom"
    file = MetricsFile(path, Paths(tmp_path / "home"))
    assert not path.exists()
    for _ in range(2):
        file(HALF_WAY)
    assert path.read_text() == as_open_metrics(HALF_WAY)
    assert [each.name for each in tmp_path.iterdir()] == ["metrics.prom"]
