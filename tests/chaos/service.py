"""`gatehouse up`, a flow run through it, worker or run killed, `down`, and the run once more."""

import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from typing import Any

import httpx

from gatehouse.flows.service.answer import Service
from gatehouse.flows.service.flow_runs import processes_of
from gatehouse.flows.service.server import kept_access
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import PACKAGE, Paths
from tests.chaos.command import GATEHOUSE, ended
from tests.chaos.contents import Difference, compare, contents
from tests.chaos.ground import Ground, Outcome, Reference
from tests.chaos.plan import Attempt
from tests.chaos.processes import Moment, forked
from tests.conftest import without_prefect
from tests.object_store import free_port

GROUP = "up and down"
THE_WORKER, THE_RUN, NOTHING = "worker", "worker and run", "down"
SECONDS = 600
"""How long each step may take, however slow the machine."""

UNDER_WAY = ("RUNNING", "PENDING", "CANCELLING")


def services(seed: int) -> list[Attempt]:
    """Return runs of a worker: it is killed, or it and the run, or nothing but by `down`."""
    generator = random.Random(seed)
    return [
        Attempt(GROUP, (Moment(killed, 1, generator.uniform(0, 3)),))
        for killed in (THE_WORKER, THE_RUN, NOTHING)
    ]


def killed_service(ground: Ground, attempt: Attempt, reference: Reference) -> Outcome:
    """Kill what the attempt says under a flow run, end it all, and resume by the command."""
    began, (point,) = time.monotonic(), attempt.points
    assert isinstance(point, Moment)
    ground.restore()
    paths, port = Paths(ground.home), free_port()
    service, deaths, wrong = Service(paths.service), [], []
    try:
        wrong.append(_said(ground, "up", "--port", str(port)))
        flow_run = _begun(service, ground)
        _wait_for(lambda: len(Lake(paths.lake).run_ids()) > 1)
        time.sleep(point.seconds)
        wrong.append(_killed(service, point.phase))
        deaths.append(point.phase)
        wrong.append(_said(ground, "down"))
        if left := processes_of(service.folder):
            wrong.append(f"down leaves {left}")
        if (state := _state_of(service, flow_run)) in UNDER_WAY:
            wrong.append(f"down leaves a run {state}")
    except (TimeoutError, httpx.HTTPError) as error:
        wrong.append(f"{type(error).__name__}: {error}: {ground.log.read_text()[-600:]}")
    finally:
        _said(ground, "down")
    if ended(ground, GATEHOUSE):
        wrong.append(f"again: {ground.log.read_text()[-600:]}")
    difference, failure = Difference(), "; ".join(filter(None, wrong))
    if not failure:
        found = forked(partial(contents, ground.home)).without("server")
        difference = compare(reference.exact.without_pictures, found.without_pictures)
    seconds = time.monotonic() - began
    return Outcome(attempt, deaths, difference, 0, seconds, failure)


def _said(ground: Ground, *words: str) -> str:
    """Run `gatehouse up` or `down`; return what it said if it failed."""
    path = os.pathsep.join(filter(None, (str(PACKAGE), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [GATEHOUSE, *words, "--home", str(ground.home)],
        capture_output=True,
        text=True,
        env=without_prefect() | {"PYTHONPATH": path},
        timeout=SECONDS,
    )
    said = done.stdout + done.stderr
    return "" if done.returncode == 0 and "Traceback" not in said else f"{words[0]}: {said}"


def _begun(service: Service, ground: Ground) -> str:
    """Have the server begin the run of the ground, and return the flow run's id."""
    request = ground.request
    parameters = {
        "model": request.model,
        "dataset": request.dataset,
        "batch_size": request.batch_size,
        "max_length": request.max_length,
    }
    with _client(service) as client:
        deployment = client.get("/deployments/name/gatehouse/run").raise_for_status().json()
        asked = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        path = f"/deployments/{deployment['id']}/create_flow_run"
        made: dict[str, Any] = client.post(path, json=asked).raise_for_status().json()
    return str(made["id"])


def _client(service: Service) -> httpx.Client:
    access = kept_access(service.environment)
    user, _, password = access["PREFECT_API_AUTH_STRING"].partition(":")
    return httpx.Client(
        base_url=access["PREFECT_API_URL"], auth=(user, password), trust_env=False, timeout=60
    )


def _killed(service: Service, what: str) -> str:
    """Kill with SIGKILL; return what is wrong with what was to be killed."""
    if what == NOTHING:
        return ""
    worker, of_runs = service.worker.process, processes_of(service.folder)
    if worker is None or not of_runs:
        return "the worker or its run had ended before"
    doomed = [worker, *(each for found in of_runs.values() for each in found)]
    for each in doomed if what == THE_RUN else doomed[:1]:
        with suppress(ProcessLookupError):
            os.kill(each.pid, signal.SIGKILL)
    return ""


def _state_of(service: Service, flow_run: str) -> str:
    """Return the type of a run's state, as the server that has ended kept it."""
    file = f"file:{service.folder / 'prefect.db'}?mode=ro"
    with closing(sqlite3.connect(file, uri=True)) as database:
        asked = "select state_type from flow_run where id = ?"
        ((state,),) = database.execute(asked, (flow_run,)).fetchall()
    return str(state)


def _wait_for(happens: Callable[[], bool]) -> None:
    until = time.monotonic() + SECONDS
    while not happens():
        if time.monotonic() > until:
            raise TimeoutError(f"nothing within {SECONDS} s")
        time.sleep(0.1)
