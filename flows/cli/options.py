"""The options of the commands, with their help."""

import inspect
import os
import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from gatehouse.flows.steps.machine import (
    MEMORY_LIMIT,
    THREADS,
    checked_memory,
    checked_threads,
)
from gatehouse.models.aliases import ALIASES
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.release import gatehouse_version
from gatehouse.warehouse.storage.addresses import checked_address

OF_A_RUN: dict[str, Any] = {
    "model": typer.Option(
        help=f"A hub id, a folder with safetensors, or one of {', '.join(ALIASES)}."
    ),
    "revision": typer.Option(help="Branch, tag or commit of a hub model."),
    "dataset": typer.Option(
        help="pydoc (bundled), c4, wikitext, a hub id, a local file or folder, or - for standard "
        "input. Of a folder with splits, train is read."
    ),
    "num_samples": typer.Option(help="Number of samples to take."),
    "first_sample": typer.Option(help="Index of the first sample to take."),
    "batch_size": typer.Option(
        help="Memory for a batch: the tokens of this many samples of --max-length. "
        "It is halved if memory runs out, on a GPU or a CPU, and does not change the events."
    ),
    "max_length": typer.Option(help="Longest sequence in tokens, those of --generate included."),
    "windows": typer.Option(
        "--windows",
        help="Cut long samples into consecutive windows instead of truncating them. The model "
        "reads each on its own, later ones without an opening token.",
    ),
    "generate": typer.Option(
        metavar="N",
        help="Let the model add at most N tokens to each sample (for a chat: answer it), and "
        "capture prompt and addition in one pass. The prompt keeps its first --max-length - N "
        "tokens. Not with --windows.",
    ),
    "temperature": typer.Option(
        metavar="T",
        help="Of --generate: draw tokens by the softmax of the logits divided by T. "
        "Default: take the likeliest token.",
    ),
    "seed": typer.Option(
        metavar="S", help="Of --temperature: another seed draws other tokens, the same every time."
    ),
    "output_norms": typer.Option(
        "--output-norms",
        help="Also land the norm of each chosen expert's output before its weight, for keep sets "
        "by EAN and REAP. The events are otherwise the same.",
    ),
    "create_splits": typer.Option(
        "--create-splits", help="Also write train, validation and test files (8:1:1, by document)."
    ),
    "skip_broken": typer.Option(
        "--skip-broken",
        help="Leave out lines and files that cannot be read as documents (not UTF-8, not JSON, no "
        "text); they are counted, and the first is named.",
    ),
    "lines": typer.Option(
        "--lines", help="Each line of a .txt file is a document; otherwise the file is one."
    ),
    "text_field": typer.Option(
        metavar="NAME",
        help="Field of rows that holds the text or a chat; dots lead into nested fields. "
        "Default: text, else messages or conversations.",
    ),
    "domain_field": typer.Option(
        metavar="NAME",
        help="Field of rows that names the text's domain. Default: domain, meta.pile_set_name, "
        "source and their like, else the file or folder.",
    ),
    "document_field": typer.Option(
        metavar="NAME",
        help="Field of rows that names the document a text is part of. "
        "Blocks and splits keep a document together. Default: each text is a document.",
    ),
    "chat_as_text": typer.Option(
        "--chat-as-text",
        help="Take what is said in a chat as plain text, a blank line between turns. Default: the "
        "model's chat template.",
    ),
    "dtype": typer.Option(
        help="float32, bfloat16, float16, or auto: the checkpoint's own on a GPU, float32 on a CPU."
    ),
    "quantize": typer.Option(
        metavar="[4bit|8bit|none]",
        help="Load the experts' and all linear weights in 4 or 8 bits; routers stay as they are. "
        "--quantize alone is 4bit, --no-quantize is none. auto: 4bit if the full model does not "
        "fit on the GPU.",
    ),
    "device_map": typer.Option(
        help="cpu, cuda, cuda:1, ...; or auto, balanced, sequential: spread over all devices. "
        "Default: the GPU if there is one."
    ),
    "attn_implementation": typer.Option(
        help="sdpa, eager, flash_attention_2, ... Default: what transformers chooses."
    ),
    "trust_remote_code": typer.Option(
        "--trust-remote-code", help="Run the code in the model's repository."
    ),
    "num_experts": typer.Option(
        help="Stop if the model has a different number of experts (read from the model)."
    ),
    "layer": typer.Option("--layer", help="MoE layer to validate and draw: an index, or all."),
    "frequency_threshold": typer.Option(help="Fast path: a token must occur more often than this."),
    "entropy_threshold": typer.Option(
        help="Fast path: its mean entropy must be below this, in nats."
    ),
    "output": typer.Option(
        "--output",
        help="Folder of the results (new, empty or of results), or a .parquet path in it. "
        "Default: by run id.",
    ),
    "name": typer.Option(
        help="A name for the run: shown beside its id, and good wherever a run is asked for."
    ),
    "metrics": typer.Option(
        metavar="FILE",
        help="Write how far the capture is and how fast: a .jsonl gets a line for every shard, a "
        ".prom is OpenMetrics text for Prometheus.",
    ),
    "workers": typer.Option(
        metavar="N",
        help="Capture with N processes on this machine, each with the model loaded once, a GPU of "
        "its own and its share of the cores; `run` builds in one. "
        "Needs `pip install 'gatehouse[cluster]'`.",
    ),
    "scheduler": typer.Option(
        metavar="ADDRESS",
        help="Capture with the workers of a Dask scheduler that is there: tcp://HOST:PORT, or its "
        "scheduler file. They see the home under the same path, have the same packages, and take "
        "one shard at a time (`dask worker --nthreads 1`). `run` itself builds, in one process.",
    ),
    "spreadsheet_safe": typer.Option(
        "--spreadsheet-safe",
        help="In CSV, put a ' before text that a spreadsheet would run as a formula. "
        "By default CSV holds every text as it is.",
    ),
}
"""The option of each field of `RunRequest`, which has its type and default."""


def _say_version(asked: bool) -> None:
    if asked:
        print(f"gatehouse {gatehouse_version()}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version."),
]
FrequencyThreshold = Annotated[int, OF_A_RUN["frequency_threshold"]]
EntropyThreshold = Annotated[float, OF_A_RUN["entropy_threshold"]]
SpreadsheetSafe = Annotated[bool, OF_A_RUN["spreadsheet_safe"]]
Rank = Annotated[
    str | None,
    typer.Option(
        metavar="R",
        help="Do only the share of rank R, 0 to N - 1 of --of N, for machines that share the "
        "home and do not talk. auto: as torchrun says (RANK, WORLD_SIZE), or a SLURM job array "
        "(SLURM_ARRAY_TASK_ID, SLURM_ARRAY_TASK_COUNT), which are heeded only then.",
    ),
]
NoRank = Annotated[str | None, typer.Option("--rank", hidden=True)]
Of = Annotated[int | None, typer.Option(metavar="N", help="Number of ranks, with --rank.")]
TrustRemoteCode = Annotated[bool, OF_A_RUN["trust_remote_code"]]
Layer = Annotated[
    str | None,
    typer.Option(help="Index among the MoE layers, or all. Default: 0, or the input's only one."),
]
Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        "--checkpoint-dir",
        help="Folder of the warehouse; landed shards there are the checkpoint. Default: "
        "GATEHOUSE_HOME, else warehouse/data in a checkout, else the platform's data folder.",
    ),
]
Lake = Annotated[
    str | None,
    typer.Option(
        "--lake",
        metavar="ADDRESS",
        help="A lake in a bucket, such as s3://bucket/prefix; all else stays in the home. Default: "
        "GATEHOUSE_LAKE, else the home's own.",
    ),
]
Threads = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help="Threads of the build. Default: GATEHOUSE_THREADS, else all cores that this process "
        "may use.",
    ),
]
MemoryLimit = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Memory of the build, such as 8GB; what needs more goes to the disk. Default: "
        "GATEHOUSE_MEMORY_LIMIT, else 60 % of the machine's or container's.",
    ),
]
WorkerProcesses = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        help="Share the work among N processes of this machine, each with its share of the cores, "
        "and a GPU of its own if it runs a model. Needs `pip install 'gatehouse[cluster]'`.",
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Share the work among the workers of this Dask scheduler, such as tcp://host:8786. "
        "They see the home, and the files of an import, under the same path.",
    ),
]
Port = Annotated[
    int, typer.Option(min=1, max=65535, help="Port of the pages and the API, on 127.0.0.1 alone.")
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Capture nothing: prepare the text, try two batches, and print the events, time, "
        "memory and disk that the run would take. Exit code 2 if the disk cannot hold it.",
    ),
]
Run = Annotated[
    str | None,
    typer.Option(help="Run id or name (`gatehouse status` lists them); default: the latest."),
]
SameRun = Annotated[str | None, typer.Argument(metavar="RUN", help="The same as --run.")]
NamedRun = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN", help="Run id or name (`gatehouse status` lists them); default: all runs."
    ),
]
LatestRun = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN", help="Run id or name (`gatehouse status` lists them); default: the latest."
    ),
]
Slots = Annotated[
    int | None, typer.Option(min=1, help="Experts that a layer's cache has room for.")
]
Gigabytes = Annotated[
    float | None,
    typer.Option("--gb", help="Memory for the experts of all layers, in place of --slots."),
]
Policy = Annotated[
    str | None,
    typer.Option(help="Show one: lru, lfu, static_train, static_prompt, belady, static_hindsight."),
]
Gpus = Annotated[
    int | None,
    typer.Option(
        help="GPUs that share the experts of a layer. Default: 8, or the most below that which can "
        "have as many experts each, two or more."
    ),
]
Nodes = Annotated[int, typer.Option(help="Nodes that share the GPUs; they matter with --groups.")]
Redundant = Annotated[
    int,
    typer.Option(help="Replicas of a layer's experts, beyond one of each; the busiest get them."),
]
Groups = Annotated[
    int,
    typer.Option(
        help="Groups of experts, in the order of their numbers, that stay on one node each: those "
        "of a model whose router chooses groups first."
    ),
]
PlacementFile = Annotated[
    Path | None, typer.Option("--output", help="File of EPLB's placement, JSON. Default: none.")
]
RemovedRun = Annotated[
    str, typer.Argument(metavar="RUN", help="Run id or name (`gatehouse status` lists them).")
]
Answer = Annotated[
    Literal["text", "json"],
    typer.Option("--format", help="text for people, or one JSON document for programs."),
]
All = Annotated[
    bool,
    typer.Option(
        "--all",
        help="Read every byte, also of files that are unchanged since they were found right. "
        "--repair does, too.",
    ),
]
Repair = Annotated[
    bool,
    typer.Option(
        "--repair",
        help="Mend what can be mended: capture bad shards again, set strange files aside, record "
        "the shards that are there, build the marts afresh.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Input = Annotated[
    Path | None,
    typer.Option(help="A routing_stats .parquet or .csv made anywhere, instead of a run."),
]
PreparedFolder = Annotated[
    Path | None,
    typer.Option(
        "--output-dir",
        help="Folder of the prepared text: new, empty or of such text. Default: in the home.",
    ),
]
ReportFile = Annotated[
    Path | None,
    typer.Option(
        "--output", help="File of the report. Default: the run's results. It is printed either way."
    ),
]
Sweep = Annotated[
    bool,
    typer.Option(
        "--sweep",
        help="Instead, find the verdict at every pair of thresholds for every run and layer in the "
        "warehouse; --run and --layer narrow it. Prints a table and writes all pairs as CSV.",
    ),
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Exit with code 1 if the verdict is not SUPPORTED."),
]
Compare = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RUN RUN…",
        help="Instead, put these runs side by side, two or more; the one named first comes first.",
    ),
]
Trend = Annotated[
    bool,
    typer.Option(
        "--trend",
        help="Instead, draw all runs of the run's model, dataset and settings over time: load, "
        "entropy, consistency, drift.",
    ),
]
FigureFolder = Annotated[
    Path | None,
    typer.Option(
        "--output-dir",
        help="Folder of the figures: new, empty or of figures. Default: the run's results.",
    ),
]
Metric = Annotated[
    str | None,
    typer.Option(
        metavar="MART[.COLUMN]",
        help="What the page opens on: the path from the events to it. Default: "
        "fct_layer_routing.mean_entropy.",
    ),
]
PageFile = Annotated[
    Path | None, typer.Option("--output", help="File of the page. Default: the run's results.")
]
Samples = Annotated[
    str | None,
    typer.Option(
        metavar="N,N…",
        help="Samples whose text the page shows, by their numbers. Default: some of each domain.",
    ),
]
Focus = Annotated[
    Literal["routing", "verdict", "inference"] | None,
    typer.Option(
        help="What the page opens with: how the model routes, the verdict on the hypothesis, or "
        "what engines need to know. The others follow. Default: routing."
    ),
]
TracedText = Annotated[
    str, typer.Argument(metavar="TEXT", help="What the model reads; - for standard input.")
]
ShownSample = Annotated[
    int, typer.Option("--sample", min=0, help="The sample's number in the run.")
]
ShownLayer = Annotated[
    int,
    typer.Option(
        "--layer", min=0, help="Index of the MoE layer by whose experts the text is coloured."
    ),
]
TextPage = Annotated[
    Path | None,
    typer.Option(
        "--output", help="File of a page with the text in every layer, HTML. Default: none."
    ),
]
TraceFormat = Annotated[
    str | None,
    typer.Argument(metavar="FORMAT", help="What wrote the trace: --example all lists them."),
]
TraceFiles = Annotated[
    list[Path] | None,
    typer.Argument(metavar="PATH", help="Files or folders of the trace, in their order."),
]
TraceExample = Annotated[
    str | None,
    typer.Option(
        "--example",
        metavar="FORMAT",
        help="Print an example of a format and how it is read; all: list the formats.",
    ),
]
TraceModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="The model that was run: a hub id, a folder, or a config.json. Its config says which "
        "layers are MoE, and its tokenizer, where there is one, what the tokens are.",
    ),
]
RunName = Annotated[str | None, OF_A_RUN["name"]]
Revision = Annotated[str | None, OF_A_RUN["revision"]]
ModelName = Annotated[str | None, typer.Argument(metavar="MODEL", help="The same as --model.")]
AnalyzeStructure = Annotated[
    bool,
    typer.Option(
        "--analyze-structure",
        help="Print the MoE structure from the config, without weights.",
    ),
]
Test = Annotated[bool, typer.Option("--test", help="Load the model and route one sentence.")]
Query = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="QUERY",
        help="One SQL query in quotes; without it a shell opens, or a pipe is read. "
        "With --examples: names of examples, or all.",
    ),
]
ExternalAccess = Annotated[
    bool,
    typer.Option(
        "--external-access",
        help="Let this session read and write files wherever you may, attach other databases and "
        "load extensions. The warehouse itself stays read-only: a statement that names its files, "
        "or would empty a folder around them, is refused.",
    ),
]
Examples = Annotated[
    bool,
    typer.Option("--examples", help="List the library of example queries, or run those named."),
]
Format = Annotated[
    Literal["table", "csv", "json", "parquet", "markdown"] | None,
    typer.Option(help="Format of the result. Default: by the suffix of --output, else a table."),
]
ResultFile = Annotated[
    Path | None, typer.Option("--output", help="File of the result: .csv, .json, .parquet, .md.")
]


QUANTIZATION = re.compile(r"none|auto|\d+-?bits?|(int|nf|fp)\d+")
"""Words after `--quantize` that are its value, right or wrong, and not the model's name."""


def spelled_out(words: list[str]) -> list[str]:
    """Return a command's words as its parser takes them.

    `--quantize` alone and `--no-quantize` are given their value, and each run after `--compare`
    its own option.
    """
    full: list[str] = []
    for word, following in zip(words, [*words, ""][1:], strict=True):
        option = word.replace("_", "-")
        if option == "--no-quantize":
            full += ["--quantize", "none"]
        elif option == "--quantize" and not QUANTIZATION.fullmatch(following):
            full += ["--quantize", "4bit"]
        elif word.startswith("--compare="):
            full += word.split("=", 1)
        elif full[-2:-1] == ["--compare"] and not word.startswith("-"):
            full += ["--compare", word]
        else:
            full.append(word)
    return full


def paths_of(home: Path | None) -> Paths:
    """Return the paths of a command; child processes see the same home."""
    paths = Paths.resolve(home)
    os.environ["GATEHOUSE_HOME"] = str(paths.root)
    return paths


def names_a_lake(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that has a home the option `--lake`; child processes see the same lake."""
    signature = inspect.signature(command)
    if "home" not in signature.parameters:
        return command

    @wraps(command)
    def named(*words: Any, lake: str | None = None, **options: Any) -> None:
        if lake is not None:
            os.environ["GATEHOUSE_LAKE"] = str(checked_address(lake))
        command(*words, **options)

    option = inspect.Parameter(
        "lake", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Lake
    )
    parameters = [*signature.parameters.values(), option]
    named.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    named.__annotations__ = {**command.__annotations__, "lake": Lake}
    return named


def share(threads: str | None, memory_limit: str | None) -> None:
    """Say how much of the machine a command's build may use; child processes see the same.

    Raises:
        GatehouseError: one of them is no number of threads, or no size.
    """
    if threads is not None:
        os.environ[THREADS] = str(checked_threads(threads, "--threads"))
    if memory_limit is not None:
        os.environ[MEMORY_LIMIT] = f"{checked_memory(memory_limit, '--memory-limit')}B"
