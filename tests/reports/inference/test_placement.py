"""Placements of experts on GPUs: the published example, and what holds for any loads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.reports.inference.placement import balanced, contiguous, shuffled
from gatehouse.warehouse.errors import GatehouseError

PUBLISHED = np.array(
    [
        [90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86],
        [20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27],
    ]
)
"""The loads of the example in EPLB's README: two layers of 12 experts."""


def test_the_published_example():
    found = balanced(PUBLISHED, replicas=16, gpus=8, nodes=2, groups=4)
    assert found.experts.tolist() == [
        [5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1],
        [7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1],
    ]
    # by hand: GPU 0 has 5, of two replicas, and 6; GPU 6 has the most, 0 and half of 1
    loads = found.gpu_loads(PUBLISHED)
    assert loads[0, 0] == 165 / 2 + 39
    assert loads[0].max() == loads[0, 6] == 90 + 132 / 2
    assert found.balance(PUBLISHED)[0] == PUBLISHED[0].sum() / 8 / (90 + 132 / 2)


@st.composite
def machines(draw):
    """Nodes, groups, GPUs, experts and replicas that divide each other, and loads."""
    nodes, groups_a_node = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    groups, gpus = nodes * groups_a_node, nodes * draw(st.integers(1, 3))
    num_experts = groups * draw(st.integers(1, 4))
    places = -(-num_experts // gpus) + draw(st.integers(0, 2))
    load = st.one_of(st.integers(0, 3), st.integers(0, 1000))
    layers = draw(st.integers(1, 2))
    row = st.lists(load, min_size=num_experts, max_size=num_experts)
    loads = np.array(draw(st.lists(row, min_size=layers, max_size=layers)))
    return loads, places * gpus, gpus, nodes, groups


@given(machine=machines())
@settings(max_examples=40)
def test_every_expert_has_a_place_and_every_place_an_expert(machine):
    loads, replicas, gpus, nodes, groups = machine
    shape = len(loads), loads.shape[1], replicas, gpus
    placements = [
        balanced(loads, replicas, gpus),
        balanced(loads, replicas, gpus, nodes, groups),
        contiguous(*shape),
        shuffled(*shape),
    ]
    for placement in placements:
        assert placement.experts.shape == (len(loads), replicas)
        assert placement.replicas.min() >= 1
        assert (placement.replicas.sum(axis=1) == replicas).all()
        np.testing.assert_allclose(placement.gpu_loads(loads).sum(axis=1), loads.sum(axis=1))
        assert ((placement.balance(loads) > 0) & (placement.balance(loads) < 1 + 1e-9)).all()


@given(machine=machines())
@settings(max_examples=40)
def test_a_group_stays_on_its_node(machine):
    loads, replicas, gpus, nodes, groups = machine
    found = balanced(loads, replicas, gpus, nodes, groups).experts
    group_of = found // (loads.shape[1] // groups)
    for layer in group_of.reshape(len(loads), nodes, -1):
        of_nodes = [set(node.tolist()) for node in layer]
        assert sum(map(len, of_nodes)) == groups == len(set.union(*of_nodes))


def test_balancing_is_better_than_numbers_and_chance():
    loads = np.random.default_rng(0).gamma(0.5, size=(20, 32))
    shape = 20, 32, 40, 8
    found = balanced(loads, 40, 8).balance(loads).mean()
    others = [
        contiguous(*shape),
        shuffled(*shape),
        balanced(loads, 32, 8),
        balanced(loads, 40, 8, 4, 8),
    ]
    for other in others:
        assert found > other.balance(loads).mean()
    # loads by window have the placement's layers
    windows = np.stack([loads, loads[:, ::-1], np.zeros_like(loads)])
    by_window = contiguous(*shape).balance(windows)
    assert by_window.shape == (3, 20) and (by_window[2] == 1).all()


def test_a_gpu_for_each_place_leaves_the_order():
    """As published: there is nothing to pack."""
    found = balanced(PUBLISHED, replicas=13, gpus=13).experts
    assert found.tolist() == [[*range(12), 10], [*range(12), 5]]


def test_without_groups_for_the_nodes_it_is_global():
    for groups in (1, 3):
        found = balanced(PUBLISHED, 16, 8, nodes=2, groups=groups)
        np.testing.assert_array_equal(found.experts, balanced(PUBLISHED, 16, 8).experts)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"replicas": 8, "gpus": 8}, "8 places are too few for 12 experts; give 12 or more"),
        ({"replicas": 15, "gpus": 8}, "8 GPUs cannot share 15 places equally; give 16 places"),
        ({"replicas": 16, "gpus": 0}, "0 GPUs hold no experts; give 1 or more"),
        ({"replicas": 16, "gpus": 8, "nodes": 0}, "0 nodes and 1 groups: give 1 or more of each"),
        ({"replicas": 15, "gpus": 5, "nodes": 2, "groups": 2}, "2 nodes cannot share 5 GPUs"),
        ({"replicas": 16, "gpus": 8, "groups": 5}, "12 experts cannot form 5 equal groups"),
    ],
)
def test_numbers_that_do_not_divide_are_refused(asked, message):
    with pytest.raises(GatehouseError, match=message):
        balanced(PUBLISHED, **asked)
