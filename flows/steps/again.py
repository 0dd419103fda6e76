"""The model of a run that has landed, resolved again as it was."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps.identity import plan_model
from gatehouse.models.zoo import ModelPlan
from gatehouse.warehouse.notes.readings import Reading


def plan_again(request: RunRequest, record: dict[str, Any]) -> tuple[RunRequest, ModelPlan]:
    """Return a run's model with the attention that it had, and the request that gives it.

    Args:
        request: as `request_of` returns it.
        record: the run's row of `runs`.

    Raises:
        GatehouseError: as for `plan_model`.
    """
    plan = plan_model(request)
    if plan.attention_implementation != record["attention_implementation"]:
        request = replace(request, attn_implementation=record["attention_implementation"])
        plan = plan_model(request)
    return request, plan


def request_of(record: dict[str, Any], reading: Reading) -> RunRequest:
    """Return the request that captures a run again."""
    local = Path(record["model"]).is_absolute() or record["model"] == "demo"
    return RunRequest(
        model=record["model"],
        # the fingerprint of a model on the hub is its commit
        revision=None if local else record["model_fingerprint"],
        dataset=record["dataset"],
        num_samples=record["num_samples"],
        first_sample=record["first_sample"],
        skip_broken=record["skipped_broken"] > 0,
        lines=record["lines"],
        text_field=reading.text_field,
        domain_field=reading.domain_field,
        document_field=record["document_field"],
        # an earlier Gatehouse did so, and did not say it
        chat_as_text=reading.chat_as_text is not False,
        batch_size=record["batch_size"],
        max_length=record["max_length"],
        windows=record["windows"],
        generate=record["generate"] or 0,
        temperature=record["temperature"] or 0.0,
        seed=record["seed"] or 0,
        output_norms=bool(record["output_norms"]),
        dtype=record["dtype"],
        quantize=record["quantization"],
        trust_remote_code=record["trust_remote_code"],
    )
