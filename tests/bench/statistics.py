"""The per-token statistics of a lake: what they cost in the warehouse and in other engines."""

import json
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from gatehouse.warehouse.paths import Paths
from tests.bench.build import Node, token_statistics, watch
from tests.bench.lake import LARGE, RUN_ID, SIZES, SMALL, linked
from tests.bench.peers import ENGINES, FLOOR, OURS

TWO, ONE = 2, 1
"""Cores, and threads of the engine."""
ROUNDS = 3
WRITTEN = f"{OURS}, written by dbt"
EXACT = ["layer", "token_id", "frequency", "min_entropy", "max_entropy", "top_expert"]
ROUNDED = ["mean_entropy", "std_entropy", "mean_confidence", "std_confidence"]
ROUNDED += ["routing_consistency"]
NOT_IN_FLOOR = ["min_entropy", "max_entropy"]
SHOWN = [OURS, WRITTEN, *(engine for engine in ENGINES if engine != OURS)]
TOLERANCE = 1e-6
STATISTICS_BUDGET, GROWTH_BUDGET = 6.0, 11.0

screen = Console(width=None if sys.stdout.isatty() else 120)

Budget = tuple[str, str, str, bool]
"""What was measured, the figure, its budget, and whether it is met."""


@dataclass(frozen=True)
class Taken:
    """What an engine took; `peak` is its process's resident bytes, `models` are the warehouse's."""

    seconds: float
    cpu_seconds: float
    peak: int
    models: tuple[Node, ...] = ()


def bench_statistics(lakes: dict[str, Path], folder: Path) -> list[Budget]:
    """Print what the per-token statistics cost in each engine; return whether budgets are met."""
    homes = {size: built_home(lakes[size], folder / f"statistics-{size}") for size in SIZES}
    expected = mart_of(homes[SMALL])
    for engine in ENGINES:
        found = answer_of(engine, homes[SMALL], TWO)[1]
        asked = expected.drop_columns(NOT_IN_FLOOR) if engine == FLOOR else expected
        if differ := disagreements(asked, found):
            raise SystemExit(f"{engine} gives another answer in {', '.join(differ)}")
    taken = {
        (engine, size, cores): fastest(engine, homes[size], cores)
        for cores in (TWO, ONE)
        for size in SIZES
        for engine in SHOWN
    }
    show_statistics(taken)
    ours, written = (taken[name, LARGE, TWO].seconds for name in (OURS, WRITTEN))
    peers = {name: taken[name, LARGE, TWO].seconds for name in ENGINES if name not in (OURS, FLOOR)}
    peer = min(peers, key=peers.__getitem__)
    growth = ours / taken[OURS, SMALL, TWO].seconds
    return [
        within("per-token statistics of 100 M events, seconds", ours, STATISTICS_BUDGET),
        within(f"the same beside the fastest peer, {peer}", ours, peers[peer]),
        within(f"the same, written into the database, beside {peer}", written, peers[peer]),
        within("their growth from 10 M to 100 M events", growth, GROWTH_BUDGET),
    ]


def show_statistics(taken: dict[tuple[str, str, int], Taken]) -> None:
    for cores in (TWO, ONE):
        table = Table(
            "engine",
            *("10 M", "100 M", "CPU", "peak", "growth"),
            title=f"Per-token statistics, {cores} {'cores' if cores > 1 else 'core'}, seconds",
            caption=f"The fastest of {ROUNDS} rounds, from Parquet to an answer in memory, except "
            "where it is written by dbt; CPU and peak are those of 100 M events.",
        )
        for engine in SHOWN:
            small, large = taken[engine, SMALL, cores], taken[engine, LARGE, cores]
            table.add_row(engine, *figures(small, large))
            for before, after in zip(small.models, large.models, strict=True):
                table.add_row(f"  {after.group}", *figures(before, after), style="dim")
        screen.print(table)


def figures(small: Taken | Node, large: Taken | Node) -> list[str]:
    seconds = (small.seconds, large.seconds, large.cpu_seconds)
    growth = f"{large.seconds / small.seconds:.1f}"
    return [*(f"{each:.2f}" for each in seconds), megabytes(large.peak), growth]


def fastest(engine: str, home: Path, cores: int) -> Taken:
    with screen.status(f"{engine} on {home.name}, {cores} cores"):
        if engine == WRITTEN:
            rounds = [write_statistics(home, cores) for _ in range(ROUNDS)]
        else:
            rounds = [answer_of(engine, home, cores)[0] for _ in range(ROUNDS)]
    return min(rounds, key=lambda taken: taken.seconds)


def built_home(lake: Path, home: Path) -> Path:
    """Return `home` with a lake's run and `fct_token_routing` over it."""
    linked(home, {RUN_ID: lake})
    token_statistics(home, TWO)
    return home


def answer_of(engine: str, home: Path, cores: int) -> tuple[Taken, pa.Table]:
    """Return what an engine's answer took in a process of its own, and the answer."""
    with tempfile.TemporaryDirectory(dir=home) as folder:
        path = Path(folder) / "answer.parquet"
        module = [sys.executable, "-m", "tests.bench.peers"]
        watched = watch([*module, engine, str(home), str(path)], {}, cores)
        took = json.loads(watched.printed.splitlines()[-1])
        return Taken(**took, peak=watched.peak), pq.read_table(path)


def write_statistics(home: Path, cores: int) -> Taken:
    """Return what dbt takes to build the mart afresh from the lake of `home`."""
    with tempfile.TemporaryDirectory(dir=home) as folder:
        ran = token_statistics(linked(Path(folder), {RUN_ID: home}), cores)
    seconds = sum(node.seconds for node in ran.nodes)
    cpu_seconds = sum(node.cpu_seconds for node in ran.nodes)
    return Taken(seconds, cpu_seconds, ran.watched.peak, tuple(ran.nodes))


def mart_of(home: Path) -> pa.Table:
    with closing(duckdb.connect(str(Paths(home).database), read_only=True)) as connection:
        return connection.table("fct_token_routing").select(*EXACT, *ROUNDED).to_arrow_table()


def disagreements(ours: pa.Table, theirs: pa.Table) -> list[str]:
    """Return the columns of `ours` that `theirs` lacks, or in which it differs.

    Keys, frequency, minimum, maximum and modal expert must be equal, the rest within 1e-6.
    """
    if ours.num_rows != theirs.num_rows:
        return [f"{theirs.num_rows:,} rows instead of {ours.num_rows:,}"]
    names = ours.column_names
    if missing := [name for name in names if name not in theirs.column_names]:
        return missing
    columns = zip(names, _sorted_columns(ours, names), _sorted_columns(theirs, names), strict=True)
    return [
        name
        for name, our, their in columns
        if not np.allclose(our, their, 0, TOLERANCE if name in ROUNDED else 0, equal_nan=True)
    ]


def _sorted_columns(table: pa.Table, names: list[str]) -> list[np.ndarray]:
    """Return columns as float64 in the order of layer and token, null as NaN."""
    columns = {
        name: pc.fill_null(table[name].cast(pa.float64()), float("nan")).to_numpy()
        for name in names
    }
    order = np.lexsort([columns["token_id"], columns["layer"]])
    return [columns[name][order] for name in names]


def within(what: str, measured: float, budget: float) -> Budget:
    return what, f"{measured:.2f}", f"{budget:.2f}", measured <= budget


def megabytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MB"
