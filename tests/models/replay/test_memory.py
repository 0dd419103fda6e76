"""Logits that replays hold do not grow with the policies; parts that do not fit are halved."""

import weakref
from dataclasses import fields

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gatehouse.models.replay.measuring import Measured, measure
from gatehouse.models.replay.policies import DropBelow, OwnRouting, RandomDrop, RandomSets
from gatehouse.warehouse.errors import GatehouseError
from tests.models.families.observation import random_windows
from tests.models.test_batches import CPU, GPU, SmallDevice

POLICIES = {"random": RandomSets(), "dropped": RandomDrop(DropBelow(0.4))}
POSITIONS = 9


class Watched(TorchDispatchMode):
    """Counts tensors of logits that live at the same time.

    Args:
        vocabulary: tensors with so many columns are looked at.

    Attributes:
        most: the most rows that were held at once, of all of them together.
    """

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.most = 0
        self._vocabulary = vocabulary
        self._alive: list[weakref.ref] = []

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        output = function(*arguments, **(named or {}))
        for each in tree_leaves(output):
            if isinstance(each, torch.Tensor) and each.ndim and each.shape[-1] == self._vocabulary:
                self._alive.append(weakref.ref(each))
        self._alive = [each for each in self._alive if each() is not None]
        # views share their storage
        held = {each().untyped_storage().data_ptr(): each().numel() for each in self._alive}
        self.most = max(self.most, sum(held.values()) // self._vocabulary)
        return output


def test_logits_of_a_few_positions_are_held_however_many_policies(loaded, windows):
    """The untouched model's, another's, and what is computed of the two."""
    vocabulary = loaded.model.config.vocab_size
    most = []
    for count in (1, 10):
        policies = {str(seed): RandomSets(seed) for seed in range(count)}
        with Watched(vocabulary) as watched:
            list(measure(loaded, policies, [windows], POSITIONS * vocabulary))
        most.append(watched.most)
    predicted = sum(len(window.token_ids) - 1 for window in windows)
    assert 2 * POSITIONS <= most[0] == most[1] <= 6 * POSITIONS < 2 * predicted


def joined(parts: list[dict[str, Measured]], name: str) -> dict[str, np.ndarray]:
    """Return a policy's sums, of all documents in ascending order."""
    order = np.concatenate([part[name].sample_ids for part in parts]).argsort(kind="stable")
    return {
        field.name: np.concatenate([getattr(part[name], field.name) for part in parts])[order]
        for field in fields(Measured)
    }


@pytest.mark.parametrize("error", [GPU, CPU])
def test_out_of_memory_halves_the_part_and_gives_the_same_sums(loaded, error):
    batch = random_windows([40, 12, 33, 40, 7, 25, 40, 16])
    whole = list(measure(loaded, POLICIES, [batch]))
    device = SmallDevice(loaded.model, 130, error)
    try:
        parts = list(measure(loaded, POLICIES, [batch, batch[:4]]))
    finally:
        del loaded.model.forward
    # untouched and under two policies, and at once in what fits from then on
    assert device.sizes[:5] == [320, 160, 80, 80, 80]
    assert max(device.sizes[2:]) <= 80
    assert len(whole) == 1 and len(parts) > 4
    for name in POLICIES:
        expected, found = joined(whole, name), joined(parts[: len(parts) - 2], name)
        for field in expected:
            np.testing.assert_allclose(found[field], expected[field], rtol=1e-4, atol=1e-4)


def test_a_policy_that_runs_out_of_memory_has_the_whole_part_halved(loaded, windows):
    """What the untouched model gave of the whole part is not mixed with a half of it."""

    class Wide(RandomSets):
        def replace(self, decision):
            if len(decision.ids) > 30:
                raise GPU
            return super().replace(decision)

    parts = list(measure(loaded, {"own": OwnRouting(), "wide": Wide()}, [windows]))
    assert [part["wide"].rows.tolist() for part in parts] == [[17], [6], [11]]
    (expected,) = measure(loaded, {"wide": RandomSets()}, [windows])
    nll = [part["wide"].nll for part in parts]
    np.testing.assert_allclose([*(nll[0] + nll[1]), *nll[2]], expected["wide"].nll, rtol=1e-5)
    assert all(np.array_equal(part["own"].nll, part["own"].untouched_nll) for part in parts)


def test_one_sequence_that_does_not_fit_is_one_line(loaded):
    SmallDevice(loaded.model, 0, GPU)
    said = "^the GPU's memory does not hold one sequence of 30 tokens .*: use --max-length 15"
    try:
        with pytest.raises(GatehouseError, match=said):
            list(measure(loaded, POLICIES, [random_windows([30, 30])]))
    finally:
        del loaded.model.forward
