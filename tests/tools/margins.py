"""`python -m tests.tools.margins`: which events a batch size can change, and how close to a tie.

The bundled model reads documents of the bundled text, in every precision and batch size, and each
run is compared with `--batch-size 1` on one thread. An event's margin is the gap between the k-th
and the (k+1)-th largest router probability there: how far it is from choosing another last expert.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from gatehouse.ingest.prepare import prepare, read_shard
from gatehouse.ingest.windows import batches, tokenize
from gatehouse.models.batches import pad
from gatehouse.models.capture import RoutingTap
from gatehouse.models.events import keys_of
from gatehouse.models.zoo import LoadedModel, resolve
from gatehouse.warehouse.records import TokenWindow

SAMPLES, LENGTH = 200, 512
BATCH_SIZES = (1, 7, 64)
THREADS = (1, 2)
BELOW = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)


@dataclass(frozen=True)
class Routed:
    """Every event of a run, [layers, T] in the order of (sample, position).

    experts [layers, T, k] ascending; entropy in nats; margin of the router's probabilities.
    """

    experts: np.ndarray
    entropy: np.ndarray
    margin: np.ndarray


def main() -> None:
    """Measure and print one row for each precision, batch size and number of threads."""
    with tempfile.TemporaryDirectory() as folder:
        samples = read_shard(prepare("pydoc", num_samples=SAMPLES, folder=Path(folder)).path, 0)
    table = Table(
        "precision", "batch size", "threads", "other expert sets", "largest margin of these",
        "largest difference of entropy",
    )  # fmt: skip
    spread = Table("precision", *(f"margin < {below:g}" for below in BELOW))
    for dtype in ("float32", "bfloat16"):
        loaded = resolve("demo", dtype=dtype, device_map="cpu").load()
        windows, _ = tokenize(samples, loaded.encode, max_length=LENGTH, windows=False)
        reference = routed(loaded, windows, 1, 1)
        for threads in THREADS:
            for batch_size in BATCH_SIZES:
                found = routed(loaded, windows, batch_size, threads)
                table.add_row(dtype, f"{batch_size}", f"{threads}", *compared(found, reference))
        shares = (f"{(reference.margin < below).mean():.4%}" for below in BELOW)
        spread.add_row(dtype, *shares)
    console = Console(width=120)
    tokens = reference.margin.shape[1]
    console.print(f"{SAMPLES} samples, {tokens:,} tokens, {reference.margin.size:,} events")
    console.print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
    console.print(table)
    console.print(spread)


def routed(
    loaded: LoadedModel, windows: list[TokenWindow], batch_size: int, threads: int
) -> Routed:
    """Return how the model routes the windows in batches of `batch_size` times LENGTH tokens."""
    torch.set_num_threads(threads)
    keys, experts, entropy, margins = [], [], [], []
    logits: list[torch.Tensor] = []
    with RoutingTap(loaded.model) as tap:
        hooks = [
            site.router.register_forward_hook(
                lambda module, inputs, output: logits.append(output[0])
            )
            for site in tap.sites
        ]
        for batch in batches(windows, token_budget=batch_size * LENGTH):
            logits.clear()
            found = tap.route(batch)
            real = pad(batch)[1].flatten()
            keys.append(keys_of(batch)[:2])
            experts.append(np.stack([np.sort(layer.experts, axis=1) for layer in found]))
            entropy.append(np.stack([layer.entropy for layer in found]))
            margins.append(
                np.stack(
                    [
                        margin(each[real], layer.experts.shape[1])
                        for each, layer in zip(logits, found)
                    ]
                )
            )
        for hook in hooks:
            hook.remove()
    sample_id, position = np.concatenate(keys, axis=1)
    order = np.lexsort((position, sample_id))
    joined = (np.concatenate(parts, axis=1)[:, order] for parts in (experts, entropy, margins))
    return Routed(*joined)


def margin(logits: torch.Tensor, top_k: int) -> np.ndarray:
    """Return [N]: the k-th largest probability minus the next, of logits [N, E]."""
    largest = torch.softmax(logits.double(), dim=1).topk(top_k + 1, dim=1).values
    return (largest[:, top_k - 1] - largest[:, top_k]).numpy()


def compared(found: Routed, reference: Routed) -> tuple[str, str, str]:
    """Return the last three cells of a row."""
    other = (found.experts != reference.experts).any(axis=2)
    apart = np.abs(found.entropy - reference.entropy).max()
    largest = f"{reference.margin[other].max():.1e}" if other.any() else "none"
    return f"{other.sum():,} ({other.mean():.4%})", largest, f"{apart:.1e}"


if __name__ == "__main__":
    main()
