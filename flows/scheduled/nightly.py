"""The nights of a deployment: each captures the next samples of a dataset, and reports on them."""

from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, State

from gatehouse.flows.console import say
from gatehouse.flows.pipeline import build_task, pipeline, reported
from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps.prepare import read_ahead
from gatehouse.flows.watched.hooks import HOOKS
from gatehouse.flows.watched.patience import RETRIES, SECONDS_OF_A_NIGHT
from gatehouse.ingest.corpora import resolved
from gatehouse.ingest.prepare import AtTheEnd
from gatehouse.reports.results import files
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.plain_text import counted
from gatehouse.warehouse.records import CAPTURE


@task(
    name="look for new samples",
    task_run_name="look for new samples of {request.dataset}",
    cache_policy=NO_CACHE,
    **RETRIES,
)
def look_ahead_task(request: RunRequest, paths: Paths) -> AtTheEnd | None:
    """Prepare the next samples, so that the run finds it done; return the end if there are none."""
    try:
        read_ahead(request, paths.prepared)
    except AtTheEnd as end:
        return end
    return None


@flow(
    name="gatehouse-nightly",
    flow_run_name="nightly {model} on {dataset}",
    timeout_seconds=SECONDS_OF_A_NIGHT,
    **HOOKS,
)
def nightly(
    model: str = "demo", dataset: str = "pydoc", num_samples: int = 1_000, batch_size: int = 4
) -> str | State[str]:
    """Capture the next samples of a dataset, where the last finished run of the model ended.

    A run of such samples that broke off is finished first, and is then the night's work; one that
    broke off after its capture gets its results before new samples are taken. Without new samples
    the night builds what is left to build, and says so.

    Args:
        model: as in the flow `gatehouse`.
        dataset: as in the flow `gatehouse`.
        num_samples: how many new samples a night; as many as there are where they are fewer.
        batch_size: as in the flow `gatehouse`.
    """
    paths = Paths.resolve()
    if left := last_without_results(paths, model, dataset):
        say(f"{left} has no report yet")
        say(reported(left, RunRequest(), paths))
    first_sample, number = next_samples(Lake(paths.lake), model, dataset, num_samples)
    say(f"{model} on {dataset}: {counted(number, 'sample')} from {first_sample:,}")
    parameters: dict[str, Any] = {
        "model": model,
        "dataset": dataset,
        "num_samples": number,
        "first_sample": first_sample,
        "batch_size": batch_size,
    }
    end = look_ahead_task(RunRequest(**parameters), paths)
    if end:
        # the last night may have broken off after its capture
        say(build_task(paths))
        nothing = f"no new samples: {end.held}, and finished runs of {model} reach its end"
        say(nothing)
        return Completed(message=nothing, data=nothing)
    return pipeline(**parameters)


def next_samples(lake: Lake, model: str, dataset: str, num_samples: int) -> tuple[int, int]:
    """Return the first sample and the number of samples that a night is to capture.

    They follow the last sample that finished runs of model and dataset hold. If a run of the
    nights' settings began there and broke off, its number of samples is returned: to ask for
    the same samples resumes it. Folders are known to the lake by their full path.
    """
    runs = _runs_of(lake, model, dataset).values()
    ends = [run["first_sample"] + run["num_samples"] for run in runs if run["finished_at"]]
    first_sample = max(ends, default=0)
    begun = {
        "first_sample": first_sample,
        "max_length": RunRequest.max_length,
        "windows": RunRequest.windows,
        "generate": None,
        "finished_at": None,
    }
    broken_off = [run["num_samples"] for run in runs if begun.items() <= run.items()]
    return first_sample, broken_off[-1] if broken_off else num_samples


def last_without_results(paths: Paths, model: str, dataset: str) -> str | None:
    """Return the run that a night finished last, if it has no page; None if it has one."""
    finished = {
        run["finished_at"]: run_id
        for run_id, run in _runs_of(Lake(paths.lake), model, dataset).items()
        if run["finished_at"]
    }
    last = finished[max(finished)] if finished else None
    return last if last and not files.has_page(last, paths) else None


def _runs_of(lake: Lake, model: str, dataset: str) -> dict[str, dict[str, Any]]:
    models = {model, str(Path(model).resolve())}
    datasets = {dataset, str(resolved(Path(dataset)))}
    return {
        run_id: run
        for run_id, run in lake.runs().items()
        if run["model"] in models
        and run["dataset"] in datasets
        # what was imported has no samples that a night could go on from, nor a verdict
        and run["source"] == CAPTURE
    }
