"""A tiny Mixtral with its head, and what it does untouched."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from gatehouse.models.batches import pad
from gatehouse.models.replay.policies import Untouched
from gatehouse.models.replay.replaying import Replay, Replayed
from gatehouse.models.zoo import LoadedModel, resolve
from gatehouse.warehouse.records import TokenWindow


@pytest.fixture(scope="session")
def loaded(tiny_mixtral) -> LoadedModel:
    return resolve(str(tiny_mixtral), dtype="float32").load(head=AutoModelForCausalLM)


@pytest.fixture(scope="session")
def windows() -> list[TokenWindow]:
    """Two documents of very different lengths, one of them in two windows."""
    generator = np.random.default_rng(3)
    starts = [(4, 0, 17), (4, 17, 6), (9, 0, 11)]
    return [
        TokenWindow(sample, start, generator.integers(3, 60, length).tolist())
        for sample, start, length in starts
    ]


@pytest.fixture(scope="session")
def untouched(loaded, windows) -> Replayed:
    with Replay(loaded.model, Untouched()) as replay:
        return replay.run(windows)


@pytest.fixture(scope="session")
def token_ids(windows) -> torch.Tensor:
    return torch.tensor([token for window in windows for token in window.token_ids])


@pytest.fixture
def logits_of(loaded, windows):
    """Run a policy; return what ran in each layer, and the logits of its tokens [T, E]."""

    def run(policy):
        logits, real = [], pad(windows)[1].flatten()
        with Replay(loaded.model, policy) as replay:
            handles = [
                site.router.register_forward_hook(
                    lambda module, inputs, output: logits.append(output[0][real])
                )
                for site in replay.sites
            ]
            layers = replay.run(windows).layers
            for handle in handles:
                handle.remove()
        return list(zip(layers, logits, strict=True))

    return run
