"""Have a model run the experts that its router chose, where the installed transformers does not.

`ModelPlan.load` mends what it loads. Reading a model changes nothing in it, so one that was loaded
otherwise and needs this is refused until `mend(model)` was called.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from gatehouse.models.families import family_of
from gatehouse.models.routers import RouterSite
from gatehouse.warehouse.errors import GatehouseError

BROKEN = {
    "nllb_moe": "its experts take one-hot of a mask that is one-hot already, so the experts that "
    "run are not the ones the router chose (transformers' NllbMoeExperts)"
}
"""Family -> what goes wrong in it."""


def mend(model: nn.Module) -> None:
    """Hand NLLB-MoE's experts the ids and weights that its router chose, from now on.

    So each block adds up the outputs of the experts whose gate is not 0, times their gates, as
    `NllbMoeSparseMLP` of transformers 4 did. Other families, and what is mended, stay as they are.
    """
    for module in (each for each in model.modules() if family_of(each) in BROKEN):
        for router in (child for name, child in module.named_children() if name == "router"):
            if not _is_mended(router):
                router.register_forward_hook(_two_best)


def check_mended(sites: Iterable[RouterSite]) -> None:
    """Refuse a model that runs other experts than its routers choose.

    Raises:
        GatehouseError: says why, and what mends it.
    """
    for site in sites:
        if site.family in BROKEN and not _is_mended(site.router):
            raise GatehouseError(
                f"transformers breaks {site.family}: {BROKEN[site.family]}; call mend(model) of "
                "gatehouse.models.experts.mending, as Gatehouse's own loading does"
            )


def _is_mended(router: nn.Module) -> bool:
    return _two_best in router._forward_hooks.values()


def _two_best(router: Any, arguments: Any, output: Any) -> tuple[torch.Tensor, ...]:
    """Return (ids [N, 2], weights [N, 2], logits [N, E]) in the place of (mask, gates, logits).

    The ids are found as in the router's own code, which gives those beyond an expert's capacity a
    gate of 0.
    """
    _, gates, logits = output
    scores = logits.softmax(dim=-1, dtype=router.dtype).to(gates.dtype)
    first = scores.argmax(dim=1, keepdim=True)
    second = logits.scatter(1, first, -torch.inf).argmax(dim=1, keepdim=True)
    ids = torch.cat([first, second], dim=1)
    return ids, gates.gather(1, ids), logits
