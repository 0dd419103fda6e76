"""The nouns: Arrow schemas of the lake's tables, and the run's identity.

`run_id` is the hive partition of every table, so no file carries it as a column.
"""

import hashlib
import json
import re
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import pyarrow as pa

LAKE_VERSION = 6
"""Layout of the lake's files, as they are written."""

READABLE_VERSIONS = range(3, LAKE_VERSION + 1)
"""Lakes that are read as they are: warehouse/older.py says what their columns lack."""

IDENTITY_VERSION = 4
"""The version of the lake in which what identifies a run last changed."""

EVENTS = pa.schema(
    [
        ("sample_id", pa.int64()),
        ("position", pa.uint32()),
        ("token_id", pa.int32()),
        ("layer", pa.int16()),
        ("experts", pa.list_(pa.uint16())),
        ("weights", pa.list_(pa.float32())),
        ("top_expert", pa.uint16()),
        ("entropy", pa.float32()),
        ("confidence", pa.float32()),
    ]
)
"""One row per (sample, position, layer): experts and weights in descending weight, entropy in
nats of the full normalised router distribution, confidence its largest probability. A weight is 0
where the block did not run the expert, and only there: an expert that ran has at least 2^-24.
Weights are rounded to float16 and kept as float32: no larger, and every engine reads them.

What a source does not tell is null in all events of a layer, as LAYERS says: weights, entropy and
confidence, or the top expert; experts without an order are in that of their ids. The token id is
null in all events of a run that has no token ids."""

OUTPUT_NORMS = "output_norms"
EVENTS_WITH_NORMS = EVENTS.append(pa.field(OUTPUT_NORMS, pa.list_(pa.float32())))
"""Events of a run with `output_norms`, whose files have this column beside the others: for each of
the experts the L2 norm of its output before its weight, null where the weight is 0: it did not run.
float32, because norms of a few 10,000 occur and float16 ends at 65,504."""

SAMPLES = pa.schema(
    [
        ("sample_id", pa.int64()),
        ("name", pa.string()),
        ("domain", pa.string()),
        ("document", pa.string()),
        ("split", pa.string()),
        ("tokens", pa.int32()),
        ("dropped_tokens", pa.int32()),
        ("text_sha256", pa.string()),
        ("document_sha256", pa.string()),
        ("prompt_tokens", pa.int32()),
        ("turns", pa.list_(pa.struct([("role", pa.string()), ("first_position", pa.uint32())]))),
    ]
)
"""One row per sample: `tokens` landed, `dropped_tokens` cut off by the maximum length; `document`
is null where the sample is its own document, and `document_sha256` what `document_hash` gives. Of
its tokens, `prompt_tokens` were given and those that follow were generated. The turns of a chat
are in order, each from its first position to the next one's; null where the text is no chat."""

TOKENISED = ("tokens", "dropped_tokens", "prompt_tokens", "turns")
SAMPLE_COLUMNS = [name for name in SAMPLES.names if name not in TOKENISED]
"""What is known of a sample before it is tokenised."""

SHARDS = pa.schema(
    [
        ("shard", pa.int32()),
        ("first_sample", pa.int64()),
        ("samples", pa.int32()),
        ("tokens", pa.int64()),
        ("dropped_tokens", pa.int64()),
        ("events", pa.int64()),
        ("samples_bytes", pa.int64()),
        ("samples_sha256", pa.string()),
        ("events_bytes", pa.int64()),
        ("events_sha256", pa.string()),
        ("seconds", pa.float64()),
        ("landed_at", pa.timestamp("us", tz="UTC")),
    ]
)
"""One row per landed shard, in a record file of its own, written when its samples and events have
landed: their sizes and SHA-256, and how long the capture took."""

LAYERS = pa.schema(
    [
        ("layer", pa.int16()),
        ("moe_index", pa.int16()),
        ("stack", pa.string()),
        ("block", pa.int16()),
        ("router_path", pa.string()),
        ("scoring", pa.string()),
        ("num_experts", pa.int32()),
        ("top_k", pa.int32()),
        ("weights_sum_to_one", pa.bool_()),
        ("has_weights", pa.bool_()),
        ("has_distribution", pa.bool_()),
        ("ranked", pa.bool_()),
        ("expert_bytes", pa.int64()),
    ]
)
"""One row per MoE layer: `layer` is the block's index, or the same as `moe_index` where blocks are
not unique (two stacks, two MoE layers in a block, blocks that run more than once); `moe_index`
counts MoE layers only; `block` is the index within the stack (encoder, decoder); `num_experts`
counts the router's classes, including those that compute nothing; `weights_sum_to_one` says whether
each token's weights do, null where it has none. Events have weights if `has_weights`, entropy and
confidence if `has_distribution`, and experts in descending weight, with a top one, if `ranked`.
One of the experts takes `expert_bytes` of memory, null where that is not known."""

VOCABULARY = pa.schema(
    [("token_id", pa.int32()), ("token_str", pa.string()), ("is_special", pa.bool_())]
)
"""One row per token id of the tokenizer."""

RUNS = pa.schema(
    [
        ("model", pa.string()),
        ("model_fingerprint", pa.string()),
        ("tokenizer_fingerprint", pa.string()),
        ("dataset", pa.string()),
        ("dataset_fingerprint", pa.string()),
        ("first_sample", pa.int64()),
        ("num_samples", pa.int64()),
        ("max_length", pa.int32()),
        ("windows", pa.bool_()),
        ("dtype", pa.string()),
        ("quantization", pa.string()),
        ("attention_implementation", pa.string()),
        ("experts_implementation", pa.string()),
        ("trust_remote_code", pa.bool_()),
        ("lake_version", pa.int32()),
        ("shards", pa.int32()),
        ("skipped_empty", pa.int64()),
        ("skipped_broken", pa.int64()),
        ("lines", pa.bool_()),
        ("document_field", pa.string()),
        ("batch_size", pa.int32()),
        ("device", pa.string()),
        ("versions", pa.string()),
        ("started_at", pa.timestamp("us", tz="UTC")),
        ("finished_at", pa.timestamp("us", tz="UTC")),
        ("capture_seconds", pa.float64()),
        ("source", pa.string()),
        ("source_files", pa.string()),
        ("has_token_ids", pa.bool_()),
        ("generate", pa.int32()),
        ("temperature", pa.float64()),
        ("seed", pa.int64()),
        ("output_norms", pa.bool_()),
    ]
)
"""One row per run: the identity (RunSpec), then how it was captured, how many empty and broken
texts were met and left out before its last sample, and how the dataset was read; `finished_at` is
null and `capture_seconds` 0 until the last shard has landed. `source` is CAPTURE, or the format of
the trace that was imported; `source_files` is then a JSON list of its files, each with name, bytes
and sha256. The last four columns are of the identity too."""

COUNTS = pa.schema([("layer", pa.int16()), ("expert", pa.uint16()), ("selections", pa.int64())])
"""One row per expert of every MoE layer, for a run of the source COUNTED, which has no shards:
how often the layer's router selected it. All else that there is to know of such a run is null."""

CAPTURED = {"has_weights": True, "has_distribution": True, "ranked": True}
"""What LAYERS says of a layer that Gatehouse captured itself."""

CAPTURE = "capture"
"""The source of runs that Gatehouse captured itself."""

COUNTED = "counts"
"""The source of imported runs of which only the counts of their experts are known."""

SPLITS = {"train": 0.8, "validation": 0.1, "test": 0.1}
"""Shares of the splits; a sample's split follows from the hash of its document."""


@dataclass(frozen=True)
class Sample:
    """One text of a prepared dataset; `sample_id` is its index there.

    `document` names the document that it is a part of, None where it is a document by itself;
    `document_sha256` is what `document_hash` gives, and `split` follows from that. The text of a
    chat is a JSON list of its turns, each with role and content.
    """

    sample_id: int
    name: str
    domain: str
    document: str | None
    split: str
    text: str
    text_sha256: str
    document_sha256: str
    is_chat: bool = False


@dataclass(frozen=True, slots=True)
class TokenWindow:
    """Consecutive tokens of one sample, run as one sequence; `start` is its first position.

    Windows begin at multiples of the maximum length, so that a token's position in its window is
    the remainder of its position by that length. Later windows get no token of their own.
    """

    sample_id: int
    start: int
    token_ids: Sequence[int]


@dataclass(frozen=True)
class Tokens:
    """The tokens of one sample: how many were given, and (role, first position) of a chat's turns.

    The tokens after the first `prompt_tokens` are a model's. `turns` is None for what is no chat.
    """

    token_ids: "array[int]"
    prompt_tokens: int
    turns: list[tuple[str, int]] | None = None


@dataclass(frozen=True)
class RunSpec:
    """Everything that changes a run's events, and nothing else.

    Batch size, device and interruptions are not in it: they must not matter. `generate` is the most
    tokens that the model added to a sample, None where it added none; `temperature` and `seed` are
    None too where it took the likeliest token every time. `output_norms` is True or None.
    """

    model: str
    model_fingerprint: str
    tokenizer_fingerprint: str
    dataset: str
    dataset_fingerprint: str
    first_sample: int
    num_samples: int
    max_length: int
    windows: bool
    dtype: str
    quantization: str
    attention_implementation: str
    experts_implementation: str
    trust_remote_code: bool
    generate: int | None = None
    temperature: float | None = None
    seed: int | None = None
    output_norms: bool | None = None

    @classmethod
    def of_record(cls, record: dict[str, Any]) -> "RunSpec":
        """Return the identity in a row of `runs`."""
        return cls(**{field.name: record[field.name] for field in fields(cls)})

    @property
    def run_id(self) -> str:
        """Slug of model and dataset, then 10 hexadecimal digits of the identity's SHA-256."""
        # what a run does not do is not in it: runs that could not do it yet keep their ids
        stated = {name: value for name, value in asdict(self).items() if value is not None}
        identity = json.dumps(stated | {"lake_version": IDENTITY_VERSION}, sort_keys=True)
        digest = hashlib.sha256(identity.encode()).hexdigest()[:10]
        return f"{slug(self.model)}-{slug(self.dataset)}-{digest}"


def precision(run: dict[str, Any]) -> str:
    """Return how precisely a run's model computed, from its row: float32, or 4bit in bfloat16."""
    if run["quantization"] == "none":
        return str(run["dtype"])
    return f"{run['quantization']} in {run['dtype']}"


def files_fingerprint(source_files: str) -> str:
    """Return the hash that is the fingerprint of an import's data set, from its `source_files`."""
    hashes = [each["sha256"] for each in json.loads(source_files)]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def sample_line(name: str, domain: str, document: str | None, text_sha256: str) -> bytes:
    """Return what one sample adds to the hash that is its dataset's fingerprint."""
    return json.dumps([name, domain, document, text_sha256]).encode() + b"\n"


def document_hash(document: str | None, text_sha256: str) -> str:
    """Return the hash by which documents are dealt out to splits and blocks, hexadecimal.

    It is the SHA-256 of the UTF-8 bytes of `document:` and the document's name, or that of the
    text where the sample is its own document: the same text read twice then stays together.
    """
    if document is None:
        return text_sha256
    # the prefix: a corpus may be in the order of its names' hashes, as pydoc is
    return hashlib.sha256(f"document:{document}".encode()).hexdigest()


def slug(name: str) -> str:
    """Return the last part of a name or path as lower-case letters, digits, dots and dashes."""
    last = re.split(r"[/\\]", name.strip().rstrip("/\\"))[-1].lower()
    return re.sub(r"[^a-z0-9]+", "-", last).strip("-")[:40] or "unnamed"
