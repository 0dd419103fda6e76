"""Tiny real models and a home of its own for every test."""

import asyncio
import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# No test may reach a hub, and no tool may phone home.
os.environ.update(
    HF_HUB_OFFLINE="1",
    DO_NOT_TRACK="1",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    MPLBACKEND="agg",
    # the suite runs in as many processes as there are cores: threads would wait for each other
    OMP_NUM_THREADS="1",
    # a build uses as much of every machine
    GATEHOUSE_THREADS="2",
    GATEHOUSE_MEMORY_LIMIT="4GB",
)

# the many processes of the suite compile the sources once, whatever the environment says
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# One cache for the session, which xdist's workers and subprocesses share: dbt parses once.
if "GATEHOUSE_CACHE" not in os.environ:
    os.environ["GATEHOUSE_CACHE"] = tempfile.mkdtemp(prefix="gatehouse-cache-")
    atexit.register(shutil.rmtree, os.environ["GATEHOUSE_CACHE"], ignore_errors=True)

import pytest
from hypothesis import settings

from gatehouse.flows import process

# as the commands do, which these tests also call in this process
process.collect_rarely()

# The same examples in every run, however slow the machine; nothing is kept between runs.
settings.register_profile("suite", derandomize=True, deadline=None, database=None)
settings.load_profile("suite")

WARM_UP = """
from gatehouse.flows import process
process.end_with_parent()
process.collect_rarely()
from gatehouse.flows.fill_cache import fill_cache
fill_cache()
"""


def pytest_configure(config: pytest.Config) -> None:
    """Fill the cache while xdist's workers collect the suite, or several of them do it later."""
    whole = config.args_source == pytest.Config.ArgsSource.TESTPATHS and not config.option.markexpr
    if not whole or hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        return
    words = [sys.executable, "-c", WARM_UP]
    config.stash[WARMING] = subprocess.Popen(
        words, stdin=subprocess.PIPE, env=without_prefect(), cwd=CHECKOUT
    )


WARMING = pytest.StashKey[subprocess.Popen]()

# DuckDB's bindings print pages of harmless leaks while the interpreter ends.
atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))

SHARED = (
    "built",
    "captured",
    "documents",
    "findings",
    "found",
    "grown",
    "installed",
    "prefect_server",
    "scheduler",
    "steps",
)
"""Fixtures that take as long as many tests: a warehouse that dbt has built, a server, a cluster."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let the tests that share such a fixture run in one process, so that it is made once."""
    # as each is collected, before xdist's workers read the marks
    for name in SHARED:
        if name in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group(name))
            return


CHECKOUT = Path(__file__).resolve().parent.parent
DEMO = CHECKOUT / "models" / "demo"
WORDS = "the router sends every token to two experts of a layer and keeps the rest idle".split()


@pytest.fixture(scope="session")
def tiny_mixtral(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Mixtral of 3 MoE layers, 4 experts, top-2, saved with the bundled tokenizer."""
    return save_tiny_mixtral(tmp_path_factory.mktemp("models") / "tiny-mixtral")


def save_tiny_mixtral(folder: Path, **changes: int) -> Path:
    """Make the model of the fixture `tiny_mixtral`, with `changes` to its config."""
    import torch
    from transformers import AutoTokenizer, MixtralConfig, MixtralForCausalLM

    torch.manual_seed(7)
    shape = {
        "vocab_size": 4096,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.3,
        "sliding_window": None,
    }
    config = MixtralConfig(**shape | changes)
    MixtralForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(DEMO).save_pretrained(folder)
    return folder


SHARE = {name: os.environ[name] for name in ("GATEHOUSE_THREADS", "GATEHOUSE_MEMORY_LIMIT")}


@pytest.fixture(autouse=True)
def share_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test the share that this file names, whatever a command before it was told."""
    for name, value in SHARE.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty warehouse home that GATEHOUSE_HOME names."""
    folder = tmp_path / "home"
    monkeypatch.setenv("GATEHOUSE_HOME", str(folder))
    # commands set these by their options, as they do the home
    for name in ("GATEHOUSE_THREADS", "GATEHOUSE_MEMORY_LIMIT", "GATEHOUSE_LAKE"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    return folder


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A JSONL corpus of 40 short documents in two domains, of very different lengths."""
    return write_texts(tmp_path / "texts.jsonl")


def write_texts(path: Path) -> Path:
    """Write the corpus of the fixture `texts`."""
    import json
    import random

    generator = random.Random(5)
    with open(path, "w") as file:
        for number in range(40):
            words = generator.choices(WORDS, k=generator.randint(1, 60))
            row = {"text": " ".join(words), "domain": "even" if number % 2 == 0 else "odd"}
            file.write(json.dumps(row) + "\n")
    return path


@pytest.fixture
def quick_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save figures quickly, for tests that do not look at them."""
    draw_quickly(monkeypatch)


def draw_quickly(patch: pytest.MonkeyPatch) -> None:
    """Make every figure, but save it empty: its text takes most of the time of laying out.

    Empty figures of one size are one file, which is drawn once.
    """
    from gatehouse.flows.steps import drawing
    from gatehouse.reports.figures import style
    from gatehouse.reports.results import files

    # the second process would not know of this
    patch.setattr(drawing, "cores", lambda: 1)
    draw, saved = files._draw, {}

    def draw_nothing(figure: Any, kind: str, metadata: dict[str, None], path: Path) -> None:
        what = (kind, *figure.get_size_inches())
        if what not in saved:
            figure.clear()
            draw(figure, kind, metadata, path)
            saved[what] = path.read_bytes()
        path.write_bytes(saved[what])

    patch.setattr(style, "_lay_out", lambda figure: figure.set_layout_engine(None))
    patch.setattr(files, "_draw", draw_nothing)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond some bytes in the block, as on a full disk."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.MonkeyPatch.context() as patch:
        # Python would keep half of a module that it compiles here, and fail with it ever after
        patch.setattr(sys, "dont_write_bytecode", True)
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def without_prefect() -> dict[str, str]:
    """Return this process's environment without Prefect's settings: a run starts its own server."""
    return {key: value for key, value in os.environ.items() if "PREFECT" not in key}


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Prefect server for the flows that the test session runs, with its own database."""
    with pytest.MonkeyPatch.context() as patched:
        folder = tmp_path_factory.mktemp("prefect")
        from gatehouse.flows import prefect_server

        server = prefect_server.begin(folder)
        patched.setenv("PREFECT_HOME", str(folder))
        for name, value in server.access.items():
            patched.setenv(name, value)
        from prefect.context import refresh_global_settings_context
        from prefect.logging.handlers import APILogHandler

        refresh_global_settings_context()
        server.wait()
        yield
        # Prefect tries for a minute to send what it has logged to a server that has ended
        asyncio.run(APILogHandler.aflush())
        server.stop()
    refresh_global_settings_context()


@pytest.fixture(scope="module")
def object_server() -> Iterator[Any]:
    """An S3 server, a `tests.object_store.Server`."""
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    from tests.object_store import Server

    server = Server()
    server.start()
    yield server
    server.stop()
