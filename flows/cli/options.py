"""What several commands take: the warehouse, the run, their share of the machine or of the work."""

import inspect
import os
import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from gatehouse.flows.steps.machine import (
    MEMORY_LIMIT,
    THREADS,
    checked_memory,
    checked_threads,
)
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.release import gatehouse_version
from gatehouse.warehouse.storage.addresses import checked_address


def _say_version(asked: bool) -> None:
    if asked:
        print(f"gatehouse {gatehouse_version()}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version."),
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
Run = Annotated[
    str | None,
    typer.Option(help="Run id or name (`gatehouse status` lists them); default: the latest."),
]
LatestRun = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN", help="Run id or name (`gatehouse status` lists them); default: the latest."
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
Rank = Annotated[
    str | None,
    typer.Option(
        metavar="R",
        help="Do only the share of rank R, 0 to N - 1 of --of N, for machines that share the "
        "home and do not talk. auto: as torchrun says (RANK, WORLD_SIZE), or a SLURM job array "
        "(SLURM_ARRAY_TASK_ID, SLURM_ARRAY_TASK_COUNT), which are heeded only then.",
    ),
]
Of = Annotated[int | None, typer.Option(metavar="N", help="Number of ranks, with --rank.")]

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
