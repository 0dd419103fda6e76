"""What a run is: the model it resolves to, the hash, and what changed under the same names."""

from contextlib import suppress
from dataclasses import asdict

from gatehouse.flows.console import working
from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps.workers.devices import shares
from gatehouse.ingest.prepare import Prepared, holds_chats
from gatehouse.models.experts.output_norms import check_output_norms
from gatehouse.models.text.chat import chat_template
from gatehouse.models.text.generation import ending_tokens, generating_class
from gatehouse.models.tokenizer import tokenizer_fingerprint
from gatehouse.models.zoo import ModelPlan, resolve
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.plain_text import counted
from gatehouse.warehouse.records import RunSpec

CHANGES = {
    "model_fingerprint": "the model's weights or config",
    "tokenizer_fingerprint": "its tokenizer",
    "dataset_fingerprint": "the text",
}
"""Parts of a run's identity that can change under the same names."""


def plan_model(request: RunRequest) -> ModelPlan:
    """Resolve the request's model from its config, before text or weights are touched.

    Raises:
        GatehouseError: no such model, no MoE layers, no safetensors, or not as requested.
    """
    with working(f"looking at {request.model}"):
        plan = resolve(request.model, **request.loading)
        plan.source.check_weights()
    found = {site.num_experts for site in plan.sites}
    if request.num_experts is not None and found != {request.num_experts}:
        counts = ", ".join(map(str, sorted(found)))
        raise GatehouseError(
            f"--num-experts {request.num_experts}, but {plan.name} has {counts}: leave it out, "
            "the number is read from the model"
        )
    if request.moe_index is not None and request.moe_index >= len(plan.sites):
        raise GatehouseError(
            f"--layer {request.layer}: {plan.name} has {counted(len(plan.sites), 'MoE layer')}, "
            f"0 to {len(plan.sites) - 1}"
        )
    longest = getattr(plan.config.get_text_config(), "max_position_embeddings", None)
    if isinstance(longest, int) and request.max_length > longest:
        raise GatehouseError(
            f"--max-length {request.max_length}: {plan.name} takes at most {longest} tokens"
        )
    if request.generate:
        generating_class(plan)
    if request.output_norms:
        check_output_norms(plan.sites)
    if request.workers:
        shares(request.workers, request.device_map)
    return plan


def run_spec(request: RunRequest, prepared: Prepared, plan: ModelPlan) -> RunSpec:
    """Return the run's identity.

    Raises:
        GatehouseError: the samples hold chats, and the tokenizer has no template for them.
    """
    return RunSpec(
        model=plan.name,
        model_fingerprint=plan.fingerprint,
        tokenizer_fingerprint=_tokenizer_fingerprint(request, prepared, plan),
        dataset=prepared.dataset,
        dataset_fingerprint=prepared.fingerprint,
        first_sample=prepared.first_sample,
        num_samples=prepared.num_samples,
        max_length=request.max_length,
        windows=request.windows,
        dtype=plan.dtype,
        quantization=plan.quantization,
        attention_implementation=plan.attention_implementation,
        experts_implementation=plan.experts_implementation,
        trust_remote_code=plan.source.trust_remote_code,
        generate=request.generate or None,
        temperature=request.temperature or None,
        seed=request.seed if request.temperature else None,
        output_norms=request.output_norms or None,
    )


def _tokenizer_fingerprint(request: RunRequest, prepared: Prepared, plan: ModelPlan) -> str:
    """Return the hash of all that decides, beside the weights, which tokens a text becomes."""
    beside = [chat_template(plan.tokenizer)] if holds_chats(prepared.path) else []
    if request.generate:
        beside.append(f"ends at {ending_tokens(plan)}")
    return tokenizer_fingerprint(plan.tokenizer, beside)


def what_differs(spec: RunSpec, recorded: RunSpec) -> str:
    """Return how two identities differ, in plain words."""
    differing = _differing(spec, recorded)
    named = [CHANGES[name] for name in CHANGES if name in differing]
    return " and ".join(named + sorted(differing - CHANGES.keys()))


def _differing(spec: RunSpec, recorded: RunSpec) -> set[str]:
    return {name for name, value in asdict(spec).items() if getattr(recorded, name) != value}


def what_changed(spec: RunSpec, lake: Lake) -> str | None:
    """Return what changed between a run in the lake and the same request now, else None."""
    with suppress(GatehouseError):  # a damaged record of another run is not this run's affair
        for run_id, record in reversed(lake.runs().items()):
            recorded = RunSpec.of_record(record)
            differing = _differing(spec, recorded)
            if differing and differing <= CHANGES.keys():
                return f"{what_differs(spec, recorded)} changed since {run_id}"
    return None
