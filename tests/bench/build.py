"""Builds of the warehouse, each in a process of its own that is watched from here.

dbt reports when each model and test ran; what the process used meanwhile comes from Linux's /proc.
With two threads dbt runs two of them at once: memory and CPU time are then those of both.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from gatehouse.warehouse.paths import DBT_PROJECT, PACKAGE, Paths

SECONDS_BETWEEN_LOOKS = 0.02
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
BUILD = (
    "from gatehouse.flows.steps.build import build; from gatehouse.warehouse.paths import Paths; "
    "build(Paths.resolve())"
)


@dataclass(frozen=True)
class Watched:
    """A process that has ended: what it printed, and what it had used at each look.

    `moments` are seconds since the epoch, `cpu` seconds of all threads so far, `resident` bytes;
    `peak` is the kernel's own high-water mark of resident bytes.
    """

    printed: str
    seconds: float
    moments: np.ndarray
    cpu: np.ndarray
    resident: np.ndarray
    peak: int

    def cpu_between(self, started: float, ended: float) -> float:
        """Return the CPU seconds that the process used between two moments."""
        before, after = np.interp([started, ended], self.moments, self.cpu)
        return float(after - before)

    def peak_between(self, started: float, ended: float) -> int:
        """Return the most bytes that were resident between two moments, both included."""
        within = (self.moments > started) & (self.moments < ended)
        ends = np.interp([started, ended], self.moments, self.resident)
        return int(max(*ends, *self.resident[within]))


@dataclass(frozen=True)
class Node:
    """A model or test that dbt ran; `group` is the model's name, or the kind of the test."""

    unique_id: str
    group: str
    is_test: bool
    seconds: float
    cpu_seconds: float
    peak: int


@dataclass(frozen=True)
class Build:
    """What dbt ran in one process."""

    watched: Watched
    nodes: list[Node]

    def models(self) -> dict[str, Node]:
        """Return the models by name, in the order in which they ran."""
        return {node.group: node for node in self.nodes if not node.is_test}


def build(home: Path, cores: int) -> Build:
    """Run `flows.steps.build.build` over the lake of `home`."""
    watched = watch([sys.executable, "-c", BUILD], {"GATEHOUSE_HOME": str(home)}, cores)
    return Build(watched, nodes_of(watched, Paths(home).dbt_target))


def token_statistics(home: Path, cores: int) -> Build:
    """Run the models between the raw events and `fct_token_routing`, and nothing else.

    dbt runs them one after another, DuckDB with as many threads as there are `cores`; otherwise the
    profile is the project's own. The result has only the models that read events or build on such
    models: the dimensions and the lists of runs count as given.
    """
    paths = Paths(home)
    profile = yaml.safe_load((DBT_PROJECT / "profiles.yml").read_text())
    profile["gatehouse"]["outputs"]["duckdb"]["settings"]["threads"] = cores
    (home / "profiles.yml").write_text(yaml.safe_dump(profile))
    folders = {"project": DBT_PROJECT, "profiles": home}
    options = [part for name, folder in folders.items() for part in (f"--{name}-dir", str(folder))]
    options += ["--target-path", str(paths.dbt_target), "--log-path", str(home / "logs")]
    command = [sys.executable, "-m", "dbt.cli.main", "--quiet", "run", "--threads", "1"]
    places = {"GATEHOUSE_DATABASE": str(paths.database), "GATEHOUSE_LAKE": str(paths.lake)}
    watched = watch([*command, "--select", "+fct_token_routing", *options], places, cores)
    reading = downstream_of_events(paths.dbt_target)
    nodes = nodes_of(watched, paths.dbt_target)
    return Build(watched, [node for node in nodes if node.unique_id in reading])


def watch(command: Sequence[str], environment: dict[str, str], cores: int) -> Watched:
    """Run a command on the first `cores` cores, looking at it every 20 ms.

    Raises:
        RuntimeError: it failed; the message ends with what it printed last.
    """
    looks: list[tuple[float, float, int]] = []
    peak = 0
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output, _on_cores(cores):
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"DO_NOT_TRACK": "1"} | environment,
            cwd=PACKAGE,
        )
        while process.poll() is None:
            if used := _used(process.pid):
                looks.append((time.time(), used[0], used[1]))
                peak = max(peak, used[2])
            time.sleep(SECONDS_BETWEEN_LOOKS)
        seconds = time.perf_counter() - started
        output.seek(0)
        printed = output.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {printed[-2_000:]}")
    moments, cpu, resident = map(np.array, zip(*looks, strict=True))
    return Watched(printed, seconds, moments, cpu, resident, peak)


@contextmanager
def _on_cores(cores: int) -> Iterator[None]:
    """Let processes started in the block run only on the first `cores` cores."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _used(process_id: int) -> tuple[float, int, int] | None:
    """Return (CPU seconds, resident bytes, their peak) of a process, None if it has just ended.

    The peak is not `ru_maxrss`, which starts with what the parent had resident when it forked.
    """
    try:
        times = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{process_id}/status").read_text()
    except OSError:
        return None
    lines = dict(line.split(":", 1) for line in status.splitlines())
    if "VmHWM" not in lines:
        return None
    resident, peak = (int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return (int(times[11]) + int(times[12])) / CLOCK_TICKS, resident, peak


def nodes_of(watched: Watched, target: Path) -> list[Node]:
    """Return what dbt ran last, with what the process used meanwhile, by starting time."""
    nodes = _artifact(target, "manifest")["nodes"]
    ran = []
    for result in _artifact(target, "run_results")["results"]:
        node = nodes.get(result["unique_id"])  # an exposure is not a node
        moments = [
            datetime.fromisoformat(step[end]).timestamp()
            for step in result["timing"]
            for end in ("started_at", "completed_at")
        ]
        if node and moments:
            ran.append((min(moments), max(moments), node))
    return [_node(watched, *each) for each in sorted(ran, key=lambda each: each[0])]


def _node(watched: Watched, started: float, ended: float, node: dict[str, Any]) -> Node:
    return Node(
        unique_id=node["unique_id"],
        group=(node.get("test_metadata") or node)["name"],
        is_test=node["resource_type"] == "test",
        seconds=ended - started,
        cpu_seconds=watched.cpu_between(started, ended),
        peak=watched.peak_between(started, ended),
    )


def downstream_of_events(target: Path) -> set[str]:
    """Return the ids of all nodes that read raw events, or are made from them."""
    manifest = _artifact(target, "manifest")
    sources = manifest["sources"].values()
    pending = [source["unique_id"] for source in sources if source["name"] == "events"]
    found: set[str] = set()
    while pending:
        children = set(manifest["child_map"][pending.pop()]) - found
        found |= children
        pending += children
    return found


def _artifact(target: Path, name: str) -> Any:
    return json.loads((target / f"{name}.json").read_text())
