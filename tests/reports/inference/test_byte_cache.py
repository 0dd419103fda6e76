"""An engine's cache: by hand, and where it is the same as slots."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.reports.inference import expert_cache
from gatehouse.reports.inference.accesses import through_layers
from gatehouse.reports.inference.byte_cache import POLICIES, UNROUTED, passes, serve


@pytest.mark.parametrize("policy", POLICIES)
@given(data=st.data())
@settings(max_examples=60)
def test_experts_of_one_size_asked_for_one_by_one_have_slots(policy, data):
    layers, num_experts = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 4))
    expert = st.integers(0, num_experts - 1)
    token = st.lists(expert, min_size=layers, max_size=layers)
    document = np.array(data.draw(st.lists(token, min_size=1, max_size=12)))[..., None]
    accesses = through_layers([document], num_experts)
    hits = expert_cache.hits(accesses, getattr(expert_cache, policy)(accesses))[0]
    slots = range(1, layers * num_experts + 1)
    sizes = np.full(layers * num_experts, 10)
    served = serve(passes(document, 0, num_experts), policy, [10 * n + 5 for n in slots], sizes)
    assert [one.generated_hits for one in served] == hits[1:].tolist()
    for one in served:
        assert (one.prompt_accesses, one.generated_accesses) == (0, document.size)
        assert one.bytes_read == 10 * (document.size - one.generated_hits)


def test_a_prompt_is_one_pass_of_each_layer():
    """Three tokens of the prompt, of which the last layer runs one, and two that follow."""
    document = np.array(
        [
            [[0, 1], [UNROUTED, UNROUTED]],
            [[2, 0], [UNROUTED, UNROUTED]],
            [[1, 2], [0, 3]],
            [[1, 0], [3, 2]],
            [[2, 3], [2, 3]],
        ]
    )
    sequence = passes(document, prompt_tokens=3, num_experts=4)
    assert [list(one.last_use) for one in sequence] == [
        [0, 1, 2], [4, 7], [1, 0], [7, 6], [2, 3], [6, 7]
    ]  # fmt: skip
    # in the layer's order of tokens, 0 was used last by the second
    assert sequence[0].last_use == {0: 3, 1: 4, 2: 5}
    sizes = np.full(8, 1)
    served = {policy: serve(sequence, policy, [3, 8], sizes) for policy in POLICIES}
    for few, all_of_them in served.values():
        assert (few.prompt_accesses, few.prompt_hits, few.generated_accesses) == (5, 0, 8)
        assert (all_of_them.generated_hits, all_of_them.bytes_read) == (6, 7)
    # what three bytes hold after each pass but the first and the last
    # lru:    2 4 7, then 7 1 0, then 0 7 6, then 6 2 3: it had 7, then 6
    # lfu:    2 4 7, then 7 1 0, then 0 7 6, then 7 2 3: it had 7 twice
    # belady: 1 4 7, then 1 7 0, then 7 0 6, then 6 2 3: it had 1, 7, and 6
    found = {policy: few.generated_hits for policy, (few, _) in served.items()}
    assert found == {"lru": 2, "lfu": 2, "belady": 3}


@pytest.mark.parametrize("policy", POLICIES)
def test_what_a_pass_uses_stays_until_the_next(policy):
    document = np.array([[[0, 1]], [[1, 0]], [[2, 3]], [[0, 1]]])
    (served,) = serve(passes(document, 0, 4), policy, [0], np.full(4, 10))
    assert (served.generated_hits, served.bytes_read) == (2, 60)
