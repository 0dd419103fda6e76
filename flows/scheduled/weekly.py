"""What a week needs beside its nights: a check of the warehouse, and a report over all runs."""

from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed, State

from gatehouse.flows.console import bar, say
from gatehouse.flows.pipeline import build_task, reported
from gatehouse.flows.request import RunRequest
from gatehouse.flows.upkeep.verify import verify_runs
from gatehouse.flows.watched.hooks import HOOKS
from gatehouse.reports.results import files
from gatehouse.reports.results.sweep import sweep
from gatehouse.reports.results.trend import write_trends
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths, file_address
from gatehouse.warehouse.plain_text import counted


@task(name="verify", cache_policy=NO_CACHE)
def verify_task(paths: Paths, every_byte: bool) -> tuple[str, bool]:
    """Check the lake against its records, and the marts against the lake."""
    return verify_runs(None, paths, every_byte=every_byte)


@flow(name="gatehouse-verify", flow_run_name="verify", **HOOKS)
def verify_flow(every_byte: bool = True) -> State[str]:
    """Check every run as `gatehouse verify` does; the flow run fails if something is wrong.

    Args:
        every_byte: read all files again, also those that have not changed since they were right.
    """
    text, well = verify_task(Paths.resolve(), every_byte)
    create_markdown_artifact(f"```text\n{text}\n```", "gatehouse-verify", "What was verified")
    if well:
        return Completed(message="all is as recorded", data=text)
    say(text)
    return Failed(
        message="something is wrong: `gatehouse verify --repair` mends what can be mended"
    )


@task(name="judge every run", cache_policy=NO_CACHE)
def sweep_task(paths: Paths) -> str:
    """Write the verdict of every run, layer and pair of thresholds as CSV; return its summary."""
    table, _ = sweep(None, None, paths, bar, paths.sweep)
    return table


@task(name="draw trends", cache_policy=NO_CACHE)
def trends_task(paths: Paths) -> list[Path]:
    """Write the page of every series of two runs or more, and say what moved."""
    return write_trends(paths, say)


@flow(name="gatehouse-weekly-report", flow_run_name="report over all runs", **HOOKS)
def weekly_report() -> str:
    """Build the marts, report on every run that has none, judge all runs, and draw what moved.

    Returns:
        A summary.
    """
    paths = Paths.resolve()
    say(build_task(paths))
    without = _without_report(paths)
    for run_id in without:
        say(f"{run_id} has no report yet")
        try:
            reported(run_id, RunRequest(layer="all"), paths)
        except GatehouseError as error:
            # another run's report does not wait for this one's; the sweep names what has no verdict
            say(f"{run_id}: {error}")
    table = sweep_task(paths)
    pages = trends_task(paths)
    create_markdown_artifact(
        f"```text\n{table}\n```\n\nEvery pair of thresholds: `{file_address(paths.sweep)}`"
        + "".join(f"\n\nWhat moved over the runs: `{file_address(page)}`" for page in pages),
        "gatehouse-all-runs",
        "The verdict on every run and layer",
    )
    new = f"{counted(len(without), 'new report')}, {counted(len(pages), 'trend')}"
    return f"{new}\n{table}"


def _without_report(paths: Paths) -> list[str]:
    return [
        run_id
        for run_id, run in Lake(paths.lake).runs().items()
        if run["finished_at"] and not files.has_page(run_id, paths)
    ]
