"""The deployments of `prefect.yaml` on a server, their pool, and the limit of one capture."""

import importlib
from pathlib import Path
from typing import Any

import yaml
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    GlobalConcurrencyLimitCreate,
    WorkPoolCreate,
)
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker

from gatehouse.flows.watched.patience import CAPTURES
from gatehouse.warehouse.paths import PACKAGE

POOL = "gatehouse"


def deploy(declared: Path = PACKAGE / "prefect.yaml") -> list[str]:
    """Make the pool, the limit and the deployments that a server lacks; return the latter's names.

    What somebody has changed of a deployment on the pages, parameters and schedules, stays.
    """
    names = []
    with get_client(sync_client=True) as client:
        _make_pool(client)
        _make_limit(client)
        for each in yaml.safe_load(declared.read_text(encoding="utf-8"))["deployments"]:
            names.append(_deploy(client, each))
    return names


def _make_pool(client: SyncPrefectClient) -> None:
    template = ProcessWorker.get_default_base_job_template()
    try:
        client.create_work_pool(
            WorkPoolCreate(name=POOL, type="process", base_job_template=template)
        )
    except ObjectAlreadyExists:
        return


def _make_limit(client: SyncPrefectClient) -> None:
    try:
        client.read_global_concurrency_limit_by_name(CAPTURES)
    except ObjectNotFound:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=CAPTURES, limit=1))


def _deploy(client: SyncPrefectClient, declared: dict[str, Any]) -> str:
    file, _, function = declared["entrypoint"].partition(":")
    module = f"gatehouse.{file.removesuffix('.py').replace('/', '.')}"
    flow: Flow[..., Any] = getattr(importlib.import_module(module), function)
    name = f"{flow.name}/{declared['name']}"
    there = _find(client, name)
    client.create_deployment(
        flow_id=client.create_flow(flow),
        name=declared["name"],
        description=declared["description"],
        # a module: the same in a checkout and installed
        entrypoint=f"{module}.{function}",
        path=".",
        work_pool_name=POOL,
        parameter_openapi_schema=parameter_schema(flow).model_dump(),
        parameters=there.parameters if there else declared["parameters"],
        schedules=_kept(there) if there else _schedules(declared),
    )
    return name


def _find(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    try:
        return client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


def _kept(there: DeploymentResponse) -> list[DeploymentScheduleCreate]:
    # without any the server takes those away that it has
    return [
        DeploymentScheduleCreate(
            schedule=each.schedule,
            active=each.active,
            parameters=each.parameters,
            max_scheduled_runs=each.max_scheduled_runs,
            slug=each.slug,
        )
        for each in there.schedules
    ]


def _schedules(declared: dict[str, Any]) -> list[DeploymentScheduleCreate]:
    crons = [
        CronSchedule(cron=each["cron"], timezone=each["timezone"])
        for each in declared.get("schedules", [])
    ]
    return [DeploymentScheduleCreate(schedule=each) for each in crons]
