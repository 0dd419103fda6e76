"""The pipeline as a Prefect flow: prepare, capture, build, validate, draw, report.

The shard is the unit of work and of resuming: what has landed is never captured again, and
whether a shard has landed is read from the lake, never from a task's state.
"""

import importlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import MissingContextError
from prefect.logging.handlers import PrefectConsoleHandler
from prefect.states import Completed, State

from gatehouse.flows.console import also_to, bar, say, short_path, working
from gatehouse.flows.request import RunRequest, takes_fields
from gatehouse.flows.steps import drawing
from gatehouse.flows.steps.build import build
from gatehouse.flows.steps.capture import CaptureSession, capture_run
from gatehouse.flows.steps.drawing import Drawer
from gatehouse.flows.steps.identity import plan_model
from gatehouse.flows.steps.prepare import prepare_samples, read_ahead
from gatehouse.ingest.corpora import resolved
from gatehouse.ingest.prepare import AtTheEnd, Prepared
from gatehouse.reports.results import files
from gatehouse.reports.results.results import Results, check_results, open_results
from gatehouse.reports.results.selection import Selection
from gatehouse.warehouse import environment
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.plain_text import counted
from gatehouse.warehouse.records import CAPTURE


def _log(line: str) -> bool:
    """Log a line with the current flow or task run; return whether Prefect's console shows it."""
    try:
        log = get_run_logger()
    except MissingContextError:
        return False
    log.info(line)
    consoles = [
        each
        for each in _handlers(logging.getLogger(log.name))
        if isinstance(each, PrefectConsoleHandler)
    ]
    return log.isEnabledFor(logging.INFO) and any(each.level <= logging.INFO for each in consoles)


def _handlers(logger: logging.Logger | None) -> Iterator[logging.Handler]:
    while logger:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None


also_to(_log)


def work_ahead(request: RunRequest, paths: Paths) -> None:
    """Resolve the model, prepare the text, import dbt: a flow then finds it done.

    Raises:
        GatehouseError: there is no such model or text, or it cannot be used.
    """
    plan_model(request)
    read_ahead(request, paths.prepared)
    with working("starting"), environment.chosen(environment.DBT):
        importlib.import_module("dbt.cli.main")


@task(name="prepare samples", cache_policy=NO_CACHE)
def prepare_task(request: RunRequest, paths: Paths) -> Prepared:
    """Write the dataset as numbered samples."""
    prepared = prepare_samples(request, paths.prepared)
    say(f"prepared {prepared.samples_text} of {prepared.dataset}: {short_path(prepared.path)}")
    return prepared


@task(name="capture shard", task_run_name="capture shard {shard}", cache_policy=NO_CACHE)
def capture_shard_task(session: CaptureSession, shard: int) -> int:
    """Run one shard through the model and land its events."""
    return session.capture(shard)


@task(name="build marts", cache_policy=NO_CACHE)
def build_task(paths: Paths) -> str:
    """Build and test the dbt models over the finished runs."""
    return build(paths)


@task(name="validate", cache_policy=NO_CACHE)
def validate_task(request: RunRequest, results: Results, paths: Paths) -> list[Path]:
    """Write the statistics tables, the summary and the validation report."""
    tables = files.write_tables(results, paths, spreadsheet_safe=request.spreadsheet_safe)
    return tables + files.write_validation(results)


@task(name="draw figures", cache_policy=NO_CACHE)
def figures_task(results: Results, drawer: Drawer) -> dict[str, Path]:
    """Draw the figures."""
    with working("drawing figures"):
        return drawer.figures(results)


@task(name="write report", cache_policy=NO_CACHE)
def report_task(results: Results, figures: dict[str, Path], paths: Paths) -> Path:
    """Write the HTML report and leave the verdict as an artifact."""
    page = files.write_page(results, figures, paths)
    create_markdown_artifact(markdown(results, page), key="gatehouse-verdict")
    return page


@flow(name="gatehouse", flow_run_name="{model} on {dataset}")
@takes_fields()
def pipeline(**parameters: Any) -> str:
    """Capture one run, build the marts, and write its results; return what was found.

    Args:
        model: demo (bundled), another alias, a hub id, or a folder with safetensors.
        revision: branch, tag or commit of a hub model.
        dataset: pydoc (bundled), c4, wikitext, a hub id, or a local file or folder.
        num_samples: number of samples to take.
        first_sample: index of the first sample to take.
        batch_size: memory of a batch, in samples of max_length; the events do not depend on it.
        max_length: longest sequence in tokens; longer samples are truncated.
        windows: cut long samples into consecutive windows instead.
        generate: most tokens that the model adds to a sample; max_length counts them too.
        temperature: draw these tokens, by the logits divided by this; 0 takes the likeliest.
        seed: where drawing begins.
        output_norms: also land the norm of each chosen expert's output, before its weight.
        create_splits: also write the prepared samples as train, validation and test files.
        skip_broken: leave out, count and report texts that cannot be read as documents.
        lines: each line of a .txt file is a document; otherwise the file is one.
        text_field: field of rows that holds the text or a chat; default: text, messages, ...
        domain_field: field that names the text's domain; default: domain, source, ...
        document_field: field that names the document which a text is a part of.
        chat_as_text: take what is said in a chat as plain text, without the chat template.
        dtype: float32, bfloat16, float16 or auto.
        quantize: 4bit, 8bit, none, or auto: 4bit if the full model does not fit on the GPU.
        device_map: a device, or auto, balanced, sequential; default: the GPU if there is one.
        attn_implementation: sdpa, eager, flash_attention_2, ...; default: transformers' choice.
        trust_remote_code: run the code in the model's repository.
        num_experts: stop if the model has a different number of experts.
        layer: MoE layer to validate and draw: an index, or all.
        frequency_threshold: fast path: a token occurs more often than this.
        entropy_threshold: fast path: its mean entropy is below this, in nats.
        output: folder of the results, or a .parquet path in it.
        name: a name for the run, which stands for its id wherever a run is asked for.
        spreadsheet_safe: put a ' before tokens in CSV that a spreadsheet would run as a formula.
        workers: capture with so many processes on this machine.
        scheduler: capture with the workers of a Dask scheduler: its address or file.
    """
    request = RunRequest(**parameters)
    paths = Paths.resolve()
    check_results(request.output, paths, paths.root / "results")
    plan = plan_model(request)
    prepared = prepare_task(request, paths)
    session = CaptureSession(request, plan, prepared, paths)
    check_results(request.output, paths, paths.results(session.run_id))
    summary = capture_run(session, capture_shard_task)
    say(summary.line)
    return _reported(summary.run_id, request, paths)


def _reported(run_id: str, request: RunRequest, paths: Paths) -> str:
    """Build the marts and write the results of a finished run; return what was found."""
    selection = Selection(None, run_id, request.moe_index, request.thresholds)
    with drawing.drawer() as drawer:
        say(build_task(paths))
        drawer.begin(selection, paths, request.output)
        results = open_results(selection, paths, bar, request.output)
        *_, report, _ = validate_task(request, results, paths)
        page = report_task(results, figures_task(results, drawer), paths)
    return closing_text(results, report, page)


def markdown(results: Results, page: Path) -> str:
    """Return the verdict as Markdown, for Prefect's artifact."""
    lines = []
    for section in results.sections:
        lines += [f"# {results.title(section)}: {section.validation.verdict}", ""]
        lines += [f"- {criterion.found}" for criterion in section.validation.criteria]
        lines += ["", section.strength, ""]
    return "\n".join([*lines, f"Report: `{page}`"])


def closing_text(results: Results, report: Path, page: Path) -> str:
    """Return what a run ends with on the terminal: the findings, and where the report is."""
    return f"{results.shown(short_path(report))}\nReport: {short_path(page)}"


@flow(name="gatehouse-nightly", flow_run_name="nightly {model} on {dataset}")
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
        say(_reported(left, RunRequest(), paths))
    first_sample, number = next_samples(Lake(paths.lake), model, dataset, num_samples)
    say(f"{model} on {dataset}: {counted(number, 'sample')} from {first_sample:,}")
    parameters: dict[str, Any] = {
        "model": model,
        "dataset": dataset,
        "num_samples": number,
        "first_sample": first_sample,
        "batch_size": batch_size,
    }
    try:
        # the flow finds it done
        read_ahead(RunRequest(**parameters), paths.prepared)
    except AtTheEnd as end:
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
    return last if last and not (paths.results(last) / files.PAGE).exists() else None


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
