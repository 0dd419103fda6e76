"""Hit rates of caches by size, how sure they are, and what they advise."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LOADING = ("lru", "lfu")
FILLED = ("static_train", "static_prompt")
USABLE = (*LOADING, *FILLED)
"""Policies that an engine can follow; the others know the text beforehand."""

LEAST_DOCUMENTS = 8
"""With fewer, the spread between documents is too poorly known for an interval."""

REPLICATES = 1_000
LEVEL = 0.95
ENDS = (1 - LEVEL) / 2, (1 + LEVEL) / 2


@dataclass(frozen=True)
class Rate:
    """A hit rate, and its 95 % interval over documents; low and high are None without one."""

    rate: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class CacheCurves:
    """What caches of each layer's own hit in a phase, by policy and number of slots.

    phase: prompt or generated.
    sizes: (sizes,) slots of each layer.
    num_experts: of the largest layer.
    accesses, hits: policy -> (documents,) and (documents, sizes), over all layers.
    """

    phase: str
    sizes: NDArray[np.integer]
    num_experts: int
    accesses: dict[str, Floats]
    hits: dict[str, Floats]

    @property
    def policies(self) -> list[str]:
        """The policies, those that an engine can follow first."""
        return [*self.usable, *sorted({*self.hits} - {*USABLE})]

    @property
    def usable(self) -> list[str]:
        """The policies that an engine can follow."""
        return [name for name in USABLE if name in self.hits]

    @property
    def documents(self) -> int:
        """How many documents were simulated."""
        return max(map(len, self.accesses.values()))

    def rates(self, policy: str) -> Floats:
        """Return (sizes,) hit rates."""
        rates: Floats = self.hits[policy].sum(axis=0) / self.accesses[policy].sum()
        return rates

    @cached_property
    def _replicates(self) -> dict[str, Floats]:
        """Policy -> (replicates, sizes) hit rates of documents drawn with repetition.

        All policies that serve the same documents see the same draws. Source: Efron & Tibshirani
        (1993), An introduction to the bootstrap: the ratio of two sums.
        """
        found = {}
        for policy, accesses in self.accesses.items():
            random = np.random.default_rng(0)
            documents = len(accesses)
            drawn = random.multinomial(documents, np.full(documents, 1 / documents), REPLICATES)
            found[policy] = (drawn @ self.hits[policy]) / (drawn @ accesses)[:, None]
        return found

    def rate(self, policy: str, place: int) -> Rate:
        """Return the hit rate at one of the sizes, by its place among them."""
        rate = float(self.rates(policy)[place])
        if len(self.accesses[policy]) < LEAST_DOCUMENTS:
            return Rate(rate, None, None)
        return Rate(rate, *self._bounds(self._replicates[policy][:, place]))

    def band(self, policy: str) -> tuple[Floats, Floats] | None:
        """Return (sizes,) ends of the intervals of a policy's hit rates; None without one."""
        if len(self.accesses[policy]) < LEAST_DOCUMENTS:
            return None
        low, high = np.quantile(self._replicates[policy], ENDS, axis=0)
        return low, high

    def ahead(self, policy: str, other: str, place: int) -> Rate | None:
        """Return by how much a policy hits more than another; None if over other documents."""
        if not np.array_equal(self.accesses[policy], self.accesses[other]):
            return None
        difference = float(self.rates(policy)[place] - self.rates(other)[place])
        if len(self.accesses[policy]) < LEAST_DOCUMENTS:
            return Rate(difference, None, None)
        values = self._replicates[policy][:, place] - self._replicates[other][:, place]
        return Rate(difference, *self._bounds(values))

    def place_of(self, slots: int) -> int:
        """Return the place of the largest simulated size that so many slots have room for."""
        return max(int(np.searchsorted(self.sizes, slots, side="right")) - 1, 0)

    def chance(self, place: int) -> float:
        """Return what a cache filled once hits if every token chooses its experts at random."""
        return float(self.chances[place])

    def best(self, policies: Iterable[str], place: int) -> str:
        """Return the policy that hits most at a size."""
        return max(policies, key=lambda policy: float(self.rates(policy)[place]))

    @property
    def chances(self) -> Floats:
        """Return (sizes,) what a cache filled once hits if experts are chosen at random."""
        return np.asarray(self.sizes / self.num_experts, np.float64)

    @cached_property
    def most_telling(self) -> int:
        """The place of the size at which the best usable policy gains most over chance."""
        gain = np.max([self.rates(policy) for policy in self.usable], axis=0) - self.chances
        # with all experts loaded there is nothing left to gain
        return int(np.argmax(gain[:-1])) if len(gain) > 1 else 0

    @staticmethod
    def _bounds(values: Floats) -> tuple[float, float]:
        low, high = np.quantile(values, ENDS)
        return float(low), float(high)


def cache_curves(documents: pd.DataFrame, num_experts: int) -> list[CacheCurves]:
    """Return the curves of each phase.

    Args:
        documents: `reports.marts.caches.cached_documents`.
        num_experts: of the largest layer.
    """
    found = []
    for phase, of_phase in documents.groupby("phase", sort=False):
        sizes = np.sort(of_phase["slots"].unique())
        accesses, hits = {}, {}
        for policy, of_policy in of_phase.groupby("policy"):
            table = of_policy.pivot(index="document", columns="slots", values="hits")
            hits[str(policy)] = table[sizes].to_numpy(np.float64)
            counts = of_policy.groupby("document")["accesses"].max()
            accesses[str(policy)] = counts.loc[table.index].to_numpy(np.float64)
        found.append(CacheCurves(str(phase), sizes, num_experts, accesses, hits))
    return found


def cliff(shared: pd.DataFrame) -> int | None:
    """Return the smallest LRU cache for all layers that hits as often as chance; None if none does.

    A smaller one loses every expert before its layer comes again: this is the working set.

    Args:
        shared: `reports.marts.caches.shared_caches` of one phase.
    """
    lru = shared[shared["policy"] == "lru"]
    reached = lru[(lru["hit_rate"] >= lru["chance_hit_rate"]) & (lru["hits"] > 0)]
    # with room for all, every cache hits
    smallest = reached["slots"].min() if len(reached) else None
    return None if smallest is None or smallest >= lru["slots"].max() else int(smallest)
