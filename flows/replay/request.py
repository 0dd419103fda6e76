"""What a user asks a replay for: the policies, and the controls that stand beside them."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from gatehouse.flows.request import Workers
from gatehouse.reports.exports.table_rule import FREQUENCY, MIN_SHARE, rule_of
from gatehouse.warehouse import replays
from gatehouse.warehouse.errors import GatehouseError, require
from gatehouse.warehouse.plain_text import counted
from gatehouse.warehouse.replays import ReplayPolicy

LEAST_FREQUENCY = {replays.TOKENS: FREQUENCY, replays.BIGRAMS: 2}
"""How often a key of a table occurs in the train split, unless the user says otherwise."""

SHARES = {replays.TOKENS: (MIN_SHARE, 0.7, 0.5), replays.BIGRAMS: (MIN_SHARE,)}
"""Least shares of the most frequent set, unless the user names some."""

VAR_ENTROPY = 0.5
"""VAR's own threshold in nats."""

OF_THE_LARGEST = (0.72, 0.87)
"""Further thresholds on entropy, as shares of the largest, ln(experts): VAR's own covers nothing
where no token's entropy is so low. Of 8 experts they are 1.5 and 1.8 nats."""

TABLE_SIZES = (256, 1024)

MOST = 2**63
"""Numbers of tokens and samples are below this."""

SALIENCY = ("load", "gate-mass", "reap")
"""By what experts are ranked for `mask`, in the train split."""


@dataclass(frozen=True)
class ReplayRequest:
    """The parameters of a replay, as the command line and the deployment name them.

    Without any policy, the usual ones are replayed. Every list makes one policy of each of its
    values. Entropies are in nats.

    Raises:
        GatehouseError: a value is out of range, or an option has nothing to apply to.
    """

    num_samples: int = 128
    table: Sequence[str] = ()
    min_share: Sequence[float] = ()
    min_frequency: int | None = None
    frequency_threshold: int | None = None
    entropy_threshold: Sequence[float] = ()
    most_frequent: Sequence[int] = ()
    ids_only: bool = False
    layer: str = "all"
    drop_below: Sequence[float] = ()
    drop_entropy: Sequence[float] = ()
    mask: Sequence[str] = ()
    routing_of: Sequence[str] = ()
    batch_size: int | None = None
    device_map: str | None = None
    trust_remote_code: bool = False
    workers: int | None = None
    scheduler: str | None = None

    def __post_init__(self) -> None:
        for name in ("num_samples", "batch_size", "min_frequency"):
            value = getattr(self, name)
            require(value is None or 1 <= value < MOST, name, "1 or more, and below 2^63")
        for name in self.table:
            require(name in SHARES, "table", f"{' or '.join(SHARES)}, not {name!r}")
        for name in ("min_share", "drop_below"):
            fits = all(0 <= share <= 1 for share in getattr(self, name))
            require(fits, name, "a share from 0 to 1")
        for name in ("entropy_threshold", "drop_entropy"):
            fits = all(0 < entropy < math.inf for entropy in getattr(self, name))
            require(fits, name, "more than 0 nats")
        threshold = self.frequency_threshold
        fits = threshold is None or 0 <= threshold < MOST
        require(fits, "frequency_threshold", "0 or more, and below 2^63")
        fits = all(1 <= size < MOST for size in self.most_frequent)
        require(fits, "most_frequent", "1 or more, and below 2^63")
        self._check_tables()
        # each refuses what it cannot be
        _ = self.moe_indices, list(map(_masked, self.mask)), self.asked_workers

    def _check_tables(self) -> None:
        if self.frequency_threshold is not None and not self.entropy_threshold:
            raise GatehouseError(
                "--frequency-threshold goes with VAR's other one: add --entropy-threshold, or use "
                "--min-share with --min-frequency"
            )
        if replays.TOKENS not in self.table and (self.entropy_threshold or self.most_frequent):
            option = "most-frequent" if self.most_frequent else "entropy-threshold"
            raise GatehouseError(f"--{option} chooses tokens: add --table tokens")
        if (
            self.min_frequency
            and not self.min_share
            and (self.entropy_threshold or self.most_frequent)
        ):
            raise GatehouseError(
                "--min-frequency goes with --min-share: add that, or leave it out; VAR's rule has "
                "--frequency-threshold"
            )
        if self.table:
            return
        for name in ("min_share", "min_frequency", "ids_only"):
            # what another run chose may be weighted by the router too
            if getattr(self, name) and not (name == "ids_only" and self.routing_of):
                option = name.replace("_", "-")
                raise GatehouseError(
                    f"--{option} says how a table is used: add --table tokens, or --table bigrams "
                    "(--ids-only also goes with --routing-of)"
                )

    @property
    def asked_workers(self) -> Workers | None:
        """The processes that measure the parts, None where this one does."""
        return Workers.asked(self.workers, self.scheduler)

    @property
    def moe_indices(self) -> tuple[int, ...] | None:
        """`layer` as ascending numbers of MoE layers, None for all.

        Raises:
            GatehouseError: it is neither.
        """
        if self.layer == "all":
            return None
        words = self.layer.split(",")
        if not all(word.strip().isdecimal() for word in words):
            raise GatehouseError(
                f"--layer {self.layer}: give an index among the MoE layers, several as 0,2, or all"
            )
        return tuple(sorted({int(word) for word in words}))

    def policies(self, num_experts: int, run_id_of: dict[str, str]) -> list[ReplayPolicy]:
        """Return what to replay, the controls after what they are controls of.

        Args:
            num_experts: of the largest layer.
            run_id_of: word of `routing_of` -> the run's id.
        """
        asked = [*self._tables(), *self._others(run_id_of)] or usual(num_experts)
        chosen = [replace(each, moe_indices=self.moe_indices) for each in asked]
        return list(dict.fromkeys([*chosen, *controls(chosen)]))

    def _tables(self) -> Iterator[ReplayPolicy]:
        ids_only = self.ids_only or None
        for kind in self.table:
            table = ReplayPolicy(kind, ids_only=ids_only)
            if kind == replays.TOKENS:
                for entropy in self.entropy_threshold:
                    rule = rule_of(
                        frequency_threshold=self.frequency_threshold, entropy_threshold=entropy
                    )
                    yield replace(rule, ids_only=ids_only)
                for size in self.most_frequent:
                    yield replace(table, table_size=size)
            chosen_otherwise = self.entropy_threshold or self.most_frequent
            shares = self.min_share or (() if chosen_otherwise else SHARES[kind])
            for share in shares:
                least = self.min_frequency or LEAST_FREQUENCY[kind]
                yield replace(table, min_share=share, min_frequency=least)

    def _others(self, run_id_of: dict[str, str]) -> Iterator[ReplayPolicy]:
        for share in self.drop_below:
            yield ReplayPolicy(replays.DROP_BELOW, weight_threshold=share)
        for entropy in self.drop_entropy:
            yield ReplayPolicy(replays.DROP_ENTROPY, entropy_threshold=entropy)
        for ranked_by, number in map(_masked, self.mask):
            yield ReplayPolicy(replays.MASK, ranked_by=ranked_by, masked_experts=number)
        ids_only = self.ids_only or None
        for name in self.routing_of:
            yield ReplayPolicy(replays.ROUTING_OF, ids_only=ids_only, routing_of=run_id_of[name])


def usual(num_experts: int) -> list[ReplayPolicy]:
    """Return the policies of a replay that names none: tables, chosen in several ways."""
    tokens, bigrams = ReplayPolicy(replays.TOKENS), ReplayPolicy(replays.BIGRAMS)
    least = LEAST_FREQUENCY[replays.TOKENS]
    largest = math.log(num_experts)
    entropies = [VAR_ENTROPY, *(round(share * largest, 2) for share in OF_THE_LARGEST)]
    return [
        *(
            replace(tokens, min_share=share, min_frequency=least)
            for share in SHARES[replays.TOKENS]
        ),
        *(
            replace(tokens, frequency_threshold=least, entropy_threshold=entropy)
            for entropy in entropies
        ),
        *(replace(tokens, table_size=size) for size in TABLE_SIZES),
        replace(tokens, min_share=0.0, min_frequency=1),
        replace(bigrams, min_share=MIN_SHARE, min_frequency=LEAST_FREQUENCY[replays.BIGRAMS]),
    ]


def controls(chosen: list[ReplayPolicy]) -> list[ReplayPolicy]:
    """Return the controls that belong beside policies, all over the same MoE layers.

    The router's own routing, which must change nothing; random sets; another token's entry of the
    same table for the widest one of tokens; as many experts dropped or masked at random.
    """
    everywhere = ReplayPolicy(replays.OWN, moe_indices=chosen[0].moe_indices)
    found = [everywhere, replace(everywhere, kind=replays.RANDOM)]
    if tables := [each for each in chosen if each.kind == replays.TOKENS]:
        widest = max(tables, key=_width)
        found.append(control(replays.ANOTHER_TOKEN, widest))
    for policy in chosen:
        if policy.kind in (replays.DROP_BELOW, replays.DROP_ENTROPY):
            found.append(control(replays.RANDOM_DROP, policy))
    for number in dict.fromkeys(each.masked_experts for each in chosen if each.masked_experts):
        found.append(replace(everywhere, kind=replays.RANDOM_MASK, masked_experts=number))
    return found


def control(kind: str, policy: ReplayPolicy) -> ReplayPolicy:
    """Return the control of a kind that a policy has."""
    return replace(policy, kind=kind, controls=policy.policy_id)


def _width(policy: ReplayPolicy) -> tuple[float, float, float]:
    """Return what is larger for tables with more entries, as far as their rules tell."""
    share = policy.min_share if policy.min_share is not None else 1.0
    return -share, policy.table_size or 0, policy.entropy_threshold or 0


def _masked(text: str) -> tuple[str, int]:
    ranked_by, _, number = text.partition(":")
    if ranked_by not in SALIENCY or not number.isdecimal() or int(number) < 1:
        kinds = ", ".join(f"{name}:N" for name in SALIENCY)
        raise GatehouseError(f"--mask {text}: give {kinds}, where N experts of each layer go")
    return ranked_by, int(number)


def words(policy: ReplayPolicy) -> str:
    """Return a policy in words, for tables and charts."""
    text = NAMED[policy.kind](policy)
    if policy.ids_only:
        text += ", the router's weights"
    if policy.moe_indices is not None:
        layers = ", ".join(map(str, policy.moe_indices))
        text += f", MoE layer{'s' if len(policy.moe_indices) > 1 else ''} {layers}"
    return text


def _dropped(policy: ReplayPolicy) -> str:
    if policy.weight_threshold is not None:
        return f"experts below {policy.weight_threshold:g} dropped"
    return f"one expert below {policy.entropy_threshold:g} nats"


def _experts(policy: ReplayPolicy, noun: str = "expert") -> str:
    assert policy.masked_experts is not None
    return counted(policy.masked_experts, noun)


def _chosen(policy: ReplayPolicy) -> str:
    """Return by what rule a table's entries are chosen."""
    if policy.table_size is not None:
        return f"the {policy.table_size:,} most frequent"
    if policy.frequency_threshold is not None:
        frequency = policy.frequency_threshold
        return f"entropy < {policy.entropy_threshold:g} and frequency > {frequency:,}"
    if not policy.min_share and policy.min_frequency == 1:
        return "every known one"
    return f"share ≥ {policy.min_share:g} and frequency ≥ {policy.min_frequency:,}"


NAMED: dict[str, Callable[[ReplayPolicy], str]] = {
    replays.OWN: lambda policy: "own routing",
    replays.RANDOM: lambda policy: "random experts",
    replays.RANDOM_MASK: lambda policy: f"{_experts(policy, 'random expert')} masked",
    replays.RANDOM_DROP: lambda policy: f"as many at random ({_dropped(policy)})",
    replays.DROP_BELOW: _dropped,
    replays.DROP_ENTROPY: _dropped,
    replays.MASK: lambda policy: f"{_experts(policy)} of least {policy.ranked_by} masked",
    replays.ROUTING_OF: lambda policy: f"routing of {policy.routing_of}",
    replays.BIGRAMS: lambda policy: f"bigrams, {_chosen(policy)}",
    replays.TOKENS: lambda policy: f"tokens, {_chosen(policy)}",
    replays.ANOTHER_TOKEN: lambda policy: f"another token's entry, {_chosen(policy)}",
}
