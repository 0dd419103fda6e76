"""Sentences on caches of experts: what to take, domains apart, and the working set."""

from dataclasses import dataclass

import pandas as pd

from gatehouse.reports.inference.cache_curve import (
    LEAST_DOCUMENTS,
    CacheCurves,
    Rate,
    cliff,
)
from gatehouse.warehouse.plain_text import counted, first_few

GIGABYTE, MEGABYTE = 1e9, 1e6
MOST_DOMAINS = 5
WORDS = {
    "lru": "least recently used (lru)",
    "lfu": "least often used (lfu)",
    "static_train": "filled once with the train split's most used experts (static_train)",
    "static_prompt": "filled once with the prompt's most used experts (static_prompt)",
}


NAMES = {
    "lru": "LRU",
    "lfu": "LFU",
    "static_train": "filled from train",
    "static_prompt": "filled from the prompt",
    "belady": "Belady",
}
"""Policies as charts call them."""


PHASES = {"prompt": "text that was given", "generated": "generated text"}


@dataclass(frozen=True)
class Experts:
    """The experts of a run: layers, how many each has and selects, bytes of them all, if known."""

    layers: int
    num_experts: int
    top_k: int
    all_bytes: float | None

    @property
    def slot_bytes(self) -> float | None:
        """Bytes of one slot in the cache of every layer."""
        return None if self.all_bytes is None else self.all_bytes / self.num_experts


def experts_of(layers: pd.DataFrame) -> Experts:
    """Return the experts of a run's MoE layers.

    Args:
        layers: `reports.marts.layers`.
    """
    sizes = pd.to_numeric(layers["expert_bytes"]) * layers["num_experts"]
    return Experts(
        layers=len(layers),
        num_experts=int(layers["num_experts"].max()),
        top_k=int(layers["top_k"].max()),
        all_bytes=None if sizes.isna().any() else float(sizes.sum()),
    )


def memory(number: float) -> str:
    """Return bytes in GB or MB, of 10^9 and 10^6."""
    if number >= GIGABYTE:
        return f"{number / GIGABYTE:,.3g} GB"
    return f"{number / MEGABYTE:,.3g} MB"


def advice(
    curves: CacheCurves, experts: Experts, place: int, slots: int | None, policy: str | None
) -> str:
    """Return what to take: which policy, at which size, or that there is nothing to exploit."""
    usable = curves.usable
    best = policy or curves.best(usable, place)
    rate, chance = curves.rate(best, place), curves.chance(place)
    simulated = int(curves.sizes[place])
    at = f"{counted(simulated, 'slot')} a layer"
    if experts.slot_bytes:
        at += f" ({memory(simulated * experts.slot_bytes)})"
    rounded = (
        f"Of up to {slots} slots, {simulated} are the most that were simulated. "
        if slots not in (None, simulated)
        else ""
    )
    found = f"{_percent(rate)} of the experts that tokens ask for"
    unsure = (
        f" With fewer than {LEAST_DOCUMENTS} documents there is no saying how sure this is."
        if rate.low is None
        else ""
    )
    if simulated == experts.num_experts:
        return f"{rounded}With {at} every expert is loaded, and a cache has nothing to choose."
    if rate.rate <= chance or (rate.low is not None and rate.low <= chance):
        return (
            f"{rounded}No exploitable hot set at {at}: {WORDS.get(best, best)} finds {found}, and "
            f"a cache filled at random {chance:.1%}.{unsure}"
        )
    misses = (1 - rate.rate) * experts.top_k * experts.layers
    loads = f"{misses:,.3g} experts"
    if experts.slot_bytes:
        loads += f" ({memory(misses * experts.slot_bytes / experts.layers)})"
    take = f"take {WORDS[best]}: it" if best in WORDS else f"{best}, which foresees the text,"
    optimum = float(curves.rates("belady")[place])
    beside = f"a cache filled at random {chance:.1%}"
    if optimum > rate.rate:
        beside += f", and the best that loads what it lacks (belady) {optimum:.1%}"
    return (
        f"{rounded}At {at} {take} finds {found}, {beside}; a token then loads {loads}."
        f"{_as_good(curves, best, usable, place, policy)}{unsure}"
    )


def _as_good(
    curves: CacheCurves, best: str, usable: list[str], place: int, policy: str | None
) -> str:
    """Return a sentence on policies that find more, or are not surely worse than the best one."""
    if policy:
        better = curves.best(usable, place)
        more = float(curves.rates(better)[place])
        found = float(curves.rates(policy)[place])
        return f" More is found by {better}: {more:.1%}." if more > found else ""
    ties = []
    for other in usable:
        ahead = curves.ahead(best, other, place) if other != best else None
        if ahead and ahead.low is not None and ahead.low <= 0:
            ties.append(other)
    return f" Within the interval as good: {', '.join(ties)}." if ties else ""


def most_telling(curves: CacheCurves, shared: pd.DataFrame, experts: Experts) -> list[str]:
    """Return the advice at the most telling size, and what one cache for all layers needs.

    Args:
        curves: of a phase.
        shared: `reports.marts.caches.shared_caches`.
        experts: of the run.
    """
    return [
        advice(curves, experts, curves.most_telling, None, None),
        working_set(shared[shared["phase"] == curves.phase], experts),
    ]


def domains(
    documents: pd.DataFrame,
    transfers: pd.DataFrame | None,
    curves: CacheCurves,
    place: int,
    policy: str | None,
) -> list[str]:
    """Return sentences on domains, each served alone and, of all phases, by another's experts."""
    is_here = (documents["phase"] == curves.phase) & (documents["slots"] == curves.sizes[place])
    shown = policy or "lru"
    apart = documents[is_here & (documents["policy"] == shown)].dropna(subset="hits_in_domain")
    lines = []
    if apart["domain"].nunique() > 1:
        sums = apart.groupby("domain")[["hits_in_domain", "accesses"]].sum()
        rates = (sums["hits_in_domain"] / sums["accesses"]).sort_values(ascending=False)
        told = [f"{domain} {rate:.1%}" for domain, rate in rates.items()]
        lines.append(f"{shown} with one domain alone: {first_few(told, MOST_DOMAINS)}.")
    if transfers is None:
        return lines
    at_size = transfers[transfers["slots"] == curves.sizes[place]]
    table = at_size.pivot(index="profile_domain", columns="domain", values="hit_rate")
    if len(table) > 1:
        own = pd.Series({domain: table.loc[domain, domain] for domain in table.index})
        lost = own - table
        profile, domain = lost.stack().idxmax()
        if lost.loc[profile, domain] <= 0:
            return lines
        lines.append(
            f"Filled once from another domain, all phases: {domain} finds "
            f"{table.loc[profile, domain]:.1%} with what {profile} uses most, and "
            f"{own[domain]:.1%} with its own; no other pair differs more."
        )
    return lines


def _percent(rate: Rate) -> str:
    if rate.low is None or rate.high is None:
        return f"{rate.rate:.1%}"
    return f"{rate.rate:.1%} (95% {rate.low:.1%} to {rate.high:.1%})"


def working_set(shared: pd.DataFrame, experts: Experts) -> str:
    """Return a sentence on one LRU cache for all layers: below the working set it is of no use."""
    smallest, of_all = cliff(shared), experts.layers * experts.num_experts
    token = experts.layers * experts.top_k
    if smallest is None:
        return (
            "One lru cache for all layers finds less than one filled at random at every size that "
            f"was simulated, short of all: a token alone uses {token} of the {of_all} experts."
        )
    taking = ""
    if experts.all_bytes is not None:
        taking = f" ({memory(smallest * experts.all_bytes / of_all)})"
    return (
        f"Working set: one lru cache for all layers needs {smallest} of {of_all} slots{taking} to "
        f"find as much as one filled at random; a token alone uses {token}."
    )
