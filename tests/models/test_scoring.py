"""Scoring kinds are told apart by the weights they give, in any precision, or not at all."""

import math

import pytest
import torch

from gatehouse.models.scoring import INFERRED, SCORING, distribution, fitting_kinds, sums_to_one

ROWS, EXPERTS = 200, 16


def decision(kind: str, top_k: int, *, normalised: bool, scale: float = 1.0, spread: float = 2.0):
    generator = torch.Generator().manual_seed(top_k)
    logits = torch.randn(ROWS, EXPERTS, generator=generator) * spread
    weights, ids = INFERRED[kind](logits).topk(top_k, dim=1)
    if normalised:
        weights = weights / weights.sum(dim=1, keepdim=True)
    return logits, ids, weights * scale


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("top_k", [1, 2, 8])
@pytest.mark.parametrize("kind", INFERRED)
def test_the_kind_is_identified_from_raw_and_scaled_weights(kind, top_k, dtype):
    for scale in (1.0, 2.5):
        logits, ids, weights = decision(kind, top_k, normalised=False, scale=scale)
        assert fitting_kinds(logits, ids, weights.to(dtype))[:1] == [kind]


@pytest.mark.parametrize("kind", INFERRED)
def test_normalised_weights_tell_the_kind_unless_there_is_one(kind):
    assert fitting_kinds(*decision(kind, 4, normalised=True)) == [kind]
    assert fitting_kinds(*decision(kind, 1, normalised=True)) == []


def test_selection_by_a_bias_does_not_matter():
    logits, _, _ = decision("sigmoid", 2, normalised=False)
    ids = (torch.sigmoid(logits) + torch.linspace(0, 1, EXPERTS)).topk(2, dim=1).indices
    weights = torch.sigmoid(logits).gather(1, ids)
    assert fitting_kinds(logits, ids, weights) == ["sigmoid"]


def test_weights_of_no_known_kind_fit_nothing():
    logits, ids, weights = decision("softmax", 2, normalised=False)
    assert fitting_kinds(logits, ids, weights**2) == []
    assert fitting_kinds(logits, ids.flip(0), weights) == []


def test_kinds_that_cannot_be_told_apart_are_both_named():
    """Two experts of equal logits: every function gives one half each."""
    logits = torch.zeros(50, 2)
    ids = torch.tensor([[0, 1]]).expand(50, 2)
    assert set(fitting_kinds(logits, ids, torch.full((50, 2), 0.5))) == set(INFERRED)


def test_rows_without_weight_show_nothing():
    logits, ids, weights = decision("softmax", 1, normalised=False)
    weights[::3] = 0
    assert fitting_kinds(logits, ids, weights) == ["softmax"]
    assert fitting_kinds(logits, ids, torch.zeros_like(weights)) == []


@pytest.mark.parametrize("kind", SCORING)
def test_entropy_is_between_certainty_and_uniformity_and_equals_float64(kind):
    logits, _, _ = decision("softmax", 1, normalised=False, spread=8.0)
    entropy, confidence = distribution(logits.half(), kind)
    exact = SCORING[kind](logits.half().double())
    share = exact / exact.sum(dim=1, keepdim=True)
    expected = torch.special.entr(share).sum(dim=1)
    torch.testing.assert_close(entropy.double(), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(confidence.double(), share.amax(dim=1), atol=1e-5, rtol=0)
    assert (entropy >= 0).all() and (entropy <= math.log(EXPERTS) + 1e-5).all()
    uniform, _ = distribution(torch.zeros(1, EXPERTS), kind)
    assert uniform.item() == pytest.approx(math.log(EXPERTS))


@pytest.mark.parametrize("kind", SCORING)
def test_a_row_with_nan_or_infinity_has_no_entropy_and_others_keep_theirs(kind):
    logits, _, _ = decision("softmax", 1, normalised=False)
    sound, _ = distribution(logits, kind)
    for value in (math.nan, math.inf):
        damaged = logits.clone()
        damaged[7, 3] = value
        entropy, _ = distribution(damaged, kind)
        assert entropy.isnan().nonzero().flatten().tolist() == [7]
        assert torch.equal(entropy[torch.arange(ROWS) != 7], sound[torch.arange(ROWS) != 7])


@pytest.mark.parametrize("kind", SCORING)
def test_an_expert_at_minus_infinity_is_as_if_it_were_not_there(kind):
    """The experts of a masked group cannot be chosen, and that is not damage."""
    logits, _, _ = decision("softmax", 1, normalised=False)
    masked = torch.cat([logits, torch.full((ROWS, 4), -math.inf)], dim=1)
    for found, expected in zip(distribution(masked, kind), distribution(logits, kind)):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_weights_sum_to_one_or_not():
    assert sums_to_one(decision("softmax", 4, normalised=True)[2])
    assert sums_to_one(decision("softmax", 4, normalised=True)[2].bfloat16())
    assert not sums_to_one(decision("softmax", 4, normalised=False)[2])
    assert not sums_to_one(decision("sigmoid", 4, normalised=True, scale=2.5)[2])
    assert not sums_to_one(torch.empty(0, 4))
