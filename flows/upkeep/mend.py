"""What `gatehouse verify --repair` does about each problem."""

from typing import Any

from gatehouse.flows.console import listed, say
from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps.build import lock, rebuild
from gatehouse.flows.upkeep.aside import set_aside
from gatehouse.ingest.corpora import is_pipe
from gatehouse.ingest.prepare import Prepared, kept
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.notes.readings import reading_of
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.plain_text import counted
from gatehouse.warehouse.records import CAPTURE as SOURCE
from gatehouse.warehouse.records import RunSpec
from gatehouse.warehouse.upkeep.health import (
    BUILD,
    CAPTURE,
    RECORD,
    REMOVE,
    SET_ASIDE,
    Problem,
)
from gatehouse.warehouse.upkeep.verification import unrecorded_shards, verify


def mend(
    lake: Lake, run_id: str, problems: list[Problem], paths: Paths, trust_remote_code: bool
) -> None:
    """Mend what is wrong with a run in the lake.

    Raises:
        GatehouseError: a shard cannot be captured again, and why; or a file cannot be written.
    """
    cures = {problem.cure for problem in problems}
    with lake.locks.writing(run_id):
        for problem in problems:
            if problem.path and problem.cure == REMOVE:
                lake.storage.remove(problem.path)
            elif problem.path and problem.cure == SET_ASIDE:
                set_aside(problem.path, paths)
        if RECORD in cures:
            lake.shards.forget_damaged(run_id)
            found = list(unrecorded_shards(lake, run_id))
            for shard, samples, events in found:
                lake.shards.record(run_id, shard, samples, events)
            say(f"recorded {counted(len(found), 'shard')} of {run_id} as found")
            problems = [*problems, *verify(lake, run_id)]
    bad = {each.shard for each in problems if each.cure == CAPTURE and each.shard is not None}
    if RECORD in cures:
        bad |= _unrecorded(lake, run_id)
    if bad:
        _capture_again(lake, run_id, bad, paths, trust_remote_code)


def _unrecorded(lake: Lake, run_id: str) -> set[int]:
    """Return the shards of a finished run that could not be recorded."""
    record = lake.run_record(run_id)
    if record is None or record["finished_at"] is None:
        return set()
    return set(range(record["shards"])) - lake.shards.recorded(run_id).keys()


def _capture_again(
    lake: Lake, run_id: str, shards: set[int], paths: Paths, trust_remote_code: bool
) -> None:
    from gatehouse.flows.steps.again import plan_again, request_of
    from gatehouse.flows.steps.capture import CaptureSession, capture_run
    from gatehouse.flows.steps.identity import run_spec, what_differs

    record = lake.run_record(run_id)
    assert record is not None
    if record["source"] != SOURCE:
        for shard in shards:
            lake.storage.remove(lake.shard_file("events", run_id, shard))
        raise GatehouseError(
            f"{run_id} was imported: its {listed('shard', sorted(shards))} land again with the "
            f"`gatehouse import {record['source']}` that landed it"
        )
    if record["trust_remote_code"] and not trust_remote_code:
        raise GatehouseError(
            f"{run_id} ran code from its model's repository: add --trust-remote-code to capture "
            "its bad shards again"
        )
    reading = reading_of(paths.lake, run_id)
    request, plan = plan_again(request_of(record, reading), record)
    prepared = _prepared(request, record, paths)
    spec, recorded = run_spec(request, prepared, plan), RunSpec.of_record(record)
    if spec != recorded:
        raise GatehouseError(
            f"{run_id} cannot be captured again, {what_differs(spec, recorded)} changed since: "
            "restore that and run the same command; nothing was overwritten"
        )
    capture_run(CaptureSession(request, plan, prepared, paths, distrusted=shards))


def _prepared(request: RunRequest, record: dict[str, Any], paths: Paths) -> Prepared:
    """Read a run's text again, or find it where it came through a pipe."""
    from gatehouse.flows.steps.prepare import prepare_samples

    if not is_pipe(request.dataset):
        return prepare_samples(request, paths.prepared)
    fingerprint = record["dataset_fingerprint"]
    numbers = request.num_samples, request.first_sample
    found = kept(paths.prepared, request.dataset, fingerprint, *numbers)
    if found is None:
        raise GatehouseError(
            f"the text came through a pipe, and {paths.prepared} has lost it: pipe it in again "
            "with the command of that run"
        )
    return found


def mend_marts(found: dict[str, list[Problem]], paths: Paths) -> None:
    """Build the marts again if there are some, afresh where they are what is wrong."""
    if not paths.database.exists():
        return
    afresh = any(problem.cure == BUILD for problems in found.values() for problem in problems)
    with lock(paths):
        line = rebuild(paths, afresh=afresh)
    say(line)
