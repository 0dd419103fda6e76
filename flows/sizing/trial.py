"""What is tried before a run: some of its text is tokenized, and the model reads two batches."""

import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps.tokens import ShardTokens, prompt_windows
from gatehouse.ingest.prepare import Prepared, read_shard, shard_count
from gatehouse.ingest.windows import batches
from gatehouse.models.capture import RoutingTap, captured
from gatehouse.models.structure import peak_on_gpus, weight_bytes
from gatehouse.models.text.generation import generating_class
from gatehouse.models.zoo import ModelPlan
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.events import write_events
from gatehouse.warehouse.records import Sample

SHARDS_READ = 4
"""Shards whose text is tokenized to know how many tokens a run has; of fewer, all are."""


@dataclass(frozen=True)
class Text:
    """What some shards' text becomes.

    Attributes:
        samples: of the shards that were tokenized, with their tokens, as the run will have them;
            those that the model may add are counted.
        shards: how many were tokenized.
    """

    samples: list[tuple[Sample, int]]
    shards: int

    @property
    def tokens_a_sample(self) -> float:
        """The mean."""
        return sum(tokens for _, tokens in self.samples) / len(self.samples)


@dataclass(frozen=True)
class Trial:
    """What two batches showed.

    Attributes:
        moe_layers: the model's MoE layers, each of which gives every token an event.
        top_k: of the layer that chooses the most experts.
        tokens: in the second batch.
        seconds: that the second batch took, from text to a file of events.
        event_bytes: of an event in such a file.
        weights: part of the model -> bytes of its weights.
        gpu_bytes: most bytes that were held on all GPUs at a time; 0 without one.
        process_bytes: most bytes of memory that this process has held.
    """

    moe_layers: int
    top_k: int
    tokens: int
    seconds: float
    event_bytes: float
    weights: dict[str, int]
    gpu_bytes: int
    process_bytes: int


def read_text(request: RunRequest, plan: ModelPlan, prepared: Prepared) -> Text:
    """Tokenize some shards, evenly chosen, as the capture would.

    Raises:
        GatehouseError: a chat cannot be encoded, or the text has no tokens.
    """
    shards = shard_count(prepared.path)
    read = min(shards, SHARDS_READ)
    chosen = [place * shards // read for place in range(read)]
    texts = [sample for shard in chosen for sample in read_shard(prepared.path, shard)]
    _, rows = prompt_windows(request, plan.tokenizer, texts)
    tokens = [each + request.generate for each in rows["tokens"].to_pylist()]
    if not any(tokens):
        raise GatehouseError(f"{prepared.dataset} has no tokens: name another dataset")
    return Text(list(zip(texts, tokens, strict=True)), read)


def run_two_batches(request: RunRequest, plan: ModelPlan, text: Text) -> Trial:
    """Load the model and take two batches of the middle of the text from words to a file.

    Raises:
        GatehouseError: the model cannot be loaded, or its routing cannot be trusted.
    """
    loaded = plan.load(head=generating_class(plan) if request.generate else None)
    first, second = _two_batches(text, request.batch_size * request.max_length)
    with (
        RoutingTap(loaded.model, output_norms=request.output_norms) as tap,
        tempfile.TemporaryDirectory(prefix="gatehouse-trial-") as folder,
    ):
        tokens = ShardTokens(request, plan, loaded, tap.batching)

        def land(samples: list[Sample]) -> tuple[int, int]:
            path = Path(folder) / "events.parquet"
            windows, _ = tokens.of(samples)
            budget = request.batch_size * request.max_length
            with captured(tap, batches(windows, token_budget=budget), Path(folder)) as events:
                write_events(path, events, events.schema)
                return events.num_rows, path.stat().st_size

        land(first)
        started = time.monotonic()
        events, size = land(second)
        seconds = time.monotonic() - started
    return Trial(
        moe_layers=len(tap.sites),
        top_k=max(site.top_k for site in tap.sites),
        tokens=events // len(tap.sites),
        seconds=seconds,
        event_bytes=size / events,
        weights=weight_bytes(loaded.model),
        gpu_bytes=peak_on_gpus(),
        process_bytes=_peak_of_this_process(),
    )


def _two_batches(text: Text, budget: int) -> tuple[list[Sample], list[Sample]]:
    """Return two groups of samples around the median length, each of about one batch."""
    ordered = sorted((each for each in text.samples if each[1]), key=lambda each: each[1])
    typical = ordered[len(ordered) // 2][1]
    size = max(budget // typical, 1)
    start = max(len(ordered) // 2 - size, 0)
    middle = [sample for sample, _ in ordered[start : start + 2 * size]]
    # neighbours in length, so that both groups are alike; one sample is tried twice
    return middle[::2], middle[1::2] or middle[::2]


def _peak_of_this_process() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
