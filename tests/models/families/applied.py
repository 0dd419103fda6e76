"""What a block does with the sum of its experts' outputs: what no weight shows."""

import torch

from tests.models.families.examination import hidden_of
from tests.models.families.observation import WITHOUT_IDS, Observed, block_path


def after_the_experts(observed: Observed) -> str:
    """Return what the last block does to its experts' sum, found by doubling that sum.

    "nothing" if the block's output then grows by the sum itself, "times F" by F times the sum, and
    "not linear" or "projected" otherwise; "-" where the experts get no weights.

    Raises:
        AssertionError: doubling the weights is not the same, so they do not multiply outputs.
    """
    if observed.family in WITHOUT_IDS:
        return "-"
    plain, total = _run(observed, factor=1.0, of_weights=False)
    doubled, _ = _run(observed, factor=2.0, of_weights=False)
    by_weight, _ = _run(observed, factor=2.0, of_weights=True)
    torch.testing.assert_close(by_weight, doubled)
    grown = doubled - plain
    if total.shape != grown.shape:
        return "projected"
    factor = float((grown * total).sum() / total.square().sum())
    if (grown - factor * total).norm() > 1e-3 * grown.norm():
        return "not linear"
    return "nothing" if abs(factor - 1) < 1e-3 else f"times {factor:.3g}"


def _run(
    observed: Observed, *, factor: float, of_weights: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (output of the last block, sum of its experts), the weights or the sum multiplied."""
    site, (arguments, named, _) = observed.sites[-1], observed.calls[-1]
    block = observed.model.get_submodule(block_path(site))
    forward, sums = site.experts.forward, []

    def multiplied(hidden: torch.Tensor, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        sums.append(forward(hidden, ids, weights * (factor if of_weights else 1.0)))
        return sums[0] * (1.0 if of_weights else factor)

    site.experts.forward = multiplied
    try:
        with torch.inference_mode():
            output = hidden_of(block(*arguments, **named))
    finally:
        site.experts.forward = forward
    return output, sums[0].reshape(-1, sums[0].shape[-1])
