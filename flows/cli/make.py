"""Commands that make the warehouse: run, prepare, fetch, capture, import, replay, build."""

from typing import Any

from gatehouse.flows.cli import import_options, options, replay_options, run_options
from gatehouse.flows.cli.options import paths_of
from gatehouse.flows.cli.run_options import OF_A_RUN
from gatehouse.flows.request import LOADING, RunRequest, Workers, takes_fields
from gatehouse.flows.steps.workers.part import Part, asked_part
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.notes.run_names import find_run
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.reserved import check_output_folder

PREPARING = (
    "dataset",
    "num_samples",
    "first_sample",
    "create_splits",
    "skip_broken",
    "lines",
    "text_field",
    "domain_field",
    "document_field",
    "chat_as_text",
)
"""The fields of a run that `prepare` takes."""

AFTER_CAPTURE = ("layer", "frequency_threshold", "entropy_threshold", "output", "spreadsheet_safe")
"""The fields of a run that only its results depend on."""

CAPTURING = tuple(name for name in OF_A_RUN if name not in ("create_splits", *AFTER_CAPTURE))
"""The fields of a run that `capture` takes, which writes no files of splits."""


@takes_fields(options=OF_A_RUN)
def run(
    dry_run: run_options.DryRun = False,
    rank: run_options.NoRank = None,
    threads: options.Threads = None,
    memory_limit: options.MemoryLimit = None,
    home: options.Home = None,
    **parameters: Any,
) -> None:
    """Do everything: prepare, capture, build, validate, plot, report; resume where it stopped."""
    if rank is not None:
        raise GatehouseError(
            "only a capture can be split by ranks, as the marts are of whole runs: `gatehouse "
            "capture --rank R --of N`, and `gatehouse build` once all ranks have ended"
        )
    paths = paths_of(home)
    options.share(threads, memory_limit)
    if dry_run:
        _say_what_it_takes(RunRequest(**parameters), paths)
        return
    from gatehouse.flows import prefect_run
    from gatehouse.flows.console import answer

    answer(prefect_run.run(**parameters))


@takes_fields(PREPARING, OF_A_RUN)
def prepare(
    output_dir: run_options.PreparedFolder = None, home: options.Home = None, **parameters: Any
) -> None:
    """Read a corpus and write it as numbered samples, each in its split."""
    paths = paths_of(home)
    request = RunRequest(**parameters)
    if output_dir and output_dir.resolve() != paths.prepared.resolve():
        check_output_folder(output_dir, ("*/samples.parquet",), paths)
    from gatehouse.flows.console import answer
    from gatehouse.flows.steps.prepare import prepare_samples
    from gatehouse.warehouse.plain_text import counted

    prepared = prepare_samples(request, output_dir or paths.prepared)
    broken = f"{prepared.skipped_broken:,} broken and " if prepared.skipped_broken else ""
    answer(
        f"{prepared.samples_text} of {prepared.dataset}, "
        f"{broken}{counted(prepared.skipped_empty, 'empty one')} skipped: {prepared.path}"
    )


@takes_fields(("model", *LOADING), OF_A_RUN)
def fetch(
    name: run_options.ModelName = None,
    analyze_structure: run_options.AnalyzeStructure = False,
    test: run_options.Test = False,
    **parameters: Any,
) -> None:
    """Download a model's config, tokenizer and safetensors into the hub's cache."""
    if name:
        parameters["model"] = name
    request = RunRequest(**parameters)
    from gatehouse.flows.console import answer
    from gatehouse.flows.steps import fetch as fetching

    answer(fetching.fetch(request, analyze_structure=analyze_structure, test=test))


@takes_fields(CAPTURING, OF_A_RUN)
def capture(
    rank: options.Rank = None,
    of: options.Of = None,
    dry_run: run_options.DryRun = False,
    home: options.Home = None,
    **parameters: Any,
) -> None:
    """Run the model and land its routing events; running it again resumes."""
    paths = paths_of(home)
    request = RunRequest(**parameters)
    part = _part(rank, of, request.asked_workers)
    if dry_run:
        _say_what_it_takes(request, paths)
        return
    from gatehouse.flows.console import answer
    from gatehouse.flows.steps import capture

    if part:
        answer(capture.capture_part(request, paths, part).line)
    else:
        answer(capture.capture(request, paths).line)


def _part(rank: str | None, of: int | None, workers: Workers | None) -> Part | None:
    """Return the part of a rank; None where there are no ranks.

    Raises:
        GatehouseError: there are workers as well, or as `asked_part`.
    """
    part = asked_part(rank, of)
    if part and workers:
        raise GatehouseError(
            "--rank is for machines that do not talk, which --workers and --scheduler do: leave "
            "out one or the other"
        )
    return part


def _say_what_it_takes(request: RunRequest, paths: Paths) -> None:
    from gatehouse.flows.console import answer
    from gatehouse.flows.sizing.answer import check_room, forecast

    found = forecast(request, paths)
    answer(str(found))
    check_room(found, paths)


def import_trace(
    format: import_options.TraceFormat = None,
    path: import_options.TraceFiles = None,
    model: import_options.TraceModel = None,
    revision: import_options.Revision = None,
    trust_remote_code: run_options.TrustRemoteCode = False,
    name: import_options.RunName = None,
    example: import_options.TraceExample = None,
    workers: options.WorkerProcesses = None,
    scheduler: options.Scheduler = None,
    rank: options.Rank = None,
    of: options.Of = None,
    home: options.Home = None,
) -> None:
    """Land the routing that another engine recorded; running it again resumes."""
    paths = paths_of(home)
    from gatehouse.flows.console import answer
    from gatehouse.flows.steps.importing.any_format import import_files
    from gatehouse.flows.steps.importing.imported_run import ImportRequest, example_of

    if example:
        answer(example_of(example))
        return
    if not (format and path):
        raise GatehouseError(
            "name a FORMAT and the files of a trace: `gatehouse import --example all` lists the "
            "formats"
        )
    if model is None:
        raise GatehouseError("name the --model that was run: a hub id, a folder, or a config.json")
    asked = Workers.asked(workers, scheduler)
    part = _part(rank, of, asked)
    request = ImportRequest(format, tuple(path), model, revision, trust_remote_code, name, asked)
    answer(import_files(request, paths, part).line)


def replay(
    run: options.LatestRun = None,
    num_samples: replay_options.ReplayedSamples = 128,
    table: replay_options.Table = None,
    min_share: replay_options.MinShare = None,
    min_frequency: replay_options.MinFrequency = None,
    frequency_threshold: replay_options.TableFrequencyThreshold = None,
    entropy_threshold: replay_options.TableEntropyThreshold = None,
    most_frequent: replay_options.MostFrequent = None,
    ids_only: replay_options.IdsOnly = False,
    layer: replay_options.ReplayedLayers = "all",
    drop_below: replay_options.DropBelow = None,
    drop_entropy: replay_options.DropEntropy = None,
    mask: replay_options.Mask = None,
    routing_of: replay_options.RoutingOf = None,
    batch_size: replay_options.ReplayBatchSize = None,
    device_map: replay_options.DeviceMap = None,
    trust_remote_code: run_options.TrustRemoteCode = False,
    workers: options.WorkerProcesses = None,
    scheduler: options.Scheduler = None,
    rank: options.Rank = None,
    of: options.Of = None,
    home: options.Home = None,
) -> None:
    """Measure in the model what lookup tables, fewer experts or another routing cost."""
    paths = paths_of(home)
    run = run and find_run(paths.lake, run)
    from gatehouse.flows.replay.request import ReplayRequest

    request = ReplayRequest(
        num_samples=num_samples,
        table=tuple(table or ()),
        min_share=tuple(min_share or ()),
        min_frequency=min_frequency,
        frequency_threshold=frequency_threshold,
        entropy_threshold=tuple(entropy_threshold or ()),
        most_frequent=tuple(most_frequent or ()),
        ids_only=ids_only,
        layer=layer,
        drop_below=tuple(drop_below or ()),
        drop_entropy=tuple(drop_entropy or ()),
        mask=tuple(mask or ()),
        routing_of=tuple(routing_of or ()),
        batch_size=batch_size,
        device_map=device_map,
        trust_remote_code=trust_remote_code,
        workers=workers,
        scheduler=scheduler,
    )
    part = _part(rank, of, request.asked_workers)
    from gatehouse.flows.console import answer
    from gatehouse.flows.replay import answer as replaying

    answer(replaying.replay(run, request, paths, part))


def build(
    threads: options.Threads = None,
    memory_limit: options.MemoryLimit = None,
    workers: options.WorkerProcesses = None,
    scheduler: options.Scheduler = None,
    home: options.Home = None,
) -> None:
    """Build and test the marts from the lake's finished runs with dbt."""
    paths = paths_of(home)
    options.share(threads, memory_limit)
    from gatehouse.flows.console import answer
    from gatehouse.flows.steps import build

    answer(build.build(paths, workers=Workers.asked(workers, scheduler)))
