"""What replays of a run found: the loss of each document under policies that overrule routers.

    lake/replays/run_id=RUN/part-00000.parquet      some documents under some policies

A part lands whole or not at all, and no document is in two parts under one policy.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, fields
from typing import Any

import pyarrow as pa

from gatehouse.warehouse.errors import BrokenLaw
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.storage.addresses import Place
from gatehouse.warehouse.tables import read_table, write_table

TABLE = "replays"
"""The lake's folder of them."""

TOKENS, BIGRAMS = "tokens", "bigrams"
DROP_BELOW, DROP_ENTROPY, MASK, ROUTING_OF = "drop below", "drop entropy", "mask", "routing of"
OWN, RANDOM, ANOTHER_TOKEN = "own routing", "random sets", "another token"
RANDOM_DROP, RANDOM_MASK = "random drop", "random mask"

CONTROLS = (OWN, RANDOM, ANOTHER_TOKEN, RANDOM_DROP, RANDOM_MASK)
"""Kinds of policies that nobody would choose, beside which the others are read."""


@dataclass(frozen=True)
class ReplayPolicy:
    """What overrules the routers; what a kind does not use is None.

    Attributes:
        kind: one of the words above.
        ids_only: whether the router's own rule weights the experts, not the table.
        min_share: of a table: the least share of its occurrences in the train split in which an
            entry has its most frequent set of experts.
        min_frequency: of a table: the fewest of these occurrences.
        frequency_threshold: of VAR's rule: a token occurs more often than this in the train split.
        entropy_threshold: of VAR's rule: its mean entropy there is below this; of DROP_ENTROPY: a
            token whose entropy is below it has one expert; in nats.
        table_size: of a table: this many most frequent tokens.
        weight_threshold: of DROP_BELOW: experts with a smaller share of their token's weights go.
        ranked_by: of MASK: load, gate mass or reap, in the train split.
        masked_experts: of MASK and RANDOM_MASK: how many of each layer's experts go.
        routing_of: the run whose routing is taken.
        moe_indices: the MoE layers that are overruled; None for all.
        controls: the policy_id of the policy that this one is the control of, where it is of one.
    """

    kind: str
    ids_only: bool | None = None
    min_share: float | None = None
    min_frequency: int | None = None
    frequency_threshold: int | None = None
    entropy_threshold: float | None = None
    table_size: int | None = None
    weight_threshold: float | None = None
    ranked_by: str | None = None
    masked_experts: int | None = None
    routing_of: str | None = None
    moe_indices: tuple[int, ...] | None = None
    controls: str | None = None

    @property
    def policy_id(self) -> str:
        """10 hexadecimal digits of the SHA-256 of what the policy is."""
        stated = {name: value for name, value in asdict(self).items() if value is not None}
        return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()[:10]

    @property
    def is_control(self) -> bool:
        """Whether it is of one of the kinds in CONTROLS."""
        return self.kind in CONTROLS


OF_A_POLICY = (
    ("policy_id", pa.string()),
    ("policy", pa.string()),
    ("kind", pa.string()),
    ("ids_only", pa.bool_()),
    ("min_share", pa.float64()),
    ("min_frequency", pa.int64()),
    ("frequency_threshold", pa.int64()),
    ("entropy_threshold", pa.float64()),
    ("table_size", pa.int64()),
    ("weight_threshold", pa.float64()),
    ("ranked_by", pa.string()),
    ("masked_experts", pa.int32()),
    ("routing_of", pa.string()),
    ("moe_indices", pa.list_(pa.int16())),
    ("controls", pa.string()),
    ("is_control", pa.bool_()),
)

REPLAYS = pa.schema(
    [
        *OF_A_POLICY,
        ("run_sha256", pa.string()),
        ("routing_of_sha256", pa.string()),
        ("sample_id", pa.int64()),
        ("tokens", pa.int64()),
        ("nll", pa.float64()),
        ("untouched_nll", pa.float64()),
        ("kl", pa.float64()),
        ("same_top", pa.int64()),
        ("rows", pa.int64()),
        ("covered", pa.list_(pa.int64())),
        ("agreed", pa.list_(pa.int64())),
        ("undisturbed", pa.list_(pa.int64())),
        ("experts_run", pa.list_(pa.int64())),
        ("device", pa.string()),
        ("versions", pa.string()),
        ("landed_at", pa.timestamp("us", tz="UTC")),
    ]
)
"""One row per policy and sample of a run: the policy, in words and as `ReplayPolicy` has it; what
the run (and the one whose routing is taken) held then, as `content_hash` gives it; sums over the
`tokens` that were predicted: negative log-likelihood in nats, that of the untouched model, the
Kullback-Leibler divergence from it in nats, and how often both find the same token the likeliest.
`rows` counts all tokens of the sample, and the lists have for each MoE layer, in their order: of
these rows how many had their routing replaced, of those how many by the router's own set, for how
many rows the router chose the untouched model's set, and how many experts ran."""

PART = re.compile(r"part-(\d{5})\.parquet")


def policy_columns(policy: ReplayPolicy, words: str) -> dict[str, Any]:
    """Return a policy's columns of REPLAYS, `words` for people among them."""
    stated = {field.name: getattr(policy, field.name) for field in fields(policy)}
    own = {"policy_id": policy.policy_id, "policy": words, "is_control": policy.is_control}
    return stated | own


def content_hash(lake: Lake, run_id: str) -> str:
    """Return the hash of a run's landed shards: SHA-256 of their events' hashes, in their order.

    Raises:
        BrokenLaw: the record of a shard is damaged.
    """
    hashes = [row["events_sha256"] for row in lake.shards(run_id).values()]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def parts(lake: Lake, run_id: str) -> list[Place]:
    """Return the files of a run's replays, in their order."""
    folder = lake.folder(TABLE, run_id)
    return [folder / name for name in sorted(filter(PART.fullmatch, lake.storage.names(folder)))]


def read_part(path: Place) -> pa.Table:
    """Return one part, schema REPLAYS.

    Raises:
        BrokenLaw: it is damaged, or that of another run.
    """
    return read_table(path, REPLAYS)


def landed_samples(lake: Lake, run_id: str) -> dict[str, set[int]]:
    """Return policy_id -> the samples that have landed, of what the lake's runs hold now.

    Parts that were replayed of something else are not counted.

    Raises:
        BrokenLaw: a part is damaged.
    """
    found: dict[str, set[int]] = {}
    current = {run_id: content_hash(lake, run_id)}
    names = ["policy_id", "sample_id", "run_sha256", "routing_of", "routing_of_sha256"]
    for path in parts(lake, run_id):
        for row in read_part(path).select(names).to_pylist():
            other = row["routing_of"]
            if other and other not in current:
                current[other] = content_hash(lake, other)
            of_now = row["run_sha256"] == current[run_id]
            if of_now and (other is None or row["routing_of_sha256"] == current[other]):
                found.setdefault(row["policy_id"], set()).add(row["sample_id"])
    return found


def land_part(lake: Lake, run_id: str, rows: pa.Table) -> Place:
    """Land rows (schema REPLAYS) as the run's next part; the caller holds the run's lock.

    Raises:
        BrokenLaw: a policy has a sample twice; nothing is written.
        GatehouseError: the disk is full or not writable.
    """
    check_part(rows)
    numbers = [int(path.stem.removeprefix("part-")) for path in parts(lake, run_id)]
    path = lake.folder(TABLE, run_id) / f"part-{max(numbers, default=-1) + 1:05d}.parquet"
    write_table(path, rows.cast(REPLAYS))
    return path


def check_part(rows: pa.Table) -> None:
    """Refuse rows that no replay gives.

    Raises:
        BrokenLaw: a policy has a sample twice, or more tokens are counted than there are.
    """
    keys = list(zip(rows["policy_id"].to_pylist(), rows["sample_id"].to_pylist(), strict=True))
    if len(set(keys)) < len(keys):
        raise BrokenLaw("has a sample twice under one policy")
    for row in rows.select(["rows", "tokens", "covered", "agreed", "undisturbed"]).to_pylist():
        most = row["rows"]
        counts = [row["tokens"], *row["covered"], *row["undisturbed"]]
        within = all(0 <= count <= most for count in counts)
        pairs = zip(row["agreed"], row["covered"], strict=True)
        if not within or any(agreed > covered for agreed, covered in pairs):
            raise BrokenLaw("counts more tokens than there are")
