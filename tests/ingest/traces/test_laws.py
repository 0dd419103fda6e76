"""Every known bug of an engine, planted into routing that is right."""

import dataclasses

import numpy as np
import pytest

from gatehouse.ingest.traces.laws.fitted import fitted
from gatehouse.ingest.traces.sequence import Layout
from tests.ingest.traces.made_up_routing import (
    ALL_MOE,
    BLOCKS,
    DENSE_FIRST,
    EXPERTS,
    TOP_K,
    choices,
    routed,
)

TOKENS = 20


def with_dense_first(experts: np.ndarray) -> np.ndarray:
    """Return the layers of a model whose first is dense, as engines allocate them."""
    return np.concatenate([np.zeros_like(experts[:, :1]), experts], axis=1)


def test_what_is_right_is_kept_and_unordered_experts_are_by_id():
    experts = choices(TOKENS)
    found = fitted(routed(experts, domain="law", document="7"), ALL_MOE)
    assert found.experts.dtype == np.uint16 and found.token_ids.dtype == np.int32
    np.testing.assert_array_equal(found.experts, np.sort(experts, axis=2))
    assert (found.weights, found.entropy, found.confidence) == (None, None, None)
    assert (found.is_ordered, found.domain, found.document, found.notes) == (False, "law", "7", ())
    ordered = fitted(routed(experts, is_ordered=True), ALL_MOE)
    np.testing.assert_array_equal(ordered.experts, experts)
    assert ordered.is_ordered
    names = {"name": "\udcff", "domain": "\ud800", "document": "a\ud800b"}
    odd = fitted(dataclasses.replace(routed(experts), **names), ALL_MOE)
    assert (odd.name, odd.domain, odd.document) == ("\ufffd", "\ufffd", "a\ufffdb")


def test_dense_layers_are_left_out():
    experts = choices(TOKENS)
    found = fitted(routed(with_dense_first(experts), is_ordered=True), DENSE_FIRST)
    np.testing.assert_array_equal(found.experts, experts)
    found = fitted(routed(experts, is_ordered=True), DENSE_FIRST)
    np.testing.assert_array_equal(found.experts, experts)


def test_weights_of_dense_layers_are_not_looked_at():
    experts = with_dense_first(choices(TOKENS))
    weights = np.full(experts.shape, 0.25)
    weights[:, 0] = np.nan
    found = fitted(routed(experts, weights=weights), DENSE_FIRST)
    assert (found.weights == 0.25).all() and found.weights.shape == (TOKENS, BLOCKS, TOP_K)


def test_experts_follow_their_weights_and_ties_stay():
    experts = np.tile(np.array([5, 9, 2, 7], np.int32), (2, BLOCKS, 1))
    weights = np.tile(np.array([0.1, 0.4, 0.1, 0.4]), (2, BLOCKS, 1))
    found = fitted(routed(experts, weights=weights), ALL_MOE)
    np.testing.assert_array_equal(found.experts[1, 0], [9, 7, 5, 2])
    np.testing.assert_allclose(found.weights[1, 0], [0.4, 0.4, 0.1, 0.1])
    assert found.is_ordered and found.weights.dtype == np.float32


@pytest.mark.parametrize(
    ("ids", "kept", "prompt", "left"),
    [
        (range(20), range(20), 5, 5),  # a row for every token
        (range(21), range(20), 21, 20),  # none for the last
        (range(24), range(3, 23), 8, 5),  # `start` 3: none for the first three either
    ],
)
def test_rows_belong_to_the_last_tokens_but_the_very_last(ids, kept, prompt, left):
    sequence = routed(choices(TOKENS), token_ids=np.array(ids), prompt_tokens=prompt)
    found = fitted(sequence, ALL_MOE)
    assert (list(found.token_ids), found.prompt_tokens) == (list(kept), left)
    assert found.notes == (("its first 3 tokens have no rows",) if len(ids) == 24 else ())


def test_the_number_of_rows_is_that_of_the_tokens(refuses):
    experts = choices(TOKENS)
    with refuses("responses.jsonl:3 has 20 rows for 18 tokens", "draft tokens", "leave them out"):
        fitted(routed(experts, token_ids=np.arange(18)), ALL_MOE)
    # 30 tokens without rows cannot all be of a prompt of 5
    with refuses("has 20 rows", "5 of its 51 tokens", "lengths do not match"):
        fitted(routed(experts, token_ids=np.arange(51), prompt_tokens=5), ALL_MOE)
    with refuses("has 20 rows", "22 of its 21 tokens"):
        fitted(routed(experts, token_ids=None, prompt_tokens=22), ALL_MOE)


def test_a_preempted_request_has_no_routing(refuses):
    with refuses("responses.jsonl:3 has no routing", "preempted", "leave out the sequence"):
        fitted(routed(choices(0), token_ids=np.arange(9)), ALL_MOE)


def test_layers_are_all_or_those_with_experts(refuses):
    with refuses("has 4 layers where the model has 6 with experts, or 7 with the dense ones"):
        fitted(routed(choices(TOKENS, layers=4)), DENSE_FIRST)


def test_layers_that_vllm_021_shifted_to_the_front(refuses):
    experts = with_dense_first(choices(TOKENS))
    with refuses("none in its last 1 layer", "vLLM 0.21", "first_k_dense_replace", "leave out"):
        fitted(routed(np.roll(experts, -1, axis=1)), DENSE_FIRST)
    # what it asks for helps
    assert len(fitted(routed(np.roll(experts, -1, axis=1)[:, :-1]), DENSE_FIRST).experts) == TOKENS


def test_a_draft_model_that_overwrote_layer_0(refuses):
    experts = with_dense_first(choices(TOKENS))
    experts[:, 0] = choices(TOKENS, layers=1)[:, 0]
    with refuses("dense layer 0", "draft model", "#48622", "without speculative decoding"):
        fitted(routed(experts), DENSE_FIRST)


@pytest.mark.parametrize("layout", [ALL_MOE, Layout((1, 3), 4, (8, 8), (1, 1))])
def test_zeros_everywhere(refuses, layout):
    zeros = np.zeros((40, layout.num_blocks, layout.top_k[0]), np.int32)
    with refuses("only 0", "everywhere", "#33013", "#49184", "record again"):
        fitted(routed(zeros), layout)


def test_one_expert_a_token_may_be_expert_0(refuses):
    layout = Layout((1, 3), 4, (8, 8), (1, 1))
    experts = np.zeros((40, 4, 1), np.int32)
    experts[::2, 1] = 5
    assert fitted(routed(experts), layout).experts.shape == (40, 2, 1)
    experts[3, 3] = -1
    with refuses("only -1", "row 3 in layer 3"):
        fitted(routed(experts), layout)


def test_layers_of_another_pipeline_stage(refuses):
    experts = with_dense_first(choices(TOKENS))
    experts[:, 4:] = 0
    with refuses("in all of layers 4, 5, 6", "pipeline stage", "without pipeline parallelism"):
        fitted(routed(experts), DENSE_FIRST)


def test_rows_of_cached_tokens(refuses):
    experts = choices(TOKENS)
    experts[:6] = 0
    with refuses("of its first 6 tokens", "prefix cache", "switched off"):
        fitted(routed(experts), ALL_MOE)


@pytest.mark.parametrize(
    ("dtype", "filling", "num_experts"),
    [(np.int32, -1, 32), (np.uint8, 255, 255), (np.uint16, 65535, 256), (np.int64, 2**32 - 1, 32)],
)
def test_fillings_of_every_width(refuses, dtype, filling, num_experts):
    experts = choices(TOKENS).astype(dtype)
    experts[11, 2:] = filling
    layout = Layout(ALL_MOE.blocks, BLOCKS, (num_experts,) * BLOCKS, ALL_MOE.top_k)
    with refuses(f"only {filling} for experts in 4 places, the first at row 11 in layer 2"):
        fitted(routed(experts), layout)


def test_255_is_an_expert_of_256():
    experts = choices(TOKENS)
    experts[11, 2, 0] = 255
    layout = Layout(ALL_MOE.blocks, BLOCKS, (256,) * BLOCKS, ALL_MOE.top_k)
    assert fitted(routed(experts), layout).experts.max() == 255


def test_physical_ids(refuses):
    experts = choices(TOKENS, experts=EXPERTS + 8)
    with refuses("in layer", f"which has {EXPERTS}", "physical ids", "#49184", "--model"):
        fitted(routed(experts), ALL_MOE)


def test_an_expert_twice_in_a_row(refuses):
    experts = choices(TOKENS)
    experts[7, 3, 2] = experts[7, 3, 0]
    with refuses("an expert twice in 1 place, the first at row 7 in layer 3"):
        fitted(routed(experts), ALL_MOE)


def test_stale_rows(refuses):
    experts = choices(100)
    experts[21:88] = experts[20]
    with refuses("in 68 rows under different tokens, from row 20 to row 87", "#36404"):
        fitted(routed(experts), ALL_MOE)
    # the same token may well be routed alike, and up to 7 rows may be
    same = np.where((np.arange(101) >= 20) & (np.arange(101) < 88), 3, np.arange(101))
    assert len(fitted(routed(experts, token_ids=same), ALL_MOE).experts) == 100
    experts = choices(100)
    experts[21:27] = experts[20]
    assert len(fitted(routed(experts), ALL_MOE).experts) == 100


def test_of_a_small_model_only_a_run_of_rows_is_stale(refuses):
    layout = Layout((0, 1), 2, (4, 4), (1, 1))
    # 16 rows are possible, so each is there about 30 times
    experts = choices(500, layers=2, experts=4, k=1)
    assert len(fitted(routed(experts), layout).experts) == 500
    experts[100:110] = experts[100]
    with refuses("in 10 rows under different tokens"):
        fitted(routed(experts), layout)


def test_fewer_experts_a_token_than_the_config_says_are_said_and_more_refused(refuses):
    found = fitted(routed(choices(TOKENS, k=3)), ALL_MOE)
    assert found.experts.shape[2] == 3
    assert found.notes == ("it holds 3 experts a token where the model's config says 4",)
    with refuses("has 5 experts a token where the model chooses 4", "shared experts"):
        fitted(routed(choices(TOKENS, k=5)), ALL_MOE)


def test_weights_and_ids_that_cannot_be(refuses):
    experts = choices(TOKENS)
    weights = np.full(experts.shape, 0.25)
    with refuses("weights of the shape [20, 6, 3]"):
        fitted(routed(experts, weights=weights[..., :3]), ALL_MOE)
    for bad in (np.nan, np.inf, -0.5):
        weights[3, 2, 1] = bad
        with refuses("negative or not finite"):
            fitted(routed(experts, weights=weights), ALL_MOE)
    with refuses("experts of type float64"):
        fitted(routed(weights), ALL_MOE)
    with refuses("token ids"):
        fitted(routed(experts, token_ids=np.arange(-1, TOKENS)), ALL_MOE)


def logits_of(layers: int = BLOCKS) -> list[np.ndarray]:
    generator = np.random.default_rng(1)
    return [3 * generator.standard_normal((TOKENS, EXPERTS)).astype(np.float32)] * layers


def test_logits_give_everything():
    logits = logits_of()
    logits[2] = np.where(np.arange(EXPERTS) < 3, -np.inf, logits[2])
    nothing = np.empty((0, BLOCKS, TOP_K), int)
    found = fitted(routed(nothing, logits=logits, token_ids=None), ALL_MOE)
    for layer, scores in enumerate(logits):
        shares = np.exp(scores.astype(float))
        shares /= shares.sum(axis=1, keepdims=True)
        best = np.argsort(-shares, axis=1)[:, :TOP_K]
        np.testing.assert_array_equal(found.experts[:, layer], best)
        weights = np.take_along_axis(shares, best, 1)
        np.testing.assert_allclose(
            found.weights[:, layer], weights / weights.sum(axis=1, keepdims=True), rtol=1e-5
        )
        entropy = -np.sum(np.where(shares > 0, shares * np.log(shares + 1e-300), 0), axis=1)
        np.testing.assert_allclose(found.entropy[:, layer], entropy, rtol=1e-5)
        np.testing.assert_allclose(found.confidence[:, layer], shares.max(axis=1), rtol=1e-5)
    assert found.is_ordered and found.entropy.dtype == np.float32


def test_probabilities_are_taken_as_they_are():
    nothing = np.empty((0, BLOCKS, TOP_K), int)
    of_logits = fitted(routed(nothing, logits=logits_of(), token_ids=None), ALL_MOE, False)
    shares = [np.exp(layer) / np.exp(layer).sum(axis=1, keepdims=True) for layer in logits_of()]
    rounded = [layer.astype(np.float16) for layer in shares]
    for given, close in ((shares, 1e-5), (rounded, 1e-2)):
        found = fitted(routed(nothing, logits=given, token_ids=None), ALL_MOE, False)
        np.testing.assert_allclose(found.weights, of_logits.weights, rtol=close, atol=1e-3)
        np.testing.assert_allclose(found.entropy, of_logits.entropy, rtol=close)
    assert (of_logits.weights.sum(axis=2) < 1).all()


def test_logits_that_cannot_be(refuses):
    nothing = np.empty((0, BLOCKS, TOP_K), int)
    with refuses("router logits of 5 layers where the model has 6"):
        fitted(routed(nothing, logits=logits_of(5)), ALL_MOE)
    with refuses("shapes [(20, 32)]", "[(20, 64)]"):
        layout = Layout(ALL_MOE.blocks, BLOCKS, (64,) * BLOCKS, ALL_MOE.top_k)
        fitted(routed(nothing, logits=logits_of()), layout)
    logits = logits_of()
    logits[4] = np.where(np.arange(EXPERTS) == 3, np.nan, logits[4])
    with refuses("layer 4", "not finite"):
        fitted(routed(nothing, logits=logits), ALL_MOE)
