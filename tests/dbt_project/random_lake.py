"""The runs of random_runs.py, made up as real Parquet and landed in a lake."""

import zlib
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa

from gatehouse.warehouse.events import Events
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.records import (
    CAPTURE,
    COUNTED,
    COUNTS,
    EVENTS,
    EVENTS_WITH_NORMS,
    LAKE_VERSION,
    LAYERS,
    OUTPUT_NORMS,
    RUNS,
    SAMPLES,
    VOCABULARY,
    RunSpec,
    document_hash,
    sample_line,
)
from tests.dbt_project.random_runs import RandomRun
from tests.older_lake import make_older

VOCABULARY_SIZE = 60
STARTED = datetime(2025, 3, 1, 12, tzinfo=UTC)
UNKNOWN = {
    "weights": ["weights"],
    "distribution": ["entropy", "confidence"],
    "order": ["top_expert"],
    "tokens": ["token_id"],
    "norms": [],
}
"""What a source may not tell, and the columns of the events that are null then; norms have none."""


def land(lake: Lake, run: RandomRun) -> None:
    """Land a made-up run through the lake's own interface."""
    lake.land_run(run.run_id, record(run, finished=False), layers(run), vocabulary(run))
    if run.only_counts:
        lake.land_counts(run.run_id, counts(run))
    else:
        for shard in range(run.shards):
            lake.land_shard(run.run_id, shard, *random_shard(run, shard))
    lake.update_run(run.run_id, record(run, finished=run.finished))
    if run.lake_version != LAKE_VERSION:
        make_older(lake, run.run_id, run.lake_version)


def land_lawful(lake: Lake, run: RandomRun) -> str:
    """Land a finished run under the id that its record has, with the hash of its own samples.

    Args:
        lake: where it lands.
        run: `text` and `routing` name what is made up, and `run_id` does not matter.
    """
    shards = [random_shard(run, shard) for shard in range(run.shards)]
    lines = [
        sample_line(**sample)
        for samples, _ in shards
        for sample in samples.select(["name", "domain", "document", "text_sha256"]).to_pylist()
    ]
    values = record(run, finished=True) | {
        "dataset_fingerprint": sha256(b"".join(lines)).hexdigest()
    }
    run_id = RunSpec.of_record(values).run_id
    lake.land_run(run_id, values | {"finished_at": None}, layers(run), vocabulary(run))
    for shard, (samples, events) in enumerate(shards):
        lake.land_shard(run_id, shard, samples, events)
    lake.update_run(run_id, values)
    return run_id


def record(run: RandomRun, finished: bool) -> dict[str, Any]:
    values: dict[str, Any] = {field.name: "x" for field in RUNS if pa.types.is_string(field.type)}
    values |= {field.name: 1 for field in RUNS if pa.types.is_integer(field.type)}
    started = STARTED - timedelta(hours=len(run.run_id))
    return values | {
        "tokenizer_fingerprint": run.tokenizer,
        "windows": run.windows,
        "lines": False,
        "trust_remote_code": False,
        "first_sample": run.samples.start,
        "num_samples": 0 if run.only_counts else len(run.samples),
        "max_length": run.max_length,
        "shards": 0 if run.only_counts else run.shards,
        "started_at": started,
        "finished_at": started + timedelta(minutes=5) if finished else None,
        "capture_seconds": 1.5,
        "source": COUNTED if run.only_counts else run.source,
        "source_files": None,
        "has_token_ids": "tokens" not in run.unknown,
        "generate": None,
        "temperature": None,
        "seed": None,
        "output_norms": True if run.has_norms and not run.only_counts else None,
    }


def layers(run: RandomRun) -> pa.Table:
    sums = not (run.dropped or run.skip_class)
    rows = [
        {
            "layer": layer,
            "moe_index": index,
            "stack": stack,
            "block": block,
            "router_path": f"{stack}.layers.{block}.gate",
            "scoring": "softmax",
            "num_experts": run.num_experts,
            "top_k": run.top_k,
            "weights_sum_to_one": sums if "weights" not in run.unknown else None,
            "has_weights": "weights" not in run.unknown,
            "has_distribution": "distribution" not in run.unknown,
            "ranked": "order" not in run.unknown,
        }
        for index, (layer, stack, block) in enumerate(run.layers)
    ]
    return pa.Table.from_pylist(rows, schema=LAYERS)


def vocabulary(run: RandomRun) -> pa.Table:
    strings = ["<s>", "it's", 'a "quote"', "Köln", "line\nbreak", ""]
    rows = [
        {
            "token_id": token,
            "token_str": strings[token] if token < len(strings) else f"token {token}",
            "is_special": token == 0,
        }
        for token in range(max(VOCABULARY_SIZE, run.token_types))
        if "tokens" not in run.unknown
    ]
    return pa.Table.from_pylist(rows, schema=VOCABULARY)


def random_shard(run: RandomRun, shard: int) -> tuple[pa.Table, Events]:
    """Make up a shard's samples (every tenth is empty) and their events."""
    size = len(run.samples) // run.shards
    samples = run.samples[shard * size : (shard + 1) * size]
    texts = {sample: random_tokens(run, sample) for sample in samples}
    rows = [
        {
            "sample_id": sample_id(run, sample),
            "name": f"sample {sample}",
            "domain": ("web", "code", "maths")[sample % 3],
            "document": document_of(run, sample),
            "split": split_of(run, sample),
            "tokens": landed(run, tokens),
            "dropped_tokens": len(tokens) - landed(run, tokens),
            "text_sha256": text_sha256(run, sample),
            "document_sha256": document_hash(document_of(run, sample), text_sha256(run, sample)),
            "prompt_tokens": round(landed(run, tokens) * (1 - run.generated)),
        }
        for sample, tokens in texts.items()
    ]
    tables = [
        random_events(run, index, sample, tokens)
        for index in range(len(run.layers))
        for sample, tokens in texts.items()
    ]
    events = Events.of(pa.concat_tables(tables).combine_chunks())
    return pa.Table.from_pylist(rows, schema=SAMPLES), events


def counts(run: RandomRun) -> pa.Table:
    """Return how often each expert of a layer was selected in all shards."""
    found = {layer: np.zeros(run.num_experts, dtype=np.int64) for layer, _, _ in run.layers}
    for shard in range(run.shards):
        for part in random_shard(run, shard)[1]:
            for row in part.select(["layer", "experts"]).to_pylist():
                found[row["layer"]][row["experts"]] += 1
    rows = [
        {"layer": layer, "expert": expert, "selections": selections}
        for layer, of_layer in found.items()
        for expert, selections in enumerate(of_layer)
    ]
    return pa.Table.from_pylist(rows, schema=COUNTS)


def original(run: RandomRun, sample: int) -> int:
    return sample % run.texts if run.texts else sample


def sample_id(run: RandomRun, sample: int) -> int:
    return sample if run.source == CAPTURE else 100 + sample


def landed(run: RandomRun, tokens: np.ndarray) -> int:
    routed = len(tokens) if run.source == CAPTURE else max(len(tokens) - 1, 0)
    return routed if run.windows else min(routed, run.max_length)


def document_of(run: RandomRun, sample: int) -> str | None:
    return f"document {sample % run.documents}" if run.documents else None


def split_of(run: RandomRun, sample: int) -> str:
    document = sample % run.documents if run.documents else original(run, sample)
    last = {3: "validation", 6: "test"} if run.documents else {8: "validation", 9: "test"}
    return last.get(document % 10, "train")


def text_sha256(run: RandomRun, sample: int) -> str:
    hashed = text_name(run, sample) if run.source == CAPTURE else f"{run.run_id} {sample}"
    return sha256(hashed.encode()).hexdigest()


def text_name(run: RandomRun, sample: int) -> str:
    text = run.run_id if sample in run.rewritten else run.text or run.run_id
    return f"{text} {original(run, sample)}"


def generator_of(*names: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(names).encode()))


def random_tokens(run: RandomRun, sample: int) -> np.ndarray:
    """Make up a sample's tokens, few types of them, so that modes tie and bigrams repeat."""
    generator = generator_of("tokens", text_name(run, sample))
    likely = 1 / np.arange(1, run.token_types)
    first = original(run, sample)
    length = int(generator_of("length", run.text or run.run_id, first).integers(*run.lengths))
    size = 0 if first % 10 == 0 else length
    return generator.choice(len(likely), size=size, p=likely / likely.sum())


def random_events(run: RandomRun, index: int, sample: int, tokens: np.ndarray) -> pa.Table:
    """Make up one layer's events of a sample; the experts are near the token's own favourite."""
    generator = generator_of("routing", run.routing or run.run_id, sample, index)
    count, limit = len(tokens), np.log(run.num_experts)
    favourite = tokens * 7 + index + generator.integers(0, 3, size=count)
    if run.uniform:
        favourite = generator.integers(0, run.num_experts, size=count)
    experts = (favourite[:, None] + np.arange(run.top_k)) % run.num_experts
    shuffled = generator.permuted(experts, axis=1)
    experts = np.where(generator.uniform(size=(count, 1)) < 0.5, shuffled, experts)
    weights = -np.sort(-generator.dirichlet(np.ones(run.top_k), size=count), axis=1)
    weights[generator.uniform(size=count) < run.dropped, -1] = 0
    if run.dropped:
        # an expert that ran with the smallest weight is not dropped
        weights[(weights[:, -1] > 0) & (tokens % 5 == 0), -1] = 2.0**-24
    entropy = generator.beta(1 + tokens % 5, 2, size=count) * limit
    confidence = generator.uniform(1 / run.num_experts, 1, size=count)
    if run.flat:
        entropy = 4.85 + generator.normal(0, 1e-5, size=count)
    changed = generator.uniform(size=count) < run.changed
    experts[changed] = (experts[changed] + 1) % run.num_experts
    entropy[changed] *= 0.9
    if run.skip_class:
        weights[experts == run.num_experts - 1] = 0
    columns = {
        "sample_id": np.full(count, sample_id(run, sample)),
        "position": np.arange(count),
        "token_id": tokens,
        "layer": np.full(count, run.layers[index][0]),
        "experts": experts.tolist(),
        "weights": weights.astype(np.float16).tolist(),
        "top_expert": experts[:, 0],
        "entropy": entropy.astype(np.float32),
        "confidence": confidence.astype(np.float32),
    }
    if "order" in run.unknown:
        columns["experts"] = np.sort(experts, axis=1).tolist()
    for column in (name for unknown in run.unknown for name in UNKNOWN[unknown]):
        columns[column] = [None] * count
    if run.has_norms:
        columns[OUTPUT_NORMS] = random_norms(run, experts, columns["weights"])
    schema = EVENTS_WITH_NORMS if run.has_norms else EVENTS
    return pa.table(columns, schema=schema).slice(0, landed(run, tokens))


def random_norms(
    run: RandomRun, experts: np.ndarray, weights: list[list[float]]
) -> list[list[float | None]]:
    """Make up a norm for each expert that ran: those with a high id have larger outputs."""
    generator = generator_of("norms", run.routing or run.run_id, len(experts))
    drawn = (1 + experts) * generator.gamma(2, size=experts.shape)
    return [
        [norm if weight else None for norm, weight in zip(*row, strict=True)]
        for row in zip(drawn.tolist(), weights, strict=True)
    ]
