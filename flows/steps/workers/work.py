"""What travels to a worker: which run it is to capture a shard of, as JSON."""

import json
import socket
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps.planned import PlannedRun
from gatehouse.flows.steps.workers.connection import unseen
from gatehouse.ingest.prepare import Prepared
from gatehouse.models.zoo import versions
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.records import RunSpec
from gatehouse.warehouse.release import gatehouse_version
from gatehouse.warehouse.storage.addresses import checked_address


def packed(run: PlannedRun) -> str:
    """Return a run as JSON: never the model, and of its text only the name."""
    request = replace(run.request, workers=None, scheduler=None)
    work = {
        "home": run.paths.root,
        "bucket": run.paths.bucket,
        "started_at": run.started_at.isoformat(),
        "versions": versions(run.plan.quantization),
        "request": asdict(request),
        "prepared": asdict(run.prepared),
        "spec": asdict(run.spec),
    }
    return json.dumps(work, default=str)


def opened(work: str) -> PlannedRun:
    """Return the run that was packed, planned anew on this machine.

    Raises:
        GatehouseError: this machine does not see the home, has other packages, or would capture
            another run than the command means.
    """
    from gatehouse.flows.steps.identity import plan_model

    asked: dict[str, Any] = json.loads(work)
    here, path = socket.gethostname(), Path(asked["prepared"]["path"])
    # of another one, nothing else need be what this one reads
    if not asked["versions"].startswith(f"gatehouse {gatehouse_version()},"):
        raise _other_packages(here, f"gatehouse {gatehouse_version()}", asked["versions"])
    if not path.is_file():
        raise unseen(path)
    request = RunRequest(**asked["request"])
    plan = plan_model(request)
    if (found := versions(plan.quantization)) != asked["versions"]:
        raise _other_packages(here, found, asked["versions"])
    prepared = Prepared(**asked["prepared"] | {"path": path})
    started_at = datetime.fromisoformat(asked["started_at"])
    bucket = asked["bucket"] and checked_address(asked["bucket"])
    paths = Paths(Path(asked["home"]), bucket)
    run = PlannedRun(request, plan, prepared, paths, started_at)
    meant = RunSpec(**asked["spec"])
    if run.spec != meant:
        raise GatehouseError(
            f"the worker on {here} would capture another run: {_differences(meant, run.spec)}; "
            "name what follows from the machine, as --dtype and --quantize"
        )
    return run


def _other_packages(here: str, found: str, asked: str) -> GatehouseError:
    return GatehouseError(
        f"the worker on {here} has {found}, and this command {asked}: install the same packages on "
        "both"
    )


def _differences(meant: RunSpec, found: RunSpec) -> str:
    theirs = asdict(found)
    return ", ".join(
        f"{name} {theirs[name]} there and {value} here"
        for name, value in asdict(meant).items()
        if theirs[name] != value
    )
