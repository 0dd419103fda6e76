"""What a model is made of, told from its plan, and one sentence through it."""

from dataclasses import dataclass
from pathlib import Path

import torch

from models.batches import pad
from models.capture import RoutingTap
from models.zoo import LoadedModel, ModelPlan
from warehouse.records import TokenWindow

BITS = {"float32": 32, "bfloat16": 16, "4bit": 4}


@dataclass(frozen=True)
class Structure:
    """The MoE structure of a backbone: numbers of parameters, and bytes by precision."""

    layers: int
    moe_layers: tuple[int, ...]
    experts: tuple[int, ...]
    top_k: tuple[int, ...]
    router_paths: tuple[str, ...]
    parameters: int
    expert_parameters: int

    def gigabytes(self, precision: str) -> float:
        """Return the weights' size in GB at a precision of `BITS`."""
        return self.parameters * BITS[precision] / 8e9

    def __str__(self) -> str:
        share = self.expert_parameters / self.parameters
        sizes = ", ".join(f"{self.gigabytes(name):.3g} GB in {name}" for name in BITS)
        return "\n".join(
            [
                f"layers         {self.layers}, of them MoE: {len(self.moe_layers)} "
                f"(blocks {_ranges(self.moe_layers)})",
                f"experts        {_distinct(self.experts)} a layer, top-{_distinct(self.top_k)}",
                f"routers        {self.router_paths[0]} … {self.router_paths[-1]}",
                f"parameters     {self.parameters:,} in the backbone, {share:.1%} in experts",
                f"memory         {sizes} (all weights at that precision)",
            ]
        )


def analyze(plan: ModelPlan) -> Structure:
    """Return the structure of a plan; nothing is downloaded beyond the config."""
    return Structure(
        layers=plan.config.get_text_config().num_hidden_layers,
        moe_layers=tuple(site.layer for site in plan.sites),
        experts=tuple(site.num_experts for site in plan.sites),
        top_k=tuple(site.top_k for site in plan.sites),
        router_paths=tuple(site.router_path for site in plan.sites),
        parameters=sum(parameter.numel() for parameter in plan.skeleton.parameters()),
        expert_parameters=sum(
            parameter.numel() for site in plan.sites for parameter in site.experts.parameters()
        ),
    )


def download(plan: ModelPlan) -> Path:
    """Fetch config, tokenizer and safetensors of a hub model; return their local folder.

    Raises:
        GatehouseError: no network, or no such model.
    """
    source = plan.source
    if Path(source.location).is_dir():
        return Path(source.location)
    from huggingface_hub import snapshot_download

    with source.errors():
        return Path(
            snapshot_download(
                source.location,
                revision=source.commit,
                local_files_only=source.cached_only,
                allow_patterns=["*.safetensors", "*.json", "tokenizer*", "*.txt"],
            )
        )


def route(loaded: LoadedModel, text: str) -> list[tuple[str, list[list[int]]]]:
    """Return each token of a text with its experts in every MoE layer, weight-descending."""
    token_ids = loaded.encode([text])[0]
    with RoutingTap(loaded.model) as tap, torch.inference_mode():
        routing = tap.run(*pad([TokenWindow(0, 0, token_ids)]))
    return [
        (
            str(loaded.tokenizer.decode([token_id])),
            [layer.experts[row].tolist() for layer in routing],
        )
        for row, token_id in enumerate(token_ids)
    ]


def _distinct(values: tuple[int, ...]) -> str:
    return " or ".join(map(str, sorted(set(values))))


def _ranges(values: tuple[int, ...]) -> str:
    if values == tuple(range(values[0], values[-1] + 1)):
        return f"{values[0]}-{values[-1]}"
    return ", ".join(map(str, values))
