"""The shapes of events: what rounding to float16 may and may not do to a weight."""

import numpy as np
import torch

from gatehouse.models.events import to_host


def fields(weights: torch.Tensor) -> tuple[torch.Tensor, ...]:
    tokens, top_k = weights.shape
    experts = torch.arange(top_k).expand(tokens, top_k)
    return experts, weights, torch.ones(tokens), torch.full((tokens,), 0.5)


def test_a_weight_too_small_for_float16_is_not_mistaken_for_a_dropped_token():
    weights = torch.tensor([[1.0, 1e-9], [1.0, 0.0], [0.75, 0.25]])
    (routing,) = to_host([fields(weights)], [torch.arange(3)])
    assert ((routing.weights == 0) == (weights.numpy() == 0)).all()
    assert routing.weights[0, 1] == np.finfo(np.float16).smallest_subnormal
    assert (routing.weights[2] == [0.75, 0.25]).all()
