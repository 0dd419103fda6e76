"""Find a model's routers.

Sites are found in the modules, never in config fields, where a dozen different names govern which
layers are MoE. A block is an MoE layer when it holds a router beside its experts; `models.readers`
knows how to read the two.
"""

import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import groupby

from torch import nn

from gatehouse.models.dialects import NAMED
from gatehouse.models.families import family_of, stated_scoring, text_part
from gatehouse.models.readers import Reader, UnreadableRouter
from gatehouse.models.remote import ExpertList
from gatehouse.warehouse.errors import GatehouseError

ROUTER_NAMES = ("gate", "router", "router_gate")
EXPERTS_NAMES = (("experts",), ("input_linear", "output_linear"), ("down_embed", "up_embed"))
OTHER_MODALITY = re.compile(r"(^|[._])(vision|visual|image|audio|talker|code2wav)")
"""Paths of modules that text does not pass through, in models of several modalities."""


@dataclass(frozen=True)
class RouterSite:
    """One MoE layer of a model.

    Attributes:
        layer: the block's index in the model; where that is not unique (two stacks, two MoE
            layers in a block, blocks that run more than once), the running number of the MoE
            layer.
        block: the block's index in its stack.
        moe_index: the running number of the MoE layer.
        stack: encoder or decoder.
        router_path: the router's name in the model.
        num_experts: classes of the router, including those that compute nothing (skip, identity).
        top_k: experts per token.
        scoring: a kind of `models.scoring` where it is known before anything runs.
        family: the folder in transformers that the block comes from.
        router, experts: the modules; experts holds all the experts' parameters.
        reader: how to read the router.
        passes: how often the block runs in a forward pass; each time is an MoE layer.
        turn: which of these this layer is.
    """

    layer: int
    block: int
    moe_index: int
    stack: str
    router_path: str
    num_experts: int
    top_k: int
    scoring: str | None
    family: str | None
    router: nn.Module
    experts: nn.Module
    reader: Reader
    passes: int
    turn: int = 0


def find_sites(model: nn.Module) -> list[RouterSite]:
    """Return the model's MoE layers in the order they run, text routers only.

    Raises:
        GatehouseError: the model has none, or has a router that states no number of experts or an
            impossible one.
    """
    sites = _as_they_run([_site(model, path, block) for path, block in _blocks(model)])
    if not sites:
        raise GatehouseError(
            f"{type(model).__name__} has no MoE layers: Gatehouse reads the routers of "
            "Mixture-of-Experts models (a router beside its experts, as in Mixtral)"
        )
    places = Counter(site.block for site in sites)
    if max(places.values()) > 1:
        return [replace(site, layer=site.moe_index) for site in sites]
    return sites


def _blocks(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return path and module of everything that holds a router and its experts."""
    part = text_part(model)
    blocks = [
        (path, block)
        for path, block in model.get_submodule(part).named_modules(prefix=part)
        if _child(block, *ROUTER_NAMES) and _experts(block) and not OTHER_MODALITY.search(path)
    ]
    # a block with two (JetMoE) lists its feed-forward first but runs its attention first
    return [
        found
        for _, same in groupby(blocks, key=lambda found: _block(found[0]))
        for found in sorted(same, key=lambda found: "attention" not in found[0])
    ]


def _as_they_run(sites: list[RouterSite]) -> list[RouterSite]:
    """Return a loop's sites once for each time that it runs, and number all of them."""
    turns = [
        replace(site, turn=turn)
        for passes, same in groupby(sites, key=lambda site: site.passes)
        for turn, loop in enumerate([list(same)] * passes)
        for site in loop
    ]
    return [replace(site, moe_index=moe_index) for moe_index, site in enumerate(turns)]


def _site(model: nn.Module, path: str, block: nn.Module) -> RouterSite:
    family = family_of(block)
    router_name = _child(block, *ROUTER_NAMES)
    parts = _experts(block)
    assert router_name and parts
    router = block.get_submodule(router_name)
    experts = (
        block.get_submodule(parts[0])
        if len(parts) == 1
        else nn.ModuleList(block.get_submodule(part) for part in parts)
    )
    default = ExpertList if type(experts) is nn.ModuleList else Reader
    reader = NAMED.get(family or "", default)(block, router, experts)
    router_path = f"{path}.{router_name}".lstrip(".")
    try:
        num_experts, top_k = reader.num_experts(), reader.top_k(model)
    except UnreadableRouter as problem:
        raise unreadable(router_path, router, problem) from problem
    if num_experts < 2 or not 1 <= top_k <= num_experts:
        raise GatehouseError(
            f"{router_path} has {num_experts} experts and top-{top_k} by its config: a router "
            "chooses at least 1 of at least 2 experts; restore the model's own config.json"
        )
    _, index = _block(path)
    return RouterSite(
        layer=index,
        block=index,
        moe_index=0,
        stack="encoder" if "encoder" in path.split(".") else "decoder",
        router_path=router_path,
        num_experts=num_experts,
        top_k=top_k,
        scoring=stated_scoring(router, family),
        family=family,
        router=router,
        experts=experts,
        reader=reader,
        passes=reader.passes(model, index),
    )


def unreadable(path: str, router: nn.Module, problem: UnreadableRouter) -> GatehouseError:
    """Return the one line that says why a router cannot be read."""
    return GatehouseError(
        f"{path} ({type(router).__name__}) {problem}: Gatehouse does not read this family yet"
    )


def _child(block: nn.Module, *names: str) -> str | None:
    """Return the first name under which the block holds a module."""
    return next((n for n in names if isinstance(getattr(block, n, None), nn.Module)), None)


def _experts(block: nn.Module) -> tuple[str, ...] | None:
    """Return the names of the block's modules that hold its experts' parameters."""
    return next((n for n in EXPERTS_NAMES if all(_child(block, part) for part in n)), None)


def _block(path: str) -> tuple[str, int]:
    """Return the list that a block is in and its index there."""
    found = re.search(r"(?:^|\.)(\d+)(?=\.|$)", path)
    if not found:
        raise GatehouseError(f"cannot tell which layer {path} belongs to")
    return path[: found.start()], int(found[1])
