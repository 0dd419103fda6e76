"""Policies that look routing up: by the token, by it and the one before, or by its place."""

from dataclasses import dataclass
from functools import cached_property

import torch

from gatehouse.models.replay.decisions import Decision, Replacement
from gatehouse.models.routers import RouterSite
from gatehouse.warehouse.errors import GatehouseError

NO_EXPERT = -1
"""The id in places of an entry beyond the top-k of its layer."""

SECOND = 2**32
"""Token ids and positions are below this: `records.EVENTS` holds them in 32 bits."""


@dataclass(frozen=True, eq=False)
class Entries:
    """Routing that is known before the model runs, R rows of it.

    Where layers differ in top-k, k is the largest, and the places beyond a layer's own hold
    NO_EXPERT and a weight of 0. So an entry is a rectangle, whatever the model.

    Attributes:
        ids: [R, MoE layers, k] integers, distinct in a row; a router's class that computes nothing
            has its own id, as in events.
        is_known: [R, MoE layers] booleans; other entries may hold anything.
        weights: [R, MoE layers, k] as blocks apply them, 0 for an expert that is not used; None for
            those that the router's own rule gives these ids in the running model.
    """

    ids: torch.Tensor
    is_known: torch.Tensor
    weights: torch.Tensor | None = None

    def check(self, sites: list[RouterSite]) -> None:
        """Refuse entries of other layers, other k, or experts that the model does not have."""
        shape = (len(sites), max(site.top_k for site in sites))
        parts = [self.ids] if self.weights is None else [self.ids, self.weights]
        rows = (len(self.ids), len(sites))
        if any(part.shape[1:] != shape for part in parts) or self.is_known.shape != rows:
            raise GatehouseError(
                f"the table holds {' x '.join(map(str, self.ids.shape[1:]))} (MoE layers x experts "
                f"a token), but the model has {' x '.join(map(str, shape))}: take the table from a "
                "run of this model"
            )
        for site in sites:
            known = self.ids[self.is_known[:, site.moe_index], site.moe_index]
            is_used = torch.arange(shape[1], device=known.device) < site.top_k
            if not ((known != NO_EXPERT) == is_used).all():
                raise GatehouseError(
                    f"the table has entries of MoE layer {site.moe_index} without exactly "
                    f"{site.top_k} experts first, as many as the model runs there: take the table "
                    "from a run of this model"
                )
            known = known[:, : site.top_k]
            if len(known) and not 0 <= int(known.min()) <= int(known.max()) < site.num_experts:
                raise GatehouseError(
                    f"the table names expert {int(known.max())} in MoE layer {site.moe_index}, but "
                    f"the model has 0 to {site.num_experts - 1}: take the table from a run of this "
                    "model"
                )

    def answer(self, decision: Decision, rows: torch.Tensor, found: torch.Tensor) -> Replacement:
        """Return the routing of one row for each token.

        Args:
            decision: of the router.
            rows: [T] integers below R, on the entries' device.
            found: [T] booleans, False where the token has no row.
        """
        if not len(self.ids):
            return decision.keep()
        moe_index, device = decision.moe_index, decision.ids.device
        known = (found & self.is_known[rows, moe_index]).to(device)
        top_k = decision.ids.shape[1]
        ids = self.ids[rows, moe_index, :top_k].to(device, decision.ids.dtype)
        if self.weights is not None:
            weights = self.weights[rows, moe_index, :top_k].to(device)
            return Replacement(ids, weights, known)
        if not known.any():
            return decision.keep()
        ids = torch.where(known.unsqueeze(1), ids, decision.ids)
        return Replacement(ids, decision.rule.weights_of(ids), known)


@dataclass(frozen=True, eq=False)
class TokenTable:
    """A lookup table: row t of the entries is the routing of token id t."""

    entries: Entries

    def check(self, sites: list[RouterSite]) -> None:
        """Refuse what `Entries.check` refuses."""
        self.entries.check(sites)

    def replace(self, decision: Decision) -> Replacement:
        """Return the entries of the token ids; ids beyond the table have none."""
        token_ids = decision.tokens.token_ids.to(self.entries.ids.device)
        rows = len(self.entries.ids)
        return self.entries.answer(decision, token_ids.clamp(max=rows - 1), token_ids < rows)

    def of_another_token(self, seed: int = 0) -> "TokenTable":
        """Return the control: in each layer, every known token has the entry of another one."""
        entries, generator = self.entries, torch.Generator().manual_seed(seed)
        sources = torch.arange(len(entries.ids)).unsqueeze(1).repeat(1, entries.ids.shape[1])
        is_known = entries.is_known.clone()
        for moe_index, known in enumerate(entries.is_known.cpu().unbind(1)):
            tokens = known.nonzero().squeeze(1)
            shuffled = tokens[torch.randperm(len(tokens), generator=generator)]
            # in a circle nobody meets themselves, unless they are alone
            sources[shuffled, moe_index] = shuffled.roll(1)
            if len(tokens) == 1:
                is_known[:, moe_index] = False
        sources = sources.to(entries.ids.device)
        layers = torch.arange(sources.shape[1], device=sources.device)
        weights = None if entries.weights is None else entries.weights[sources, layers]
        return TokenTable(Entries(entries.ids[sources, layers], is_known, weights))


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Entries for pairs of integers [R], no pair twice."""

    first: torch.Tensor
    second: torch.Tensor
    entries: Entries

    def check(self, sites: list[RouterSite]) -> None:
        """Refuse what `Entries.check` refuses."""
        self.entries.check(sites)

    @cached_property
    def _sorted(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Each pair as one integer, ascending, and the row that it had."""
        keys, rows = (self.first.long() * SECOND + self.second).sort()
        return keys, rows

    def _answer(self, decision: Decision, first: torch.Tensor, second: torch.Tensor) -> Replacement:
        """Return the entries of the tokens' pairs, each [T]."""
        keys, rows = self._sorted
        if not len(keys):
            return decision.keep()
        wanted = (first * SECOND + second).to(keys.device)
        places = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
        return self.entries.answer(decision, rows[places], keys[places] == wanted)


class BigramTable(_Pairs):
    """Routing by the token before, `first`, and the token, `second`.

    The first token of a window has no entry.
    """

    def replace(self, decision: Decision) -> Replacement:
        """Return the entries of each token and the one before it."""
        return self._answer(decision, decision.tokens.previous_ids, decision.tokens.token_ids)


class GivenRouting(_Pairs):
    """The routing that another run has for the same text, by sample `first`, position `second`."""

    def replace(self, decision: Decision) -> Replacement:
        """Return the entries of the tokens' places."""
        return self._answer(decision, decision.tokens.sample_ids, decision.tokens.positions)
