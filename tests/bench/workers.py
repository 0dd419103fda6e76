"""What a build on many workers costs, beside one process: CPU seconds, and the largest process.

    python -m tests.bench.workers 10_000_000 2 4 8

builds the two made-up lakes of so many events with one process, and then with each number of
workers, and prints a table as docs/scaling.md has it. Wall time says nothing here: the workers
share this machine's cores. The longest way through is the command and its slowest worker, one after
the other: with a machine of as many cores for each, it becomes wall time.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from gatehouse.warehouse.paths import PACKAGE
from tests.bench.lake import FEW, MANY, Shape, lake_of

BUILD = """
import json, resource, sys
from gatehouse.flows.steps.build import build
from gatehouse.flows.request import Workers
from gatehouse.warehouse.paths import Paths

number = int(sys.argv[1])
build(Paths.resolve(), afresh=True, workers=Workers(number) if number else None)
for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
    used = resource.getrusage(who)
    print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss * 1024]))
"""
LAKES = {"top-2 of 8, 32 layers": FEW, "top-8 of 128, 48 layers": MANY}


def measured(home: Path, workers: int) -> tuple[list[float], list[float]]:
    """Return (CPU seconds, bytes of the largest process) of the command, and of its workers."""
    printed = subprocess.run(
        [sys.executable, "-c", BUILD, str(workers)],
        env=os.environ | {"GATEHOUSE_HOME": str(home)},
        cwd=PACKAGE,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    command, children = map(json.loads, printed.stdout.splitlines()[-2:])
    return command, children


def row(name: str, events: int, workers: int, home: Path) -> str:
    """Return a line of the table."""
    (command, peak), (children, largest) = measured(home, workers)
    each = children / workers if workers else 0
    who = f"{workers} workers" if workers else "one process"
    used = (command, each, command + each * workers, command + each)
    seconds = " | ".join(f"{number:.0f}" for number in used)
    return f"| {name}, {events / 1e6:.0f} M | {who} | {seconds} | {size(max(peak, largest))} |"


def size(number: float) -> str:
    """Return bytes as people write them."""
    return f"{number / 1e9:.1f} GB"


def main(events: int, *numbers: int) -> None:
    """Print the table."""
    print("| lake | | command | each worker | all together | longest way | largest process |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as folder:
        for name, shape in LAKES.items():
            home = lake_of(Path(folder) / name.split(",")[0], events, shape=shape)
            warm_up(Path(folder) / "warm", shape)
            for workers in (0, *numbers):
                print(row(name, events, workers, home), flush=True)


def warm_up(home: Path, shape: Shape) -> None:
    """Let dbt parse the project, which it does once."""
    measured(lake_of(home, shape.events_in_a_sample, shape=shape), 0)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
