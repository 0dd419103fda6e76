"""`make bench-import`: events imported a second, in each way that a trace can be written.

Each trace is of a made-up model of 24 MoE layers, 64 experts and top-8. Prints the rate of a whole
import, which reads a trace twice, checks it and lands it, and the peak of the process's memory.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
from rich.console import Console
from rich.table import Table

from gatehouse.flows.steps.importing import imported_run as importing
from gatehouse.flows.steps.importing.import_trace import import_trace
from gatehouse.flows.steps.importing.imported_run import ImportRequest
from gatehouse.models.checkpoint.described import describe
from gatehouse.warehouse.paths import Paths
from tests.ingest.traces.engine_files import WRITERS, Routed

LAYERS, EXPERTS, TOP_K = 24, 64, 8
TOKENS = 2_048
"""Of a sequence; FLAME's windows are of this length."""


def model(folder: Path) -> Path:
    """Write the config of the made-up model."""
    from transformers import OlmoeConfig

    OlmoeConfig(
        num_hidden_layers=LAYERS, num_experts=EXPERTS, num_experts_per_tok=TOP_K
    ).save_pretrained(folder / "model")
    return folder / "model"


def sequence(seed: int) -> Routed:
    """Make up a sequence whose tokens mostly go to experts of their own, as a model's do."""
    generator = np.random.default_rng(seed)
    tokens = (generator.zipf(1.3, TOKENS + 1) % 2_000).astype(np.int64)
    usual = np.random.default_rng(0).random((2_000, LAYERS, EXPERTS), np.float32)
    scores = usual[tokens[:-1]] + 0.3 * generator.random((TOKENS, LAYERS, EXPERTS), np.float32)
    experts = np.argpartition(-scores, TOP_K, axis=-1)[..., :TOP_K]
    weights = np.sort(generator.integers(1, 64, experts.shape) / 64)[..., ::-1]
    return Routed(tokens, experts, weights, TOKENS // 2)


def router_logits(routed: Routed, folder: Path) -> Path:
    """Write scores whose softmax picks the sequence's experts."""
    scores = np.full((*routed.experts.shape[:2], EXPERTS), -9.0, np.float32)
    np.put_along_axis(scores, routed.experts, np.log(routed.weights).astype(np.float32), -1)
    named = {f"router_logits.{layer}": scores[:, layer] for layer in range(LAYERS)}
    ids = routed.tokens[None, :TOKENS]
    np.savez(folder / "batch.npz", input_ids=ids, attention_mask=np.ones_like(ids), **named)
    return folder / "batch.npz"


WAYS = WRITERS | {"router-logits npz": ("router-logits", router_logits, "tokens weights")}


def once(way: str, sequences: int) -> None:
    """Import a trace of one way in this process; print seconds, CPU seconds and peak."""
    format_name, write, _ = WAYS[way]
    with tempfile.TemporaryDirectory() as name:
        folder, files = Path(name), []
        for number in range(sequences):
            place = folder / str(number)
            place.mkdir()
            files.append(write(sequence(number), place))
        described = describe(str(model(folder)), None, False)
        request = ImportRequest(format_name, tuple(files), "made up")
        started, used = time.perf_counter(), time.process_time()
        with mock.patch.object(importing, "describe", lambda *_: described):
            import_trace(request, Paths(folder / "home"))
        seconds, cpu = time.perf_counter() - started, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(seconds, cpu, peak)


def main() -> None:
    """Import a trace of each way in a process of its own; print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.imports", description=__doc__)
    parser.add_argument("--sequences", type=int, default=20, help="of 2,048 tokens")
    parser.add_argument("--way", choices=WAYS, help="one of them, in this process")
    options = parser.parse_args()
    if options.way:
        once(options.way, options.sequences)
        return
    table = Table("trace", "events", "events a second", "of CPU", "peak GB")
    for way in WAYS:
        number = 1 if WAYS[way][0] == "flame" else options.sequences
        command = [sys.executable, "-m", "tests.bench.imports", "--way", way]
        ended = subprocess.run(
            [*command, "--sequences", str(number)], stdout=subprocess.PIPE, text=True, check=True
        )
        seconds, cpu, peak = map(float, ended.stdout.split()[-3:])
        events = number * TOKENS * LAYERS
        row = (f"{events:,}", f"{events / seconds:,.0f}", f"{events / cpu:,.0f}", f"{peak:.2f}")
        table.add_row(way, *row)
    Console().print(table)


if __name__ == "__main__":
    main()
