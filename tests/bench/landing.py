"""`make bench`: what landing events adds to the plain forward pass, on the bundled model.

Rounds are interleaved and the figure is the median of the rounds' ratios, so that a busy machine
slows both sides alike. Printed beside the budgets of the design.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from gatehouse.ingest.prepare import prepare, read_shard
from gatehouse.ingest.windows import batches, tokenize
from gatehouse.models.batches import pad
from gatehouse.models.capture import RoutingTap, captured
from gatehouse.models.zoo import resolve
from gatehouse.warehouse.events import write_events
from gatehouse.warehouse.records import TokenWindow

ROUNDS = 7
SAMPLES = 256
TOKEN_BUDGET = 8_192


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Measure and print the table."""
    loaded = resolve("demo").load()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared = prepare("pydoc", num_samples=SAMPLES, folder=folder)
        samples = read_shard(prepared.path, 0)
        windows, _ = tokenize(samples, loaded.encode, max_length=512, windows=False)
        plan = list(batches(windows, token_budget=TOKEN_BUDGET))
        tokens = sum(len(window.token_ids) for window in windows)
        plain, whole = measure(loaded, samples, plan, folder)
        size = (folder / "events.parquet").stat().st_size
    table = Table("what", "measured", "budget")
    whole_ratio = statistics.median(b / a for a, b in zip(plain, whole, strict=True))
    table.add_row("plain forward", f"{tokens / statistics.median(plain):,.0f} tokens/s", "")
    table.add_row("from tokens to shards on disk / plain forward", f"{whole_ratio:.3f}", "1.08")
    table.add_row("landed bytes per event", f"{size / (tokens * 4):.1f}", "13")
    table.add_row("gatehouse --help", f"{help_seconds():.2f} s", "0.4 s")
    Console().print(table)


def measure(
    loaded, samples, plan: list[list[TokenWindow]], folder: Path
) -> tuple[list[float], ...]:
    """Return the seconds of each round: plain forward and the whole step."""

    @torch.inference_mode()
    def plain() -> None:
        for batch in plan:
            token_ids, mask = pad(batch)
            loaded.model(input_ids=token_ids, attention_mask=mask.long(), use_cache=False)

    def whole() -> None:
        windows, _ = tokenize(samples, loaded.encode, max_length=512, windows=False)
        plan = batches(windows, token_budget=TOKEN_BUDGET)
        with RoutingTap(loaded.model) as tap, captured(tap, plan) as events:
            write_events(folder / "events.parquet", events)

    works = (plain, whole)
    for work in works:
        work()
    rounds = [[seconds(work) for work in works] for _ in range(ROUNDS)]
    return tuple(map(list, zip(*rounds, strict=True)))


def help_seconds() -> float:
    command = [str(Path(sys.executable).with_name("gatehouse")), "--help"]
    return min(
        seconds(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(5)
    )


if __name__ == "__main__":
    main()
