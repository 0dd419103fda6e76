"""Metrics of a capture as a file: JSON lines, or OpenMetrics text for Prometheus.

metrics.jsonl   a line at the beginning and for every shard; a run that is resumed adds to it
metrics.prom    the last of these, whole at every instant: for node_exporter's textfile collector
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gatehouse.flows.console import say
from gatehouse.flows.steps.pace.progress import Progress
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import cannot_write, make_folder, write_atomically
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.reserved import check_output

PROMETHEUS, LINES = ".prom", ".jsonl"


@dataclass(frozen=True)
class Metric:
    """A number of a capture.

    Attributes:
        name: in JSON; OpenMetrics has `gatehouse_capture_` before it, and `_total` after counters.
        kind: gauge or counter.
        unit: as OpenMetrics names it; none for what has none.
        help: what it says.
        of: takes it from a capture's progress; None where it is not known.
    """

    name: str
    kind: str
    unit: str
    help: str
    of: Callable[[Progress], float | None]

    @property
    def family(self) -> str:
        """The name of the metric's family in OpenMetrics."""
        return f"gatehouse_capture_{self.name}"


METRICS = (
    Metric("shards", "gauge", "", "Shards of the run.", lambda now: now.shards),
    Metric(
        "shards_left", "gauge", "", "Shards that have not landed yet.", lambda now: now.shards_left
    ),
    Metric(
        "shards_captured",
        "counter",
        "",
        "Shards that this process has landed.",
        lambda now: now.shards_captured,
    ),
    Metric(
        "tokens", "counter", "", "Tokens that this process has captured.", lambda now: now.tokens
    ),
    Metric(
        "events",
        "counter",
        "",
        "Routing events that this process has landed: its tokens, times the MoE layers.",
        lambda now: now.events,
    ),
    Metric(
        "elapsed_seconds",
        "gauge",
        "seconds",
        "Seconds since the model was loaded.",
        lambda now: now.seconds,
    ),
    Metric(
        "tokens_per_second",
        "gauge",
        "",
        "Tokens a second since the model was loaded.",
        lambda now: now.tokens_per_second,
    ),
    Metric(
        "events_per_second",
        "gauge",
        "",
        "Routing events a second since the model was loaded.",
        lambda now: now.events_per_second,
    ),
    Metric(
        "left_seconds",
        "gauge",
        "seconds",
        "Seconds that the shards left take at the rate so far.",
        lambda now: now.seconds_left,
    ),
    Metric(
        "memory_bytes",
        "gauge",
        "bytes",
        "Memory that the process holds.",
        lambda now: now.memory,
    ),
    Metric(
        "gpu_memory_bytes",
        "gauge",
        "bytes",
        "The most memory that the process's tensors have held on GPUs.",
        lambda now: now.gpu_memory,
    ),
)
"""Every metric, in the order of the files."""


class MetricsFile:
    """Writes each progress of a capture into a file; its failure does not end the capture.

    Args:
        path: ends in .prom or .jsonl.

    Raises:
        GatehouseError: it ends otherwise, belongs to the warehouse, or cannot be written.
    """

    def __init__(self, path: Path, paths: Paths) -> None:
        check_metrics(path, paths)
        self._path = path
        self._write = _add_line if path.suffix == LINES else _replace
        make_folder(path.parent)
        if path.suffix == LINES:
            _append(path, b"")
        self._fails = False

    def __call__(self, now: Progress) -> None:
        """Write what is known now; say once if it cannot be written."""
        if self._fails:
            return
        try:
            self._write(self._path, now, datetime.now(UTC))
        except GatehouseError as error:
            self._fails = True
            say(f"no more metrics, and the run goes on: {error}")


def check_metrics(path: Path | None, paths: Paths) -> None:
    """Refuse a file for metrics that has another ending, or is the warehouse's own.

    Raises:
        GatehouseError: it is refused.
    """
    if path is None:
        return
    check_output(path, paths)
    if path.suffix not in (PROMETHEUS, LINES) or path.is_dir():
        raise GatehouseError(
            f"--metrics {path}: name a file that ends in {LINES} (JSON lines) or {PROMETHEUS} "
            "(OpenMetrics text)"
        )


def as_line(now: Progress, at: datetime) -> str:
    """Return what is known now as a line of JSON; times as ISO 8601, null where not known."""
    found: dict[str, Any] = {"time": at.isoformat(timespec="milliseconds"), "run_id": now.run_id}
    return json.dumps(found | {metric.name: metric.of(now) for metric in METRICS})


def as_open_metrics(now: Progress) -> str:
    """Return what is known now in the text format of OpenMetrics 1.0, which Prometheus reads.

    https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md
    """
    lines = []
    for metric in METRICS:
        value = metric.of(now)
        if value is None:
            continue
        lines.append(f"# TYPE {metric.family} {metric.kind}")
        if metric.unit:
            lines.append(f"# UNIT {metric.family} {metric.unit}")
        lines.append(f"# HELP {metric.family} {metric.help}")
        # a run id has no character that a label would have to escape
        suffix = "_total" if metric.kind == "counter" else ""
        lines.append(f'{metric.family}{suffix}{{run_id="{now.run_id}"}} {value}')
    return "\n".join([*lines, "# EOF"]) + "\n"


def _add_line(path: Path, now: Progress, at: datetime) -> None:
    _append(path, f"{as_line(now, at)}\n".encode())


def _append(path: Path, line: bytes) -> None:
    try:
        # unbuffered: a line is there as a whole once it is written
        with open(path, "ab", buffering=0) as file:
            file.write(line)
    except OSError as error:
        raise cannot_write(path, error) from error


def _replace(path: Path, now: Progress, at: datetime) -> None:
    write_atomically(path, lambda new: new.write_text(as_open_metrics(now), encoding="utf-8"))
