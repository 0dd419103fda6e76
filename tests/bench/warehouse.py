"""`make bench-warehouse`: what the warehouse costs at 10 M and at 100 M events, on two cores.

The per-token statistics beside those of other engines over the same files, which must first give
the same answer; the whole build, model by model; and a second build after one more run. Then the
builds of as many events of a model with many experts, of which hardly two events choose the same.
It takes half an hour to an hour, and 12 GB in the folder for temporary files (TMPDIR), 4.7 GB of
which are made-up lakes: `--lakes FOLDER` keeps them for the next time.

The budgets are for wall time; CPU time is what other work on the machine changes least.
"""

import argparse
import tempfile
from contextlib import closing
from pathlib import Path

import duckdb
from rich.table import Table

from gatehouse.warehouse.paths import Paths
from tests.bench.build import Build, Node, build
from tests.bench.lake import FEW, LARGE, MANY, RUN_ID, SIZES, SMALL, Shape, lake_of, linked
from tests.bench.statistics import (
    GROWTH_BUDGET,
    Budget,
    bench_statistics,
    megabytes,
    screen,
    within,
)

BUILD_BUDGET, CPU_BUDGET, MEMORY_BUDGET = 120.0, 130.0, 4 * 2**30
MANY_TIMES = 5
"""How many times the CPU time of few experts that of many may be."""
SHORT = 0.2
"""Seconds at 10 M events under which a model's growth says more about dbt than about the model."""


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description="What the warehouse costs, and its budgets.")
    parser.add_argument("--lakes", type=Path, help="the folder in which made-up lakes are kept")
    chosen = parser.parse_args().lakes
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kept = (chosen or folder / "lakes").resolve()
        few, many = lakes_of(kept, FEW), lakes_of(kept / "many", MANY)
        budgets = [
            *bench_statistics(few, folder),
            *bench_builds(few, folder),
            *bench_many_experts(many, folder / "many"),
        ]
    table = Table("what", "measured", "budget", "", title="Budgets, 2 cores")
    for what, measured, budget, held in budgets:
        table.add_row(what, measured, budget, "met" if held else "[red]NOT MET[/red]")
    screen.print(table)


def lakes_of(kept: Path, shape: Shape) -> dict[str, Path]:
    """Return a home with a lake of each of SIZES, of a model of this shape."""
    return {
        size: lake_of(kept / size, events, seed, shape)
        for seed, (size, events) in enumerate(SIZES.items())
    }


def bench_many_experts(lakes: dict[str, Path], folder: Path) -> list[Budget]:
    """Print what builds of a model with many experts take; return whether budgets are met."""
    homes = {size: linked(folder / size, {RUN_ID: lakes[size]}) for size in SIZES}
    small, large = (watched_build(homes[size]) for size in SIZES)
    show_models(small, large, None, rows_of(Paths(homes[LARGE])))
    show_builds({"10 M events of many experts": small, "100 M events of many experts": large})
    return budgets_of("of many experts", small, large, CPU_BUDGET * MANY_TIMES)


def bench_builds(lakes: dict[str, Path], folder: Path) -> list[Budget]:
    """Print what builds take; return whether budgets are met."""
    homes = {size: linked(folder / size, {RUN_ID: lakes[size]}) for size in SIZES}
    small, large = (watched_build(homes[size]) for size in SIZES)
    paths = Paths(homes[LARGE])
    size, rows = paths.database.stat().st_size, rows_of(paths)
    linked(paths.root, {"made-up-b": lakes[SMALL]})
    more, nothing = watched_build(paths.root), watched_build(paths.root)
    show_models(small, large, more, rows)
    show_tests(small, large, more)
    show_builds(
        {
            "10 M events": small,
            "100 M events": large,
            "another run of 10 M events": more,
            "nothing new": nothing,
        }
    )
    screen.print(f"The database of 100 M events takes {megabytes(size)}.")
    return [
        within("the build of 100 M events, seconds", large.watched.seconds, BUILD_BUDGET),
        *budgets_of("of few experts", small, large, CPU_BUDGET),
    ]


def budgets_of(which: str, small: Build, large: Build, cpu_budget: float) -> list[Budget]:
    """Return whether two builds kept to their CPU time, memory and growth."""
    slowest, growth = steepest(small, large)
    peak = large.watched.peak
    return [
        within(
            f"the build of 100 M events {which}, CPU seconds", large.watched.cpu[-1], cpu_budget
        ),
        ("its process's peak", megabytes(peak), megabytes(MEMORY_BUDGET), peak <= MEMORY_BUDGET),
        within(f"the steepest growth of a model: {slowest}", growth, GROWTH_BUDGET),
    ]


def watched_build(home: Path) -> Build:
    with screen.status(f"building {home.name}"):
        return build(home, cores=2)


def show_builds(builds: dict[str, Build]) -> None:
    table = Table("build", "seconds", "CPU", "peak", title="Whole builds, a process each")
    for what, each in builds.items():
        watched = each.watched
        cpu = watched.cpu[-1]
        table.add_row(what, f"{watched.seconds:.1f}", f"{cpu:.1f}", megabytes(watched.peak))
    screen.print(table)


def rows_of(paths: Paths) -> dict[str, int]:
    """Return the number of rows of each table in the database."""
    with closing(duckdb.connect(str(paths.database), read_only=True)) as connection:
        names = connection.execute("select table_name from duckdb_tables()").fetchall()
        return {name: len(connection.table(name)) for (name,) in names}


def show_models(small: Build, large: Build, more: Build | None, rows: dict[str, int]) -> None:
    table = Table(
        "model",
        *("10 M", "100 M", "CPU", "growth", "peak", "rows", "+ 10 M"),
        title="Models, seconds",
        caption="CPU and peak of the process while the model ran, and rows, are those of 100 M "
        "events; + 10 M adds another run of 10 M events.",
    )
    before, after = small.models(), more.models() if more else {}
    for name, node in sorted(large.models().items(), key=lambda model: -model[1].seconds):
        table.add_row(
            name,
            f"{before[name].seconds:.2f}",
            f"{node.seconds:.2f}",
            f"{node.cpu_seconds:.2f}",
            f"{growth_of(before[name], node):.1f}" if before[name].seconds >= SHORT else "",
            megabytes(node.peak),
            f"{rows[name]:,}" if name in rows else "",
            f"{after[name].seconds:.2f}" if name in after else "",
        )
    screen.print(table)


def show_tests(*builds: Build) -> None:
    table = Table("tests", "number", "10 M", "100 M", "+ 10 M", title="Tests, seconds")
    groups = [[node.group for node in each.nodes if node.is_test] for each in builds]
    totals = {
        group: [seconds(each, group) for each in builds] for group in dict.fromkeys(groups[1])
    }
    for group, found in sorted(totals.items(), key=lambda total: -total[1][1]):
        table.add_row(group, str(groups[1].count(group)), *(f"{each:.2f}" for each in found))
    screen.print(table)


def seconds(ran: Build, group: str) -> float:
    return sum(node.seconds for node in ran.nodes if node.is_test and node.group == group)


def steepest(small: Build, large: Build) -> tuple[str, float]:
    """Return the model that grows most from 10 M to 100 M events, among those that take time."""
    growth = {
        name: growth_of(before, large.models()[name])
        for name, before in small.models().items()
        if before.seconds >= SHORT
    }
    return max(growth.items(), key=lambda found: found[1])


def growth_of(small: Node, large: Node) -> float:
    return large.seconds / small.seconds


if __name__ == "__main__":
    main()
