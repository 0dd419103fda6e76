"""The same events whatever the batches, threads and memory: from text to the lake, in fp32."""

import json
import os
import pydoc_data.topics
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps import capture
from gatehouse.warehouse.paths import PACKAGE, Paths

SMALL_MEMORY = """
import resource, sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from gatehouse.flows.steps import capture, shards
from gatehouse.flows.request import RunRequest
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths

dataset, home, *limits = sys.argv[1:]
unlimited = resource.RLIM_INFINITY
captured = shards.captured


@contextmanager
def limited(tap, batches, folder):
    held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + megabytes * 2**20, unlimited))
    with ExitStack() as opened:
        try:
            events = opened.enter_context(captured(tap, batches, folder))
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (unlimited, unlimited))
        yield events


shards.captured = limited
shards.say = lambda line: print(line) if "memory" in line else None
for megabytes in map(int, limits):
    try:
        capture.capture(RunRequest(dataset=dataset, batch_size=64), Paths(Path(home)))
    except GatehouseError as error:
        print("gatehouse:", error)
    landed = len(list(Path(home).rglob("lake/events/**/*.parquet")))
    print("landed:", landed)
    if landed:
        break
"""
"""Captures with a limit on the memory of its batches, trying one limit after the other."""


def events(home: Path) -> pa.Table:
    """Return the one run's events, in the order in which they landed."""
    files = sorted((home / "lake" / "events").rglob("*.parquet"))
    return pa.concat_tables(pq.read_table(file, partitioning=None) for file in files)


def expert_sets(table: pa.Table) -> np.ndarray:
    """Return [N, k]: each event's experts in ascending order."""
    flat = table["experts"].combine_chunks().flatten().to_numpy()
    return np.sort(flat.reshape(table.num_rows, -1), axis=1)


def check_equal(found: pa.Table, expected: pa.Table) -> None:
    keys = ["layer", "sample_id", "position", "token_id"]
    assert found.num_rows > 10_000 and found.select(keys).equals(expected.select(keys))
    assert (expert_sets(found) == expert_sets(expected)).all()
    for column in ("entropy", "confidence"):
        np.testing.assert_allclose(found[column], expected[column], rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def topics(tmp_path_factory) -> str:
    """Twelve pages of Python's own help, which the bundled model can read."""
    path = tmp_path_factory.mktemp("corpus") / "topics.jsonl"
    pages = [text for _, text in sorted(pydoc_data.topics.topics.items()) if len(text) > 400][:12]
    path.write_text("".join(json.dumps({"text": page[:1500]}) + "\n" for page in pages))
    return str(path)


@pytest.fixture(scope="module")
def reference(topics, tmp_path_factory) -> pa.Table:
    """The events at `--batch-size 1`, on one thread: long texts by themselves."""
    home = tmp_path_factory.mktemp("reference")
    with threads(1):
        capture.capture(RunRequest(dataset=topics, batch_size=1), Paths(home))
    return events(home)


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("batch_size", "number"), [(7, 1), (64, 1), (7, 2)])
def test_batches_and_threads_change_no_event(reference, topics, batch_size, number, tmp_path):
    with threads(number):
        capture.capture(RunRequest(dataset=topics, batch_size=batch_size), Paths(tmp_path))
    check_equal(events(tmp_path), reference)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not enforce RLIMIT_AS")
def test_little_memory_halves_batches_and_less_is_one_line(reference, topics, tmp_path):
    """From no room to plenty: refused until one sequence fits, but not yet all twelve."""
    ended = subprocess.run(
        [sys.executable, "-c", SMALL_MEMORY, topics, str(tmp_path), *"0 2 4 8 16 32 64".split()],
        capture_output=True,
        text=True,
        cwd=PACKAGE,
        # what is freed goes back at once: kept by the allocator, it would be room beyond the limit
        env=os.environ | {"PYTHONPATH": str(PACKAGE), "MALLOC_MMAP_THRESHOLD_": "65536"},
    )
    assert ended.returncode == 0, ended.stderr
    *refusals, halved, landed = ended.stdout.splitlines()
    assert refusals and landed == "landed: 1"
    for line in refusals:
        assert line == "landed: 0" or re.match(
            r"gatehouse: this machine's memory does not hold one sequence of \d+ tokens beside the "
            r"model: use --max-length \d+, --dtype bfloat16, --quantize 4bit, or end other",
            line,
        )
    assert re.fullmatch(r"out of memory: going on with at most [\d,]+ token positions .*", halved)
    check_equal(events(tmp_path), reference)
