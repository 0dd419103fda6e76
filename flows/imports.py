"""The import of a trace as a Prefect flow: land it, then build the marts with it."""

from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from gatehouse.flows.console import say
from gatehouse.flows.pipeline import build_task
from gatehouse.flows.request import Workers
from gatehouse.flows.steps.importing.any_format import import_files
from gatehouse.flows.steps.importing.import_counts import CountsSummary
from gatehouse.flows.steps.importing.import_trace import ImportSummary
from gatehouse.flows.steps.importing.imported_run import ImportRequest
from gatehouse.flows.steps.workers.part import PartSummary
from gatehouse.warehouse.paths import Paths


@task(name="import trace", cache_policy=NO_CACHE)
def import_task(
    request: ImportRequest, paths: Paths
) -> ImportSummary | CountsSummary | PartSummary:
    """Land what of a trace has not landed."""
    return import_files(request, paths)


@flow(name="gatehouse-import", flow_run_name="import {format} of {model}")
def import_flow(
    format: str,
    files: list[str],
    model: str,
    revision: str | None = None,
    trust_remote_code: bool = False,
    name: str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
) -> str:
    """Land the routing that another engine recorded, and build the marts; return the run's id.

    Args:
        format: what wrote the trace: `gatehouse import --example all` lists the formats.
        files: files or folders of the trace, in their order.
        model: the model that was run: a hub id, a folder, or a config.json.
        revision: branch, tag or commit of a hub model.
        trust_remote_code: whether code from the model's repository may run.
        name: a person's name for the run.
        workers: import with this many processes of this machine.
        scheduler: import with the workers of the Dask scheduler at this address.
    """
    paths = Paths.resolve()
    trace = tuple(Path(each) for each in files)
    asked = Workers.asked(workers, scheduler)
    request = ImportRequest(format, trace, model, revision, trust_remote_code, name, asked)
    summary = import_task(request, paths)
    say(summary.line)
    say(build_task(paths))
    return summary.run_id
