"""Which runs can be replayed, and the model that a run had."""

from dataclasses import replace
from typing import Any

from gatehouse.flows.steps.again import plan_again, request_of
from gatehouse.models.zoo import ModelPlan
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.notes.readings import reading_of
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.records import CAPTURE

OF_THE_MODEL = {
    "model_fingerprint": "fingerprint",
    "dtype": "dtype",
    "quantization": "quantization",
    "experts_implementation": "experts_implementation",
}
"""Columns of `runs` that the model must still have -> where its plan has them."""


def replayable(lake: Lake, run_id: str, trust_remote_code: bool) -> dict[str, Any]:
    """Return the row of a run that can be replayed.

    Raises:
        GatehouseError: there is no such run, it has not finished, it was imported, or it ran code
            that is not trusted now.
    """
    record = lake.run_record(run_id)
    if record is None or record["finished_at"] is None:
        raise GatehouseError(
            f"{run_id} has not finished: `gatehouse status` shows what is left; finish it with the "
            "same `gatehouse capture`"
        )
    if record["source"] != CAPTURE:
        raise GatehouseError(
            f"{run_id} was imported, and its model is not replayed: capture the same text with "
            "`gatehouse capture`, then replay that run with --routing-of this one"
        )
    if record["trust_remote_code"] and not trust_remote_code:
        raise GatehouseError(
            f"{run_id} ran code from its model's repository: add --trust-remote-code to replay it"
        )
    return record


def plan_of(run_id: str, record: dict[str, Any], paths: Paths, device_map: str | None) -> ModelPlan:
    """Return the model of a run, as it was but for its device.

    Raises:
        GatehouseError: it cannot be resolved, or is another one by now.
    """
    request = request_of(record, reading_of(paths.lake, run_id))
    _, plan = plan_again(replace(request, device_map=device_map), record)
    for name, place in OF_THE_MODEL.items():
        if getattr(plan, place) != record[name]:
            raise GatehouseError(
                f"{run_id} cannot be replayed: its model's {name.replace('_', ' ')} was "
                f"{record[name]} and is {getattr(plan, place)} now; restore that, or capture the "
                "text again and replay that run"
            )
    return plan
