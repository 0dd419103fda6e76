"""What follows from a router's scores: the experts, their weights, and the distribution."""

from dataclasses import dataclass

import numpy as np

from gatehouse.ingest.traces.laws.required import ANOTHER_MODEL, require
from gatehouse.ingest.traces.sequence import Layout
from gatehouse.warehouse.plain_text import counted

ROUNDED_SUM = 1e-2
"""Probabilities that were saved in 16 bits sum to 1 within this."""

FAR = 1e4
"""The exponential of minus this is 0."""


@dataclass(frozen=True)
class Scored:
    """What router logits tell of T tokens in L layers; k experts in descending weight.

    Attributes:
        experts: [T, L, k] ids.
        weights: [T, L, k] float32.
        entropy: [T, L] float32, nats.
        confidence: [T, L] float32, the largest probability.
        of_probabilities: whether the scores were probabilities, in every layer.
    """

    experts: np.ndarray
    weights: np.ndarray
    entropy: np.ndarray
    confidence: np.ndarray
    of_probabilities: bool


def scored(name: str, logits: list[np.ndarray], layout: Layout, renormalised: bool) -> Scored:
    """Return what follows from the logits of each MoE layer, or from its probabilities.

    Args:
        name: of the sequence, for people.
        logits: [T, E] of each layer: finite floats, or -infinity for an expert that cannot be
            chosen. Rows that are not negative and sum to 1 are probabilities, and taken as such.
        layout: of the model; its top-k experts are chosen.
        renormalised: whether the weights of the chosen experts are divided by their sum.

    Raises:
        GatehouseError: layers, experts or tokens are not the model's, or a logit is not finite.
    """
    _check(name, logits, layout)
    are_probabilities = [_are_probabilities(layer) for layer in logits]
    layers = [
        _of_layer(layer, are, layout.top_k[0], renormalised)
        for layer, are in zip(logits, are_probabilities, strict=True)
    ]
    experts, weights, entropy, confidence = (
        np.stack(each, axis=1) for each in zip(*layers, strict=True)
    )
    return Scored(experts, weights, entropy, confidence, all(are_probabilities))


def _are_probabilities(scores: np.ndarray) -> bool:
    sums = scores.sum(axis=1, dtype=np.float64)
    return bool((scores >= 0).all() and (np.abs(sums - 1) <= ROUNDED_SUM).all())


def _check(name: str, logits: list[np.ndarray], layout: Layout) -> None:
    require(
        len(logits) == len(layout.blocks),
        f"{name} has router logits of {counted(len(logits), 'layer')} where the model has "
        f"{len(layout.blocks)} with experts: dense layers are among them, or it is another model",
        f"leave out dense layers, or {ANOTHER_MODEL}",
    )
    shapes = [layer.shape for layer in logits]
    expected = [(len(logits[0]), number) for number in layout.num_experts]
    require(
        shapes == expected and len(logits[0]) > 0,
        f"{name} has router logits of the shapes {sorted(set(shapes))}, not of one row for each "
        f"token and a column for each expert: {sorted(set(expected))}",
        f"write [tokens, experts] for each layer, or {ANOTHER_MODEL}",
    )
    require(
        len(set(layout.top_k)) == 1,
        f"{name} has router logits of layers that choose {min(layout.top_k)} to "
        f"{max(layout.top_k)} experts",
        "write those that were chosen in place of logits",
    )
    for block, layer in zip(layout.blocks, logits, strict=True):
        is_score = np.isfinite(layer) | np.isneginf(layer)
        can_choose = np.isfinite(layer).sum(axis=1) >= layout.top_k[0]
        require(
            bool(is_score.all() and can_choose.all()),
            f"{name} has router logits in layer {block} that are not finite",
            "save them as float32, without the rows of padding",
        )


def _of_layer(
    logits: np.ndarray, are_probabilities: bool, top_k: int, renormalised: bool
) -> tuple[np.ndarray, ...]:
    """Return (experts [T, k], weights [T, k], entropy [T], confidence [T])."""
    shares, entropy = _distribution(logits, are_probabilities)
    # of the logits: probabilities that underflow would tie
    chosen = np.argpartition(-logits, top_k - 1, axis=1)[:, :top_k]
    chosen.sort(axis=1)
    by_rank = np.argsort(-np.take_along_axis(logits, chosen, 1), axis=1, kind="stable")
    chosen = np.take_along_axis(chosen, by_rank, 1)
    weights = np.take_along_axis(shares, chosen, 1)
    if renormalised:
        weights = weights / weights.sum(axis=1, keepdims=True)
    found = weights, entropy, shares.max(axis=1)
    return chosen, *(each.astype(np.float32) for each in found)


def _distribution(logits: np.ndarray, are_probabilities: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return (probabilities [T, E] that sum to 1, entropy [T] in nats), both float64."""
    scores = logits.astype(np.float64)
    if are_probabilities:
        scores = np.log(scores, out=np.full_like(scores, -np.inf), where=scores > 0)
    # of this size instead of -infinity, which 0 could not be multiplied with
    scores = np.maximum(scores - scores.max(axis=1, keepdims=True), -FAR)
    shares = np.exp(scores)
    total = shares.sum(axis=1, keepdims=True)
    shares /= total
    entropy = np.log(total[:, 0]) - np.einsum("te,te->t", shares, scores)
    return shares, np.maximum(entropy, 0)
