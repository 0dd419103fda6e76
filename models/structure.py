"""What a model is made of, from its plan or as loaded; and how it routes one sentence."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from gatehouse.models.capture import RoutingTap
from gatehouse.models.quantization import BLOCK, quantizable, stored_bytes
from gatehouse.models.routers import RouterSite, find_sites
from gatehouse.models.zoo import DTYPES, LoadedModel, ModelPlan
from gatehouse.warehouse.records import TokenWindow

PARTS = ("experts", "attention", "embeddings", "routers", "other")
PRECISIONS = ("float32", "bfloat16", *reversed(BLOCK))


@dataclass(frozen=True)
class Structure:
    """The MoE structure of a backbone.

    Attributes:
        layers: blocks of the stacks that hold MoE layers.
        sites: the MoE layers, on the meta device.
        parameters: number of parameters in each part of `PARTS`.
        active: parameters that compute one token, with only top-k experts in each layer.
        memory: bytes of all weights in each precision of `PRECISIONS`; weights that a quantisation
            leaves as they are count in bfloat16.
    """

    layers: int
    sites: tuple[RouterSite, ...]
    parameters: dict[str, int]
    active: int
    memory: dict[str, int]

    def __str__(self) -> str:
        total = sum(self.parameters.values())
        experts, routers = self.parameters["experts"], self.parameters["routers"]
        sizes = ", ".join(f"{_size(self.memory[name])} in {name}" for name in PRECISIONS)
        return "\n".join(
            [
                f"layers         {self.layers}, of which MoE: "
                f"{len({(site.stack, site.block) for site in self.sites})}",
                *(f"MoE            {line}" for line in _groups(self.sites)),
                f"parameters     {total:,} in the backbone: experts {experts:,} "
                f"({experts / total:.1%}), routers {routers:,}, "
                f"elsewhere {total - experts - routers:,}",
                f"active         {self.active:,} a token",
                f"memory         {sizes}",
                "               (4bit and 8bit: routers, embeddings and norms in bfloat16)",
            ]
        )


def analyze(skeleton: nn.Module) -> Structure:
    """Return the structure of a plan's backbone, which is on the meta device without weights."""
    sites = find_sites(skeleton)
    counts = dict.fromkeys(PARTS, 0)
    for part, _, tensor in _weights(skeleton):
        counts[part] += tensor.numel()
    idle = sum(
        _idle(parameter, site)
        for site in sites
        if site.turn == 0
        for parameter in site.experts.parameters()
    )
    return Structure(
        layers=block_count(skeleton, sites),
        sites=tuple(sites),
        parameters=counts,
        active=sum(counts.values()) - idle,
        memory={name: planned_bytes(skeleton, name) for name in PRECISIONS},
    )


def planned_bytes(skeleton: nn.Module, precision: str) -> int:
    """Return the bytes that a model's weights take at a precision of `PRECISIONS`."""
    width = DTYPES.get(precision, torch.bfloat16).itemsize
    names = quantizable(skeleton) if precision in BLOCK else set()
    return sum(
        stored_bytes(tensor.numel(), precision) if name in names else tensor.numel() * width
        for _, name, tensor in _weights(skeleton)
    )


def weight_bytes(model: nn.Module) -> dict[str, int]:
    """Return the bytes that a loaded model's weights actually take, by part of `PARTS`."""
    taken = dict.fromkeys(PARTS, 0)
    for part, _, tensor in _weights(model):
        taken[part] += tensor.numel() * tensor.element_size()
    return taken


def peak_on_gpus() -> int:
    """Return the most bytes that this process has held on its GPUs at a time; 0 without one."""
    if not torch.cuda.is_available():
        return 0
    return sum(map(torch.cuda.max_memory_allocated, range(torch.cuda.device_count())))


def weights_line(loaded: LoadedModel) -> str:
    """Return one line on the weights in memory: bytes in total and by part, and devices."""
    taken = weight_bytes(loaded.model)
    places = sorted({str(tensor.device) for _, _, tensor in _weights(loaded.model)})
    parts = ", ".join(f"{part} {_size(taken[part])}" for part in PARTS)
    return f"weights: {_size(sum(taken.values()))} on {', '.join(places)}: {parts}"


def download(plan: ModelPlan) -> Path:
    """Fetch config, tokenizer and safetensors of a hub model; return their local folder.

    Raises:
        GatehouseError: no network, no such model, or no safetensors.
    """
    source = plan.source
    source.check_weights()
    if Path(source.location).is_dir():
        return Path(source.location)
    from huggingface_hub import snapshot_download

    code = ["*.py"] if source.trust_remote_code else []
    with source.errors():
        return Path(
            snapshot_download(
                source.location,
                revision=source.commit,
                local_files_only=bool(source.unreachable),
                allow_patterns=[
                    "*.safetensors",
                    "*.json",
                    "tokenizer*",
                    "*.txt",
                    "*.tiktoken",
                    *code,
                ],
                # the same weights again, in the format of their makers' own programs
                ignore_patterns=["*/*", "consolidated*"],
            )
        )


def route(loaded: LoadedModel, text: str) -> list[tuple[str, list[list[int]]]]:
    """Return each token of a text with its experts in every MoE layer, in descending weight."""
    token_ids = loaded.encode([text])[0]
    with RoutingTap(loaded.model) as tap, torch.inference_mode():
        routing = tap.route([TokenWindow(0, 0, token_ids)])
    return [
        (
            str(loaded.tokenizer.decode([token_id])),
            [layer.experts[row].tolist() for layer in routing],
        )
        for row, token_id in enumerate(token_ids)
    ]


def _weights(model: nn.Module) -> Iterator[tuple[str, str, torch.Tensor]]:
    """Yield (part of `PARTS`, name, parameter) for every parameter, shared ones once."""
    sites = find_sites(model)
    known = {id(each): "experts" for site in sites for each in site.experts.parameters()}
    known |= {id(each): "routers" for site in sites for each in site.router.parameters()}
    embeddings = {
        id(each)
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        for each in module.parameters()
    }
    for name, parameter in model.named_parameters():
        other = "attention" if re.search(r"(attn|attention)\.", name, re.IGNORECASE) else "other"
        other = "embeddings" if id(parameter) in embeddings else other
        yield known.get(id(parameter), other), name, parameter


def _idle(parameter: torch.Tensor, site: RouterSite) -> int:
    """Return how many numbers of an experts' parameter one token does not use."""
    # a router may have classes without parameters, so stacked experts are counted instead
    experts = len(parameter) if parameter.ndim == 3 else site.num_experts
    return parameter.numel() - parameter.numel() * site.top_k // experts


def block_count(model: nn.Module, sites: list[RouterSite]) -> int:
    """Return the length of the module lists whose blocks hold the MoE layers."""
    lists = {re.split(r"\.\d+\.", site.router_path)[0] for site in sites}
    return sum(len(list(model.get_submodule(path).children())) for path in lists)


def _groups(sites: tuple[RouterSite, ...]) -> list[str]:
    """Return a line per kind of MoE layer: routers, blocks, experts, top-k, scoring."""
    groups: dict[tuple[str, int, int, str], list[int]] = {}
    for site in (each for each in sites if each.turn == 0):
        path = re.sub(r"\.\d+\.", ".*.", site.router_path, count=1)
        scoring = site.scoring or "scoring known after the first batch"
        groups.setdefault((path, site.num_experts, site.top_k, scoring), []).append(site.block)
    return [
        f"{path} in blocks {_ranges(blocks)}: {experts} experts a layer, top-{top_k}, {scoring}"
        for (path, experts, top_k, scoring), blocks in groups.items()
    ]


def _size(number: int) -> str:
    return f"{number / 1e9:.3g} GB" if number >= 1e9 else f"{number / 1e6:.3g} MB"


def _ranges(values: list[int]) -> str:
    if values == list(range(values[0], values[-1] + 1)) and len(values) > 1:
        return f"{values[0]}-{values[-1]}"
    return ", ".join(map(str, values))
