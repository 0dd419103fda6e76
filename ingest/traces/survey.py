"""What is in a trace, found by going through all of it before anything lands."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from gatehouse.ingest.traces.laws.fitted import Fitted
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import counted

TOLERANCE = 2e-3
"""Weights of float16 sum to one within this."""


@dataclass(frozen=True)
class Told:
    """What a sequence tells, which all of a trace do alike.

    Attributes:
        name: of the sequence.
        knows: whether it has weights, distribution, order and token ids.
        top_k: experts of each event.
    """

    name: str
    knows: dict[str, bool]
    top_k: int


@dataclass
class Survey:
    """What is in some sequences that follow each other.

    Attributes:
        lengths: tokens of each.
        first: what the first one tells, and all others; None where there is none.
        weights_sum_to_one: whether the weights of each event do, for each MoE layer; None where
            there are none.
        expert_bytes: of an expert of each MoE layer, by the first sequence; None where it has none.
        notes: what was left out of sequences, without its numbers -> the sequences' names.
    """

    lengths: list[int] = field(default_factory=list)
    first: Told | None = None
    weights_sum_to_one: list[bool] | None = None
    expert_bytes: list[int] | None = None
    notes: dict[str, list[str]] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """Tokens of all sequences."""
        return sum(self.lengths)

    @property
    def told(self) -> Told:
        """What the sequences tell.

        Raises:
            GatehouseError: there is none.
        """
        if self.first is None:
            raise GatehouseError("the trace holds no sequence: name files that hold some")
        return self.first

    def as_json(self) -> dict[str, Any]:
        """Return what `of_json` makes the survey of again."""
        return asdict(self)


def of_json(found: dict[str, Any]) -> Survey:
    """Return the survey that `Survey.as_json` has given."""
    first = found["first"]
    return Survey(**found | {"first": first and Told(**first)})


def survey(sequences: Iterable[Fitted]) -> Survey:
    """Go through sequences.

    Raises:
        GatehouseError: two do not tell the same things.
    """
    return joined(map(_of_one, sequences))


def joined(surveys: Iterable[Survey]) -> Survey:
    """Return one survey of several, whose sequences follow each other.

    Raises:
        GatehouseError: two do not tell the same things.
    """
    whole = Survey()
    for each in surveys:
        if each.first is None:
            continue
        if whole.first is None:
            whole.first, whole.expert_bytes = each.first, each.expert_bytes
        _check_alike(whole.first, each.first)
        whole.lengths += each.lengths
        for note, names in each.notes.items():
            whole.notes.setdefault(note, []).extend(names)
        if each.weights_sum_to_one is not None:
            whole.weights_sum_to_one = _both(whole.weights_sum_to_one, each.weights_sum_to_one)
    return whole


def _of_one(routed: Fitted) -> Survey:
    sums = None
    if routed.weights is not None:
        sums = (abs(routed.weights.sum(axis=2) - 1) < TOLERANCE).all(axis=0).tolist()
    return Survey(
        lengths=[len(routed.experts)],
        first=Told(routed.name, _knows(routed), routed.experts.shape[2]),
        weights_sum_to_one=sums,
        expert_bytes=list(routed.expert_bytes) if routed.expert_bytes else None,
        notes={note: [routed.name] for note in routed.notes},
    )


def _both(some: list[bool] | None, more: list[bool]) -> list[bool]:
    return more if some is None else [a and b for a, b in zip(some, more, strict=True)]


def _knows(routed: Fitted) -> dict[str, bool]:
    return {
        "weights": routed.weights is not None,
        "distribution": routed.entropy is not None,
        "order": routed.is_ordered,
        "token ids": routed.token_ids is not None,
    }


def _check_alike(first: Told, told: Told) -> None:
    for what, has in first.knows.items():
        if told.knows[what] != has:
            lacking, having = (told, first) if has else (first, told)
            raise GatehouseError(
                f"{lacking.name} has no {what}, and {having.name} has: import them as two runs"
            )
    if first.top_k != told.top_k:
        raise GatehouseError(
            f"{first.name} has {counted(first.top_k, 'expert')} a token, and "
            f"{told.name} {told.top_k}: import them as two runs"
        )
