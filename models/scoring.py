"""What a router's scores mean: the scoring kinds, their distributions, and how they are told apart.

A kind is the function f from logits to scores for which the applied weights are proportional to
f(logits)[ids]. Entropy and confidence are those of f(logits) / sum f(logits) over all experts,
without selection biases and before any masking of expert groups. Entropies of different kinds are
never pooled.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

Scores = Callable[[torch.Tensor], torch.Tensor]

INFERRED: dict[str, Scores] = {
    "softmax": lambda logits: torch.softmax(logits, dim=-1),
    "sigmoid": torch.sigmoid,
    "sqrt_softplus": lambda logits: F.softplus(logits).sqrt(),
}
"""Kinds that the first batch can tell apart: logits [N, E] fp32 -> scores [N, E]."""

STATED: dict[str, Scores] = {
    # the second weight comes from a softmax without the first expert (arXiv:2409.12136)
    "sparsemixer": INFERRED["softmax"],
    # experts follow from the token id; the scores only weight them (DeepSeek-V4)
    "hash": INFERRED["sqrt_softplus"],
}
"""Kinds that weights alone do not reveal, and the scores whose entropy is taken."""

SCORING = INFERRED | STATED

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 4e-3}
"""Largest rounding error of a row's weights, which sum to one, computed in that precision."""

DISTINCT = 4.0
"""How many times worse the second best kind must fit, for the best to count as identified."""


def distribution(logits: torch.Tensor, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (entropy in nats, largest probability), each [N] fp32, of logits [N, E] of a kind.

    Always fp32 and always `entr`, which is 0 at 0: in fp16, p log(p + 1e-10) is NaN wherever a
    probability underflows. Where a logit is NaN or +infinity, entropy is NaN; -infinity marks
    an expert that cannot be chosen.
    """
    logits = logits.float()
    scores = SCORING[kind](logits)
    if kind not in ("softmax", "sparsemixer"):
        total = scores.sum(dim=-1, keepdim=True)
        if kind == "sigmoid":  # it turns infinity into an ordinary 1; 0 times infinity is NaN
            total = total + 0 * logits.amax(dim=-1, keepdim=True)
        scores = scores / total
    return torch.special.entr(scores).sum(dim=-1), scores.amax(dim=-1)


def fitting_kinds(logits: torch.Tensor, ids: torch.Tensor, weights: torch.Tensor) -> list[str]:
    """Return the inferred kinds that explain the weights, best first; a clear best one alone.

    With one weight per token there is nothing to be proportional to within the row. Then the
    weight must be f(logits)[id] times one constant of the layer, which reveals nothing where
    weights are normalised to 1.

    Args:
        logits: [N, E] fp32.
        ids: [N, k].
        weights: [N, k] as the experts receive them; their dtype sets the tolerance. Rows whose
            weights are all 0 have no shares and are left out.
    """
    tolerance = TOLERANCE.get(weights.dtype, 2e-2)
    used = weights.float().sum(dim=1) > 0
    ids, applied = ids[used].long(), weights[used].float()
    if not len(applied):
        return []
    errors = {
        kind: _error(score(logits[used].float()).gather(1, ids), applied)
        for kind, score in INFERRED.items()
    }
    ranked = sorted((kind for kind in errors if errors[kind] <= tolerance), key=errors.__getitem__)
    if len(ranked) > 1 and errors[ranked[1]] >= DISTINCT * max(errors[ranked[0]], 1e-7):
        return ranked[:1]
    return ranked


def _error(scores: torch.Tensor, applied: torch.Tensor) -> float:
    """Return the largest deviation of the weights from their share of the scores."""
    if applied.shape[1] > 1:
        expected = scores / scores.sum(dim=1, keepdim=True)
        return float((applied / applied.sum(dim=1, keepdim=True) - expected).abs().max())
    scale = (applied / scores).median()
    return float((applied / scale - scores).abs().max())


def sums_to_one(weights: torch.Tensor) -> bool:
    """Return whether each row of weights [N, k] sums to 1; False if there is no row."""
    apart = (weights.float().sum(dim=1) - 1).abs()
    return bool(len(apart)) and bool((apart <= TOLERANCE.get(weights.dtype, 2e-2)).all())
