"""What replays of a run found: the loss of each document under policies that overrule routers.

    lake/replays/run_id=RUN/part-0123456789ab.parquet      some documents under some policies

A part lands whole or not at all, and no document is in two parts under one policy. It is called by
what it is of, so that it has its name whichever process lands it; earlier ones have a number.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from functools import cache, partial
from typing import Any

import pyarrow as pa

from gatehouse.warehouse.errors import BrokenLaw
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.storage.addresses import Place
from gatehouse.warehouse.tables import read_table, write_table

TABLE = "replays"
"""The lake's folder of them."""

Key = tuple[str, int]
"""A policy's id and the number of a sample."""

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

PART = re.compile(r"part-([0-9a-f]{12}|\d{5})\.parquet")


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
    hashes = [row["events_sha256"] for row in lake.shards.recorded(run_id).values()]
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


class LandedSamples:
    """The samples of a run that replays have landed; each part is read once.

    Parts that were replayed of something else than the lake's runs hold now are not counted.

    Args:
        lake: that of the run.
        run_id: whose replays they are.
        holds: run -> what it holds now, as `content_hash` gives it.
    """

    def __init__(self, lake: Lake, run_id: str, holds: Callable[[str], str] | None = None) -> None:
        self._lake = lake
        self._run_id = run_id
        self._holds = holds or cache(partial(content_hash, lake))
        self._read: dict[str, set[Key]] = {}

    def by_policy(self) -> dict[str, set[int]]:
        """Return policy_id -> the samples that have landed until now.

        Raises:
            BrokenLaw: a part is damaged.
        """
        found: dict[str, set[int]] = {}
        for policy_id, sample_id in self._keys():
            found.setdefault(policy_id, set()).add(sample_id)
        return found

    def have(self, keys: Iterable[Key]) -> bool:
        """Return whether all of some samples under policies have landed; raises as `by_policy`."""
        return self._keys().issuperset(keys)

    def land(self, rows: pa.Table) -> Place | None:
        """Land rows (schema REPLAYS) as a part, without those that have landed; None if all have.

        The caller holds the run's lock, alone or with others.

        Raises:
            BrokenLaw: a policy has a sample twice; nothing is written.
            GatehouseError: the disk is full or not writable.
        """
        check_part(rows)
        with self._lake.locks.in_turn(self._run_id):
            twice = self._keys() & self._present(rows)
            left = rows.filter(pa.array([key not in twice for key in _keys_of(rows)], pa.bool_()))
            if not left.num_rows:
                return None
            path = self._lake.folder(TABLE, self._run_id) / f"part-{_name_of(left)}.parquet"
            write_table(path, left.cast(REPLAYS))
            self._read[path.name] = self._present(left)
            return path

    def _keys(self) -> set[Key]:
        there = {path.name: path for path in parts(self._lake, self._run_id)}
        for name, path in there.items():
            if name not in self._read:
                self._read[name] = self._present(read_part(path))
        return set().union(*(self._read[name] for name in there))

    def _present(self, rows: pa.Table) -> set[Key]:
        """Return the keys of rows that were replayed of what the lake's runs hold now."""
        names = ["run_sha256", "routing_of", "routing_of_sha256"]
        found = set()
        for key, row in zip(_keys_of(rows), rows.select(names).to_pylist(), strict=True):
            other = row["routing_of"]
            of_now = row["run_sha256"] == self._holds(self._run_id)
            if of_now and (other is None or row["routing_of_sha256"] == self._holds(other)):
                found.add(key)
        return found


def _keys_of(rows: pa.Table) -> list[Key]:
    return list(zip(rows["policy_id"].to_pylist(), rows["sample_id"].to_pylist(), strict=True))


def _name_of(rows: pa.Table) -> str:
    """Return 12 hexadecimal digits of the SHA-256 of what rows are of."""
    names = ["policy_id", "sample_id", "run_sha256", "routing_of_sha256"]
    stated = json.dumps(rows.select(names).to_pydict(), sort_keys=True)
    return hashlib.sha256(stated.encode()).hexdigest()[:12]


def check_part(rows: pa.Table) -> None:
    """Refuse rows that no replay gives.

    Raises:
        BrokenLaw: a policy has a sample twice, or more tokens are counted than there are.
    """
    keys = _keys_of(rows)
    if len(set(keys)) < len(keys):
        raise BrokenLaw("has a sample twice under one policy")
    for row in rows.select(["rows", "tokens", "covered", "agreed", "undisturbed"]).to_pylist():
        most = row["rows"]
        counts = [row["tokens"], *row["covered"], *row["undisturbed"]]
        within = all(0 <= count <= most for count in counts)
        pairs = zip(row["agreed"], row["covered"], strict=True)
        if not within or any(agreed > covered for agreed, covered in pairs):
            raise BrokenLaw("counts more tokens than there are")
