"""An engine's cache of experts: bytes in place of slots, and passes of several tokens at once."""

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gatehouse.reports.inference.accesses import Integers

UNROUTED = -1
"""In place of an expert: the token was not routed in that layer, as nothing followed from it."""

OUTDATED = 4
"""A queue of more entries for each expert that is loaded is made again: it would grow forever."""


@dataclass(frozen=True)
class Pass:
    """One layer's run over one token or more.

    last_use: by its number, layer * num_experts + expert, each expert's last place in the
        sequence; in the order of their first.
    is_prompt: whether the tokens are the prompt's.
    """

    last_use: dict[int, int]
    is_prompt: bool


@dataclass(frozen=True)
class Served:
    """Accesses and hits of one sequence, of its prompt and of its generated text.

    bytes_read: what was loaded.
    """

    prompt_accesses: int
    prompt_hits: int
    generated_accesses: int
    generated_hits: int
    bytes_read: int


def passes(experts: Integers, prompt_tokens: int, num_experts: int) -> list[Pass]:
    """Return a sequence's passes as an engine runs them: the prompt at once, then token by token.

    Args:
        experts: (tokens, layers, top_k) of one sequence, UNROUTED where a token has none.
        prompt_tokens: how many of the tokens are the prompt's.
        num_experts: of one layer.
    """
    parts = [(experts[:prompt_tokens], True)] if prompt_tokens else []
    parts += [(experts[token : token + 1], False) for token in range(prompt_tokens, len(experts))]
    found, place = [], 0
    for tokens, is_prompt in parts:
        for layer, of_layer in enumerate(tokens.swapaxes(0, 1)):
            asked = of_layer[of_layer != UNROUTED] + layer * num_experts
            last_use = dict(zip(asked.tolist(), range(place, place + asked.size), strict=True))
            found.append(Pass(last_use, is_prompt))
            place += asked.size
    return found


def serve(
    sequence: Sequence[Pass],
    policy: str,
    budgets: Sequence[int],
    expert_bytes: NDArray[np.integer],
) -> list[Served]:
    """Return what one cache for all layers, empty at first, does for a sequence at each budget.

    In a pass each distinct expert is one access, and all that are missing are loaded. Only then
    experts make room until the rest fits the budget, and none that the pass used: these stay even
    if they exceed it. The policies differ in who goes:

    - `lru`: whose last use is longest ago. A prompt of several tokens leaves its experts in the
      order of their last tokens;
    - `lfu`: who was used in fewest passes from the start, also before it last made room; of those,
      whose last use is longest ago;
    - `belady`: whose next pass is last; of those, who was loaded first. It is a bound if all
      experts have the same size, and close to one otherwise.

    Args:
        sequence: as `passes` gives it.
        policy: one of POLICIES.
        budgets: bytes, each for a cache of its own.
        expert_bytes: (layers * num_experts,) bytes of each expert.

    Source: the published curves of BigMoeOnEdge's route traces follow these rules.
    """
    ranks = list(POLICIES[policy](sequence))
    sizes = expert_bytes.tolist()
    return [_served(sequence, ranks, budget, sizes) for budget in budgets]


def _served(
    sequence: Sequence[Pass], ranks: list[list[int]], budget: int, sizes: list[int]
) -> Served:
    cache = _Cache(budget, sizes)
    accesses, hits = Counter[bool](), Counter[bool]()
    for one, of_pass in zip(sequence, ranks, strict=True):
        accesses[one.is_prompt] += len(one.last_use)
        hits[one.is_prompt] += cache.use(one.last_use, of_pass)
    return Served(accesses[True], hits[True], accesses[False], hits[False], cache.bytes_read)


class _Cache:
    """The experts that are loaded, and in which order they make room."""

    def __init__(self, budget: int, sizes: list[int]) -> None:
        self.budget, self.sizes = budget, sizes
        self.bytes_read = self.bytes_held = self.loads = 0
        self.loaded: dict[int, tuple[int, int, int]] = {}
        # also has entries that a later use has outdated
        self.queue: list[tuple[int, int, int]] = []

    def use(self, experts: dict[int, int], ranks: list[int]) -> int:
        """Return how many experts of a pass are loaded; load the others, then make room."""
        loads_before = self.loads
        for expert, rank in zip(experts, ranks, strict=True):
            known = self.loaded.get(expert)
            if known is None:
                self.loads += 1
                self.bytes_read += self.sizes[expert]
                self.bytes_held += self.sizes[expert]
            entry = (rank, known[1] if known else self.loads, expert)
            self.loaded[expert] = entry
            heapq.heappush(self.queue, entry)
        if len(self.queue) > OUTDATED * len(self.loaded):
            self.queue = list(self.loaded.values())
            heapq.heapify(self.queue)
        self._make_room(experts)
        return len(experts) - (self.loads - loads_before)

    def _make_room(self, in_use: dict[int, int]) -> None:
        staying = []
        while self.bytes_held > self.budget and self.queue:
            entry = heapq.heappop(self.queue)
            expert = entry[2]
            if self.loaded.get(expert) != entry:
                continue
            if expert in in_use:
                staying.append(entry)
            else:
                del self.loaded[expert]
                self.bytes_held -= self.sizes[expert]
        for entry in staying:
            heapq.heappush(self.queue, entry)


def _recency(sequence: Sequence[Pass]) -> Iterator[list[int]]:
    for one in sequence:
        yield list(one.last_use.values())


def _frequency(sequence: Sequence[Pass]) -> Iterator[list[int]]:
    uses = Counter[int]()
    places = 1 + max((max(one.last_use.values(), default=0) for one in sequence), default=0)
    for one in sequence:
        uses.update(one.last_use.keys())
        yield [uses[expert] * places + last for expert, last in one.last_use.items()]


def _next_use(sequence: Sequence[Pass]) -> list[list[int]]:
    next_use: dict[int, int] = {}
    found = []
    for number, one in reversed(list(enumerate(sequence))):
        found.append([-next_use.get(expert, len(sequence)) for expert in one.last_use])
        next_use |= dict.fromkeys(one.last_use, number)
    return found[::-1]


# of two experts, the one of lower rank makes room
POLICIES = {"lru": _recency, "lfu": _frequency, "belady": _next_use}
