"""What policies cost: the loss of each document, beside that of the untouched model.

A token is predicted by the last hidden state of the token before it in its window, so the first of
a window counts nowhere. Sums are float64.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from gatehouse.models.batches import Memory, uniform
from gatehouse.models.replay.decisions import Policy
from gatehouse.models.replay.likelihoods import LOGITS_AT_ONCE, Head, Likelihoods
from gatehouse.models.replay.policies import Untouched
from gatehouse.models.replay.replaying import LayerReplay, Replay, Replayed
from gatehouse.models.zoo import LoadedModel
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.records import TokenWindow


@dataclass(frozen=True, eq=False)
class Measured:
    """Sums over the tokens of D documents, under one policy.

    Attributes:
        sample_ids: [D] int64, ascending; a document may be in other batches too.
        tokens: [D] int64, how many were predicted; the sums below are over these.
        nll: [D] float64, negative log-likelihood in nats.
        untouched_nll: [D] float64, that of the untouched model.
        kl: [D] float64, Kullback-Leibler divergence of the policy's distribution over the
            vocabulary from the untouched model's, KL(untouched || policy), in nats.
        same_top: [D] int64, where both find the same token the likeliest.
        rows: [D] int64, all tokens, which all layers route; the counts below are of these.
        covered: [D, MoE layers] int64, whose routing was replaced.
        agreed: [D, MoE layers] int64, of the covered ones those whose set of experts is the one
            that the router chose there.
        undisturbed: [D, MoE layers] int64, for which the router chose the set of the untouched
            model, replaced or not.
        experts_run: [D, MoE layers] int64, experts with a weight other than 0.
    """

    sample_ids: np.ndarray
    tokens: np.ndarray
    nll: np.ndarray
    untouched_nll: np.ndarray
    kl: np.ndarray
    same_top: np.ndarray
    rows: np.ndarray
    covered: np.ndarray
    agreed: np.ndarray
    undisturbed: np.ndarray
    experts_run: np.ndarray


def measure(
    loaded: LoadedModel,
    policies: Mapping[str, Policy],
    batches: Iterable[list[TokenWindow]],
    logits_at_once: int = LOGITS_AT_ONCE,
) -> Iterator[dict[str, Measured]]:
    """Yield what each policy costs in each part of the batches that ran at once.

    Every part runs untouched once, and once under each policy. Memory holds its last hidden states
    and what was counted from all of these runs, and logits for a few positions only.

    Args:
        loaded: with its head.
        policies: by any names.
        batches: windows; sequences that may not share a batch are run apart.
        logits_at_once: as for `Head`.

    Raises:
        GatehouseError: the model has no head, as for `Replay`, memory does not hold one sequence
            alone, or a likelihood is not finite.
    """
    head = Head(loaded, logits_at_once)
    untouched = Replay(loaded.model, Untouched())
    replays = {name: Replay(loaded.model, policy) for name, policy in policies.items()}
    memory = Memory(loaded.model)

    def work(windows: list[TokenWindow]) -> dict[str, Measured]:
        plain = _run(untouched, windows)
        sets = [layer.own_ids.sort(dim=1).values for layer in plain.layers]
        plain = replace(plain, layers=[])
        changed, counts = {}, {}
        for name, replay in replays.items():
            replayed = _run(replay, windows)
            # what layers routed is let go of at once: it is much more than what is counted
            counts[name] = _counts(sets, replayed.layers)
            changed[name] = replace(replayed, layers=[])
        return _measured(head, windows, plain, changed, counts)

    for group in (part for windows in batches for part in uniform(windows, untouched.batching)):
        for _, found in memory.run(group, work):
            yield found


def _run(replay: Replay, windows: list[TokenWindow]) -> Replayed:
    with replay:
        return replay.run(windows)


def _measured(
    head: Head,
    windows: list[TokenWindow],
    plain: Replayed,
    changed: dict[str, Replayed],
    counts: dict[str, dict[str, torch.Tensor]],
) -> dict[str, Measured]:
    """Return the sums of each document for every policy."""
    lengths = [len(window.token_ids) for window in windows]
    sample_ids, documents = np.unique([each.sample_id for each in windows], return_inverse=True)
    document = torch.from_numpy(np.repeat(documents, lengths))
    is_last = torch.zeros(len(document), dtype=torch.bool)
    is_last[torch.tensor(lengths).cumsum(0) - 1] = True
    token_ids = torch.cat([torch.tensor(list(window.token_ids)) for window in windows])
    rows, targets = (~is_last).nonzero().squeeze(1), token_ids.roll(-1)
    costs = _costs(head, plain, changed, rows, targets[rows])
    for name, fields in costs.items():
        _check_finite(name, sample_ids[document[rows]], fields)
    count = len(sample_ids)

    def summed(values: torch.Tensor, of: torch.Tensor = document) -> np.ndarray:
        whole = torch.float64 if values.is_floating_point() else torch.int64
        start = torch.zeros(count, *values.shape[1:], dtype=whole)
        return start.index_add_(0, of, values.cpu().to(whole)).numpy()

    predicting = document[rows]
    tokens = summed(torch.ones(len(rows), dtype=torch.int64), predicting)
    return {
        name: Measured(
            sample_ids,
            tokens,
            rows=summed(torch.ones(len(document), dtype=torch.int64)),
            **{field: summed(each, predicting) for field, each in costs[name].items()},
            **{field: summed(each) for field, each in counts[name].items()},
        )
        for name in changed
    }


def _check_finite(name: str, sample_ids: np.ndarray, costs: dict[str, torch.Tensor]) -> None:
    """Refuse likelihoods that are no numbers, [P] of the tokens of these samples."""
    for run, field in (("untouched", "untouched_nll"), (f"under {name}", "nll")):
        broken = ~costs[field].isfinite().cpu().numpy()
        if broken.any():
            raise GatehouseError(
                f"a token of sample {sample_ids[broken][0]} has a likelihood of 0 or NaN {run}: "
                "use a --dtype with more range (float32, bfloat16)"
            )


def _costs(
    head: Head,
    plain: Replayed,
    changed: dict[str, Replayed],
    rows: torch.Tensor,
    targets: torch.Tensor,
) -> dict[str, dict[str, torch.Tensor]]:
    """Return fields of `Measured`, each [P], for the tokens [P] that rows predict, by policy."""
    parts: dict[str, list[dict[str, torch.Tensor]]] = {name: [] for name in changed}
    # windows of one token predict nothing, and are one empty part
    for chunk, expected in zip(
        rows.split(head.positions), targets.split(head.positions), strict=True
    ):
        own = Likelihoods(head.log_probabilities(plain, chunk), expected)
        for name, replayed in changed.items():
            parts[name].append(own.beside(head.logits(replayed, chunk)))
    return {
        name: {field: torch.cat([chunk[field] for chunk in chunks]) for field in chunks[0]}
        for name, chunks in parts.items()
    }


def _counts(sets: list[torch.Tensor], layers: list[LayerReplay]) -> dict[str, torch.Tensor]:
    """Return fields of `Measured`, each [T, MoE layers].

    Args:
        sets: of each layer [T, k], the ids that the untouched model's router chose, ascending.
        layers: what was replaced.
    """
    fields: dict[str, list[torch.Tensor]] = {}
    for untouched, layer in zip(sets, layers, strict=True):
        own = layer.own_ids.sort(dim=1).values
        counts = {
            "covered": layer.is_replaced,
            "agreed": layer.is_replaced & (layer.ids.sort(dim=1).values == own).all(dim=1),
            "undisturbed": (untouched == own).all(dim=1),
            "experts_run": (layer.weights != 0).sum(dim=1),
        }
        for field, count in counts.items():
            fields.setdefault(field, []).append(count.to("cpu", torch.int32))
    return {field: torch.stack(counts, dim=1) for field, counts in fields.items()}
