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
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import MissingContextError
from prefect.logging.handlers import PrefectConsoleHandler

from gatehouse.flows.console import also_to, bar, say, short_path, working
from gatehouse.flows.request import RunRequest, takes_fields
from gatehouse.flows.steps import drawing
from gatehouse.flows.steps.build import build
from gatehouse.flows.steps.capture import (
    CaptureSession,
    CaptureSteps,
    CaptureSummary,
    capture_run,
    told_by,
)
from gatehouse.flows.steps.drawing import Drawer
from gatehouse.flows.steps.identity import plan_model
from gatehouse.flows.steps.pace.metrics import check_metrics
from gatehouse.flows.steps.prepare import prepare_samples, read_ahead
from gatehouse.flows.watched import assets
from gatehouse.flows.watched.artifacts import leave_results, tellers
from gatehouse.flows.watched.assets import making
from gatehouse.flows.watched.hooks import HOOKS
from gatehouse.flows.watched.patience import RETRIES, SECONDS_OF_A_STEP, one_at_a_time
from gatehouse.ingest.prepare import Prepared
from gatehouse.models.zoo import ModelPlan
from gatehouse.reports.results import files
from gatehouse.reports.results.results import Results, check_results, open_results
from gatehouse.reports.results.selection import Selection
from gatehouse.warehouse import environment
from gatehouse.warehouse.paths import Paths


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


@task(
    name="prepare samples",
    task_run_name="prepare {request.num_samples:,} samples of {request.dataset}",
    cache_policy=NO_CACHE,
    **RETRIES,
)
def prepare_task(request: RunRequest, paths: Paths) -> tuple[ModelPlan, Prepared]:
    """Resolve the model, and write the dataset as numbered samples."""
    plan = plan_model(request)
    prepared = prepare_samples(request, paths.prepared)
    say(f"prepared {prepared.samples_text} of {prepared.dataset}: {short_path(prepared.path)}")
    return plan, prepared


@task(
    name="load model",
    task_run_name="load model of {session.run_id}",
    cache_policy=NO_CACHE,
    **RETRIES,
)
def load_task(session: CaptureSession) -> CaptureSession:
    """Lock the run, find what is left to capture, and load the model if that is something."""
    return session.__enter__()


@task(
    name="capture shard",
    task_run_name="capture shard {shard} (of {session.shards:,})",
    cache_policy=NO_CACHE,
)
def capture_shard_task(session: CaptureSession, shard: int) -> int:
    """Run one shard through the model and land its events."""
    return session.capture(shard)


@task(name="close run", task_run_name="close {session.run_id}", cache_policy=NO_CACHE)
def finish_task(session: CaptureSession) -> CaptureSummary:
    """Record that every shard has landed."""
    return session.finish()


@task(name="build marts", task_run_name="build marts", cache_policy=NO_CACHE)
def build_task(paths: Paths) -> str:
    """Build and test the dbt models over the finished runs."""
    return build(paths)


@task(
    name="validate",
    task_run_name="validate {results.name}",
    cache_policy=NO_CACHE,
    timeout_seconds=SECONDS_OF_A_STEP,
)
def validate_task(request: RunRequest, results: Results, paths: Paths) -> list[Path]:
    """Write the statistics tables, the summary and the validation report."""
    tables = files.write_tables(results, paths, spreadsheet_safe=request.spreadsheet_safe)
    return tables + files.write_validation(results)


@task(
    name="draw figures",
    task_run_name="draw figures",
    cache_policy=NO_CACHE,
    timeout_seconds=SECONDS_OF_A_STEP,
)
def figures_task(results: Results, drawer: Drawer) -> dict[str, Path]:
    """Draw the figures."""
    with working("drawing figures"):
        return drawer.figures(results)


@task(
    name="write report",
    task_run_name="write report",
    cache_policy=NO_CACHE,
    timeout_seconds=SECONDS_OF_A_STEP,
)
def report_task(results: Results, figures: dict[str, Path], paths: Paths) -> Path:
    """Write the HTML report."""
    return files.write_page(results, figures, paths)


@flow(name="gatehouse", flow_run_name="{model} on {dataset}", **HOOKS)
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
        metrics: file that gets how far the capture is and how fast: .jsonl or .prom.
        spreadsheet_safe: put a ' before tokens in CSV that a spreadsheet would run as a formula.
        workers: capture with so many processes on this machine.
        scheduler: capture with the workers of a Dask scheduler: its address or file.
    """
    request = RunRequest(**parameters)
    paths = Paths.resolve()
    check_results(request.output, paths, paths.root / "results")
    check_metrics(request.metrics, paths)
    plan, prepared = prepare_task(request, paths)
    session = CaptureSession(request, plan, prepared, paths)
    check_results(request.output, paths, paths.results(session.run_id))
    events, text = assets.lake_of(session.run_id, paths), assets.text_of(prepared)
    steps = CaptureSteps(load_task, capture_shard_task, making(finish_task, events, of=[text]))
    with one_at_a_time():
        summary = capture_run(session, steps, told_by(request, paths) + tellers())
    say(summary.line)
    return reported(summary.run_id, request, paths)


def reported(run_id: str, request: RunRequest, paths: Paths) -> str:
    """Build the marts and write the results of a finished run; return what was found."""
    selection = Selection(None, run_id, request.moe_index, request.thresholds)
    marts = assets.marts_of(paths)
    with drawing.drawer() as drawer:
        say(making(build_task, marts, of=[assets.lake_of(run_id, paths)], by="dbt")(paths))
        drawer.begin(selection, paths, request.output)
        results = open_results(selection, paths, bar, request.output)
        *_, report, _ = validate_task(request, results, paths)
        figures = figures_task(results, drawer)
        made = assets.report_of(run_id, results.folder / files.PAGE)
        page = making(report_task, made, of=[marts])(results, figures, paths)
    leave_results(results, figures, page, paths)
    return closing_text(results, report, page)


def closing_text(results: Results, report: Path, page: Path) -> str:
    """Return what a run ends with on the terminal: the findings, and where the report is."""
    return f"{results.shown(short_path(report))}\nReport: {short_path(page)}"
