"""What is checked for every family: all that was captured is compared with the model itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from gatehouse.models.batches import decoder_inputs, pad
from gatehouse.models.capture import RoutingTap, capture
from gatehouse.models.dialects import NAMED
from gatehouse.models.families import text_part
from gatehouse.models.routers import RouterSite
from tests.models.families.observation import (
    LENGTH,
    PROBABILITIES,
    WITHOUT_IDS,
    Observed,
    block_path,
    random_windows,
)

SCORES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "softmax": lambda logits: logits.exp(),
    "sparsemixer": lambda logits: logits.exp(),
    "sigmoid": lambda logits: 1 / (1 + (-logits).exp()),
    "sqrt_softplus": lambda logits: (1 + logits.exp()).log().sqrt(),
    "hash": lambda logits: (1 + logits.exp()).log().sqrt(),
}
"""Scores of a kind from float64 logits, up to a constant, written out independently."""

IDLE = {"zaya": 1, "longcat_flash": 2}
"""Classes at the end that compute nothing: skip, identity."""

LOGITS_WITHHELD = {
    "deepseek_v4": "without hash layers",
    "doge": "half keys",
}
"""Families whose `output_router_logits` is not the list of all routers' logits, and why."""


def plain_call(observed: Observed) -> tuple[nn.Module, dict[str, Any]]:
    """Return the module that text runs through, and its inputs for the windows."""
    token_ids, mask = pad(observed.windows)
    part = observed.model.get_submodule(text_part(observed.model))
    inputs = {"input_ids": token_ids, "attention_mask": mask.long(), "use_cache": False}
    return part, inputs | decoder_inputs(observed.model, token_ids, mask)[0]


def check_output_untouched(observed: Observed) -> None:
    """The tapped forward pass gives the plain one's output, bit for bit."""
    part, inputs = plain_call(observed)
    with torch.inference_mode():
        plain = part(**inputs).last_hidden_state
        with RoutingTap(observed.model):
            tapped = part(**inputs).last_hidden_state
    assert torch.isfinite(plain).all()
    assert torch.equal(plain, tapped)


def check_every_site(observed: Observed) -> None:
    """No module of a tapped class is left untapped, and every token has an event at every site."""
    tapped = {id(site.router) for site in observed.sites}
    classes = {type(site.router) for site in observed.sites} - {nn.Linear}
    part = observed.model.get_submodule(text_part(observed.model))
    for path, module in part.named_modules():
        if type(module) in classes and "vision" not in path:
            assert id(module) in tapped, f"{path} is not captured"
    tokens = sum(len(window.token_ids) for window in observed.windows)
    assert observed.events.num_rows == tokens * len(observed.sites)
    assert len(observed.logits) == len(observed.calls) == len(observed.sites) >= 2


def check_ids_are_the_experts_inputs(observed: Observed) -> None:
    """Ids and weights equal what the experts were called with, in descending weight."""
    for site, choice in zip(observed.sites, observed.choices):
        if observed.family in WITHOUT_IDS:
            continue
        assert choice is not None, f"{site.router_path}: its experts were never called"
        called, weights = map(observed.rows, choice)
        if observed.family == "switch_transformers":
            assert called.shape[1] == site.num_experts
            sent = called.sum(dim=1)
            assert 0 < (sent == 0).sum() < len(sent), "no token was dropped, or all were"
            weights = weights * sent[:, None]
            called = called.argmax(dim=1, keepdim=True)
        order = np.argsort(-weights.numpy(), axis=1, kind="stable")
        expected = np.take_along_axis(called.numpy(), order, axis=1)
        used = np.take_along_axis(weights.numpy(), order, axis=1)
        np.testing.assert_array_equal(observed.of(site, "weights"), used.astype(np.float16))
        ids = observed.of(site, "experts")
        np.testing.assert_array_equal(ids[used > 0], expected[used > 0])
        assert (np.diff(np.sort(ids, axis=1), axis=1) > 0).all(), "an expert twice in one event"


def check_distribution(observed: Observed) -> None:
    """Entropy and confidence equal a float64 recomputation from the router's own output."""
    kinds = observed.tap.layers()["scoring"].to_pylist()
    for site, kind, logits in zip(observed.sites, kinds, observed.logits):
        exact = observed.rows(logits).double()
        scores = SCORES[kind](exact)
        share = scores / scores.sum(dim=1, keepdim=True)
        entropy = -(share * share.clamp(min=1e-300).log()).sum(dim=1)
        np.testing.assert_allclose(observed.of(site, "entropy"), entropy.numpy(), atol=2e-5)
        np.testing.assert_allclose(
            observed.of(site, "confidence"), share.amax(dim=1).numpy(), atol=1e-5
        )


def check_output_router_logits(observed: Observed) -> str:
    """The model's own router logits, where it gives them, are those that were captured."""
    part, inputs = plain_call(observed)
    with torch.inference_mode():
        output = part(**inputs, output_router_logits=True)
    names = ("router_logits", "encoder_router_logits", "decoder_router_logits")
    given = [each for name in names for each in getattr(output, name, None) or ()]
    if not given:
        return "none"
    if observed.family in LOGITS_WITHHELD:
        assert [each.numel() for each in given] != [each.numel() for each in observed.logits]
        return LOGITS_WITHHELD[observed.family]
    assert len(given) == len(observed.logits)
    for own, logits in zip(given, observed.logits):
        own = own.log() if observed.family in PROBABILITIES else own
        assert torch.equal(own.reshape(logits.shape), logits)
    return "equal"


def check_causes(observed: Observed) -> None:
    """Noise on one expert changes exactly the rows that name it with a weight above 0."""
    for site, (arguments, named, output) in zip(observed.sites, observed.calls):
        block = observed.model.get_submodule(block_path(site))
        experts, weights = observed.of(site, "experts"), observed.of(site, "weights")
        reference = observed.rows(hidden_of(output))
        for expert in range(site.num_experts - IDLE.get(observed.family, 0)):
            named_rows = ((experts == expert) & (weights > 0)).any(axis=1)
            with torch.inference_mode(), perturbed(site, expert):
                again = observed.rows(hidden_of(block(*arguments, **named)))
            changed = (again != reference).any(dim=1).numpy()
            np.testing.assert_array_equal(
                changed, named_rows, f"{site.router_path}, expert {expert}"
            )
        with torch.inference_mode():
            assert torch.equal(observed.rows(hidden_of(block(*arguments, **named))), reference)


def hidden_of(output: Any) -> torch.Tensor:
    hidden = output[0] if isinstance(output, tuple) else output
    return hidden.reshape(-1, 32)


@contextmanager
def perturbed(site: RouterSite, expert: int) -> Iterator[None]:
    """Add noise to one expert's weights, and take it back."""
    if isinstance(site.experts, nn.ModuleDict):
        slices = list(site.experts[f"expert_{expert}"].parameters())
    else:
        slices = []
        # vectors inside the experts (norms) belong to all of them
        for parameter in (each for each in site.experts.parameters() if each.ndim > 1):
            whole = len(parameter) // site.num_experts
            size = whole if len(parameter) == whole * site.num_experts else 1
            slices.append(parameter[expert * size : (expert + 1) * size])
    before = [each.detach().clone() for each in slices]
    generator = torch.Generator().manual_seed(expert)
    with torch.no_grad():
        for each in slices:
            each += torch.randn(each.shape, generator=generator)
    yield
    with torch.no_grad():
        for each, value in zip(slices, before):
            each.copy_(value)


def check_padding(observed: Observed) -> None:
    """A short window's routing is the same beside a longer one as alone."""
    short, long, equal = random_windows([9, LENGTH, 9], seed=1)
    with RoutingTap(observed.model) as tap:
        alone = capture(tap, [[short]])
        beside = capture(tap, [[short, long, equal]]).filter(pa.compute.field("sample_id") == 0)
    for column in ("layer", "position", "token_id", "experts", "top_expert"):
        assert alone[column].to_pylist() == beside[column].to_pylist(), column
    for column in ("entropy", "confidence"):
        np.testing.assert_allclose(alone[column], beside[column], atol=2e-5)


def check_everything(observed: Observed) -> None:
    """Compare all that was captured with the model.

    Raises:
        AssertionError: it is not what the model did.
    """
    check_output_untouched(observed)
    check_every_site(observed)
    check_ids_are_the_experts_inputs(observed)
    check_distribution(observed)
    check_causes(observed)
    check_padding(observed)


def contract(family: str) -> str:
    """Return which contract the family follows, for the table."""
    return NAMED[family].__doc__.split(":")[0] if family in NAMED else "default"
