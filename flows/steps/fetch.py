"""`gatehouse fetch`: a model's files, its MoE structure, and one routed sentence."""

from gatehouse.flows.console import working
from gatehouse.flows.request import RunRequest
from gatehouse.models.structure import analyze, download, route, weights_line
from gatehouse.models.zoo import resolve
from gatehouse.warehouse.records import precision

SENTENCE = "Return the router that sends each token to its experts."
"""What `gatehouse fetch --test` routes."""


def fetch(request: RunRequest, *, analyze_structure: bool = False, test: bool = False) -> str:
    """Download a model, or describe its MoE structure from the config; return what to print.

    Args:
        request: the model, and how to load it.
        analyze_structure: describe the structure instead; nothing is downloaded.
        test: load the weights as well, and route one sentence.

    Raises:
        GatehouseError: there is no such model, it cannot be read, or it cannot be loaded as asked.
    """
    with working(f"looking at {request.model}"):
        plan = resolve(request.model, **request.loading)
    computes = precision({"dtype": plan.dtype, "quantization": plan.quantization})
    lines = [f"{plan.name}  ({plan.config.model_type}, {computes})"]
    if analyze_structure:
        lines.append(str(analyze(plan.skeleton)))
    else:
        # the hub shows the progress of each file itself
        lines.append(f"files          {download(plan)}")
    if test:
        with working(f"loading {plan.name}"):
            loaded = plan.load()
            routed = route(loaded, SENTENCE)
        lines += [weights_line(loaded), "", f"{'token':<14}experts of MoE layers 0, 1, …"]
        lines += [f"{token!r:<14}{'  '.join(map(str, layers))}" for token, layers in routed]
    return "\n".join(lines)
