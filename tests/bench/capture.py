"""`make bench-capture`: what capture and its alternatives add to the plain forward pass.

Every round runs all variants in a shuffled order; a variant's figure is the median over rounds of
its time over the plain forward's in the same round, so that a busy machine slows both sides
alike. The plain forward pass runs twice a round and counts with its mean; the difference
between the two is the noise. Since capture can cost less than that, its own work is also timed
directly.

On a CPU, time is the process's CPU time on one thread, which other processes do not lengthen by
taking turns on the core; on a GPU it is wall time, from one idle GPU to the next.
"""

import gc
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.profiler import ProfilerActivity, profile

from gatehouse.models.capture import RoutingTap
from gatehouse.models.zoo import resolve
from gatehouse.warehouse.records import TokenWindow
from tests.bench.models import RELEASED, SMALL, fitting, random_model

ROUNDS = 9
BOTH = [ProfilerActivity.CPU, ProfilerActivity.CUDA]
CPU_BUDGET, GPU_BUDGET = 1.03, 1.02
LOOPED_ROWS = 256
"""Rows per layer that the per-token loop reads on a GPU, where all of them would take minutes."""


def main() -> None:
    """Measure and print the tables: on one CPU thread, then on the GPU where there is one."""
    torch.set_num_threads(1)
    small = random_model(SMALL, "cpu", torch.float32)
    report("Mixtral-like, 115 M, fp32, 1 CPU thread", Bench(small, 8, 256), CPU_BUDGET)
    bundled = resolve("demo", dtype="float32").load().model.to("cpu")
    report("the bundled model, fp32, 1 CPU thread", Bench(bundled, 16, 256), CPU_BUDGET)
    del small, bundled
    if not torch.cuda.is_available():
        Console().print("There is no GPU here: the shapes of released models were not run.")
        return
    for name, config in RELEASED.items():
        free, _ = torch.cuda.mem_get_info()
        fits = fitting(config, free)
        if fits is None:
            Console().print(f"{name}: not even one layer fits into {free / 2**30:.0f} GiB.")
            continue
        layers = f"{fits.num_hidden_layers} of {config.num_hidden_layers} layers"
        on_accelerator(f"{name}, {layers}, random bf16", fits)


def on_accelerator(
    title: str, config: Any, device: str = "cuda", sequences: int = 16, length: int = 512
) -> None:
    """Measure and print the table of a random model, and free it."""
    model = random_model(config, device, torch.bfloat16)
    bench = Bench(model, sequences, length, looped_rows=LOOPED_ROWS)
    place = torch.cuda.get_device_name() if device == "cuda" else device
    report(f"{title}, {place}", bench, GPU_BUDGET)
    del model, bench
    gc.collect()
    torch.cuda.empty_cache()


class Bench:
    """The variants on one model and one batch of random tokens, without padding."""

    def __init__(
        self, model: nn.Module, sequences: int, length: int, looped_rows: int | None = None
    ) -> None:
        self.model = model
        self.device = next(model.parameters()).device
        config: Any = model.config
        seeded = torch.Generator().manual_seed(3)
        shape = sequences, length
        self.token_ids = torch.randint(5, config.vocab_size, shape, generator=seeded)
        self.mask = torch.ones(shape, dtype=torch.bool)
        rows = enumerate(self.token_ids.tolist())
        self.windows = [TokenWindow(sample, 0, row) for sample, row in rows]
        self.tokens = sequences * length
        self.looped_rows = min(looped_rows or self.tokens, self.tokens)
        self.tap = RoutingTap(model)
        self.variants: dict[str, Callable[[], float]] = {
            "plain forward": self.plain,
            "plain forward again": self.plain,
            "capture": self.capture,
            "output_router_logits": self.with_logits,
            "+ top-k and entropy": self.with_top_k,
            "+ a loop over tokens": self.with_loop,
        }

    def rounds(self) -> dict[str, list[float]]:
        """Return each variant's seconds, one per round."""
        shuffled = random.Random(17)
        found: dict[str, list[float]] = {name: [] for name in self.variants}
        for work in (self.plain, self.capture, self.with_top_k):
            work()
        for _ in range(ROUNDS):
            for name in shuffled.sample(list(self.variants), len(self.variants)):
                found[name].append(self.variants[name]())
        return found

    def seconds(self, work: Callable[[], object]) -> float:
        started = self.now()
        work()
        return self.now() - started

    def now(self) -> float:
        """Return the seconds on the clock that fits the device, once it has finished its work."""
        if self.device.type == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    @torch.inference_mode()
    def forward(self, **options: Any) -> Any:
        token_ids, mask = self.token_ids.to(self.device), self.mask.to(self.device)
        return self.model(
            input_ids=token_ids, attention_mask=mask.long(), use_cache=False, **options
        )

    def plain(self) -> float:
        return self.seconds(self.forward)

    def capture(self) -> float:
        with self.tap as tap:
            return self.seconds(lambda: tap.route(self.windows))

    def with_logits(self) -> float:
        return self.seconds(lambda: self.forward(output_router_logits=True))

    def with_top_k(self) -> float:
        def work() -> None:
            logits = self.forward(output_router_logits=True).router_logits
            for field in top_k_and_entropy(logits, self.tap.sites[0].top_k):
                field.cpu()

        return self.seconds(work)

    def with_loop(self) -> float:
        logits: list[torch.Tensor] = []
        forward = self.seconds(
            lambda: logits.extend(self.forward(output_router_logits=True).router_logits)
        )
        looped = self.seconds(lambda: loop_over_tokens(logits, self.looped_rows))
        return forward + looped * self.tokens / self.looped_rows

    def parts(self) -> dict[str, float]:
        """Return the median seconds of what a captured batch does besides the forward pass.

        Stopwatches are hooks around the tap's own. The one at the forward's end waits for a GPU,
        which removes the overlap that `capture` has, so that the sum is an upper bound there.
        """
        found = [self.timed_run() for _ in range(ROUNDS)]
        parts = dict(zip(("hooks", "reading"), map(statistics.median, zip(*found))))
        if self.device.type == "cuda":
            parts["copies to the host"] = self.copying()
            parts["reading"] -= parts["copies to the host"]
        return parts | {"work together": sum(parts.values())}

    def timed_run(self) -> tuple[float, float]:
        """Return the seconds in the tap's hooks, and those after the forward pass."""
        clock = time.process_time if self.device.type == "cpu" else time.perf_counter
        hooked = started = ended = 0.0

        def start(*_: Any) -> None:
            nonlocal started
            started = clock()

        def stop(*_: Any) -> None:
            nonlocal hooked
            hooked += clock() - started

        def end(*_: Any) -> None:
            nonlocal ended
            ended = self.now()

        handles = [self.model.register_forward_hook(end), *self.around_hooks(start)]
        with self.tap as tap:
            handles += self.around_hooks(stop)
            tap.route(self.windows)
            after = self.now() - ended
        for handle in handles:
            handle.remove()
        return hooked, after

    def around_hooks(self, work: Callable[..., None]) -> list[Any]:
        return [
            watch.module.register_forward_pre_hook(work)
            if watch.before
            else watch.module.register_forward_hook(work)
            for site in self.tap.sites
            for watch in site.reader.watch()
        ]

    def copying(self) -> float:
        """Return the seconds that the GPU takes to copy a captured batch to the host."""
        with self.tap as tap, profile(activities=BOTH) as profiled:
            tap.route(self.windows)
        copies = [e for e in profiled.key_averages() if "Memcpy DtoH" in e.key]
        return sum(each.self_device_time_total for each in copies) / 1e6


@torch.inference_mode()
def top_k_and_entropy(logits: tuple[torch.Tensor, ...], top_k: int) -> list[torch.Tensor]:
    """Return (ids, weights, entropy) of all layers, as computed without hooks."""
    probabilities = torch.softmax(torch.stack(logits).float(), dim=-1)
    weights, ids = probabilities.topk(top_k, dim=-1)
    return [ids, weights, torch.special.entr(probabilities).sum(dim=-1)]


@torch.inference_mode()
def loop_over_tokens(logits: list[torch.Tensor], rows: int) -> list[tuple[float, ...]]:
    """Return (expert, confidence, entropy) of the first rows of each layer, one at a time."""
    found: list[tuple[float, ...]] = []
    for layer in logits:
        for row in layer[:rows]:
            probabilities = torch.softmax(row.float(), dim=-1)
            confidence, expert = probabilities.max(dim=-1)
            entropy = -(probabilities * probabilities.log()).sum()
            found.append((expert.item(), confidence.item(), entropy.item()))
    return found


def report(title: str, bench: Bench, budget: float) -> None:
    """Print one model's table."""
    table = Table("what", "tokens/s", "time / plain", "in the rounds", "budget", title=title)
    seconds = bench.rounds()
    plain = [(a + b) / 2 for a, b in zip(seconds["plain forward"], seconds["plain forward again"])]
    for name, found in seconds.items():
        ratios = [b / a for a, b in zip(plain, found)]
        table.add_row(
            name,
            f"{bench.tokens / statistics.median(found):,.0f}",
            f"{statistics.median(ratios):.3f}",
            f"{min(ratios):.3f} to {max(ratios):.3f}",
            f"{budget}" if name == "capture" else "",
        )
    table.add_section()
    whole = statistics.median(plain)
    for name, each in bench.parts().items():
        table.add_row(f"capture's {name}", f"{each * 1e3:.2f} ms", f"{each / whole:.4f}")
    Console().print(table)
    if bench.looped_rows < bench.tokens:
        Console().print(f"The loop read {bench.looped_rows} rows per layer; its time is scaled.")


if __name__ == "__main__":
    main()
