"""`gatehouse verify`: what is wrong with the lake and the marts, and mending what can be mended."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from gatehouse.flows.console import bar, document, say, working
from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps.build import finished_runs, lock, rebuild
from gatehouse.flows.upkeep.aside import set_aside
from gatehouse.ingest.corpora import is_pipe
from gatehouse.ingest.prepare import Prepared, kept
from gatehouse.warehouse.agreement import disagreements, runs_in_marts, unreadable_tables
from gatehouse.warehouse.connect import connect, errors_in_one_line
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.notes.readings import Reading, reading_of
from gatehouse.warehouse.notes.run_names import name_of
from gatehouse.warehouse.paths import Paths, is_run_id
from gatehouse.warehouse.plain_text import counted
from gatehouse.warehouse.records import RunSpec
from gatehouse.warehouse.verification import (
    BUILD,
    CAPTURE,
    RECORD,
    REMOVE,
    SET_ASIDE,
    Problem,
    lawful_shards,
    strangers,
    verify,
)

MENDING = {
    CAPTURE: " (--repair captures it again)",
    SET_ASIDE: " (--repair sets it aside)",
    REMOVE: " (--repair removes it)",
    RECORD: " (--repair records the shards that are there)",
    BUILD: " (--repair builds the marts afresh)",
}


def verify_runs(
    run_id: str | None,
    paths: Paths,
    *,
    repair: bool = False,
    trust_remote_code: bool = False,
    form: str = "text",
) -> tuple[str, bool]:
    """Check one run, or all; return what was found, and whether all is well.

    Args:
        run_id: None for all runs of the lake and of the marts.
        paths: the warehouse.
        repair: mend what can be mended: capture bad shards again, set strange files aside,
            rebuild the marts.
        trust_remote_code: run the code in the model's repository when capturing again.
        form: text, a line for each run and each problem; or json: home, well, and for each of
            runs its run_id, name, shards, events and problems (what, shard, cure).

    Raises:
        GatehouseError: no such run, or one that cannot be captured again, and why.
    """
    lake = Lake(paths.lake)
    known = lake.run_ids()
    if run_id is not None and run_id not in known:
        raise GatehouseError(f"there is no run {run_id!r}: `gatehouse status` lists the runs")
    chosen = known if run_id is None else [run_id]
    found = _problems(lake, chosen, paths)
    for stranger in strangers(lake) if run_id is None else ():
        found.setdefault(stranger.run_id, []).append(stranger)
    if repair and any(found.values()):
        for path in lake.strangers() if run_id is None else ():
            set_aside(path, paths)
        for name in known:
            if problems := found.get(name):
                _mend(lake, name, problems, paths, trust_remote_code)
        _mend_marts(found, paths)
        found = _problems(lake, [name for name in found if name in lake.run_ids()], paths)
    well = not any(found.values())
    if form == "json":
        runs = [_entry(lake, name, problems) for name, problems in found.items()]
        return document({"home": str(paths.root), "well": well, "runs": runs}), well
    lines = [line for name, problems in found.items() for line in _lines(lake, name, problems)]
    return "\n".join(lines or [f"no runs in {paths.lake}"]), well


def _problems(lake: Lake, run_ids: list[str], paths: Paths) -> dict[str, list[Problem]]:
    found = {}
    for run_id in run_ids:
        with bar(f"verifying {run_id}", None) as moved:
            found[run_id] = verify(lake, run_id, moved)
    if paths.database.exists():
        with working("comparing the marts with the lake"):
            wrong = _problems_of_marts(lake, run_ids, found, paths)
        for problem in wrong:
            found.setdefault(problem.run_id, []).append(problem)
    return found


def _problems_of_marts(
    lake: Lake, run_ids: list[str], found: dict[str, list[Problem]], paths: Paths
) -> list[Problem]:
    try:
        with closing(connect(paths)) as connection, errors_in_one_line():
            if unreadable := unreadable_tables(connection):
                raise GatehouseError(f"the database is damaged: {unreadable[0]}")
            built = runs_in_marts(connection)
            gone = sorted(
                name for name in built - set(finished_runs(paths)) if lake.is_readable(name)
            )
            problems = [
                Problem(name, "is in the marts but is not a finished run of the lake", BUILD)
                for name in gone
            ]
            # what is wrong in the lake would be found a second time
            whole = [name for name in run_ids if name in built and not found.get(name)]
            for name in set(whole) - set(gone):
                problems += [
                    Problem(name, f"the marts disagree with the lake: {what}", BUILD)
                    for what in disagreements(connection, lake, name)
                ]
    except GatehouseError as error:
        return [Problem(name, str(error), BUILD) for name in run_ids[:1]]
    return problems


def _mend(
    lake: Lake, run_id: str, problems: list[Problem], paths: Paths, trust_remote_code: bool
) -> None:
    cures = {problem.cure for problem in problems}
    with lake.writing(run_id):
        for problem in problems:
            if problem.path and problem.cure == REMOVE:
                problem.path.unlink(missing_ok=True)
            elif problem.path and problem.cure == SET_ASIDE:
                set_aside(problem.path, paths)
        if RECORD in cures:
            lake.file("shards", run_id).unlink(missing_ok=True)
            for shard, samples, events in lawful_shards(lake, run_id):
                lake.record_shard(run_id, shard, samples, events)
            say(f"recorded {counted(len(lake.shards(run_id)), 'shard')} of {run_id} as found")
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
    return set(range(record["shards"])) - lake.shards(run_id).keys()


def _capture_again(
    lake: Lake, run_id: str, shards: set[int], paths: Paths, trust_remote_code: bool
) -> None:
    from gatehouse.flows.steps.capture import CaptureSession, capture_run
    from gatehouse.flows.steps.identity import plan_model, run_spec, what_differs

    record = lake.run_record(run_id)
    assert record is not None
    if record["trust_remote_code"] and not trust_remote_code:
        raise GatehouseError(
            f"{run_id} ran code from its model's repository: add --trust-remote-code to capture "
            "its bad shards again"
        )
    reading = reading_of(paths.lake, run_id)
    request = _request_of(record, reading)
    plan = plan_model(request)
    if plan.attention_implementation != record["attention_implementation"]:
        request = replace(request, attn_implementation=record["attention_implementation"])
        plan = plan_model(request)
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


def _request_of(record: dict[str, Any], reading: Reading) -> RunRequest:
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
        dtype=record["dtype"],
        quantize=record["quantization"],
        trust_remote_code=record["trust_remote_code"],
    )


def _mend_marts(found: dict[str, list[Problem]], paths: Paths) -> None:
    if not paths.database.exists():
        return
    afresh = any(problem.cure == BUILD for problems in found.values() for problem in problems)
    with lock(paths):
        line = rebuild(paths, afresh=afresh)
    say(line)


def _entry(lake: Lake, run_id: str, problems: list[Problem]) -> dict[str, Any]:
    try:
        rows = lake.shards(run_id).values()
    except GatehouseError:  # its table of shards is damaged, as the problems say
        rows = None
    return {
        "run_id": run_id,
        "name": name_of(lake.root, run_id) if is_run_id(run_id) else None,
        "shards": None if rows is None else len(rows),
        "events": None if rows is None else sum(row["events"] for row in rows),
        "problems": [
            {"what": each.what, "shard": each.shard, "cure": each.cure} for each in problems
        ],
    }


def _lines(lake: Lake, run_id: str, problems: list[Problem]) -> list[str]:
    if not problems:
        rows = lake.shards(run_id).values()
        events = sum(row["events"] for row in rows)
        held = f"{counted(len(rows), 'shard')}, {counted(events, 'event')}"
        return [f"{run_id}: {held}, as recorded and lawful"]
    return [
        f"{run_id}: {problem.what}{MENDING.get(problem.cure or '', '')}" for problem in problems
    ]
