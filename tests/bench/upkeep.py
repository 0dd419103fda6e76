"""`make bench-upkeep`: what looking after many runs costs, command by command.

CPU seconds, each of a fresh process, the fastest of a few rounds, without those that it takes the
command line to start: what is left grows with the runs.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import track
from rich.table import Table

from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from tests.dbt_project.random_lake import RandomRun, land_lawful

COMMANDS = ("status", "status --format json", "runs", "verify", "verify --all")
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--without-marts", action="store_true", help="build no database")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="gatehouse-upkeep-") as folder:
        paths = Paths(Path(folder))
        for number in track(range(options.runs), "landing runs", transient=True):
            land_lawful(Lake(paths.lake), made_up(number))
        if not options.without_marts:
            subprocess.run([*GATEHOUSE, "build", "--home", folder], check=True)
        start = fastest("--help", paths)
        table = Table("command", "CPU s", "beyond the start", "ms a run")
        table.add_row("--help", f"{start:.2f}", "", "")
        for command in COMMANDS:
            for name, remembers in rounds_of(command):
                taken = fastest(command, paths, remembers=remembers)
                beyond = taken - start
                each = f"{1000 * beyond / options.runs:.1f}"
                table.add_row(name, f"{taken:.2f}", f"{beyond:.2f}", each)
        Console().print(table)


GATEHOUSE = [sys.executable, "-m", "gatehouse.flows.cli"]


def made_up(number: int) -> RandomRun:
    text = str(number)
    return RandomRun("", 8, 2, (0, 1), shards=2, samples=range(8), text=text, routing=text)


def rounds_of(command: str) -> list[tuple[str, bool]]:
    """Return the names of the rows of a command, each with whether it remembers the one before."""
    if command.startswith("verify --all"):
        return [(command, True)]
    return [(f"{command}, the first time", False), (f"{command}, again", True)]


def fastest(command: str, paths: Paths, *, remembers: bool = True) -> float:
    """Return the CPU seconds, of user and system, of the fastest of some rounds of a command."""
    taken = []
    for _ in range(ROUNDS):
        if not remembers:
            shutil.rmtree(paths.remembered, ignore_errors=True)
        before = os.times()
        subprocess.run(
            [*GATEHOUSE, *command.split()],
            env=os.environ | {"GATEHOUSE_HOME": str(paths.root)},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        after = os.times()
        user = after.children_user - before.children_user
        taken.append(user + after.children_system - before.children_system)
    return min(taken)


if __name__ == "__main__":
    main()
