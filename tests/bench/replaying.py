"""`make bench-replay`: the usual ten policies and their controls over 20,000 held-out tokens.

The bundled model, a run of 2,000 samples. Prints wall and CPU seconds of `gatehouse replay` as a
whole, of its session alone (tables, weights, forward passes, landing), its peak of memory, and the
table that it prints.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gatehouse.flows.replay.answer import replay_parts
from gatehouse.flows.replay.request import ReplayRequest
from gatehouse.flows.replay.session import ReplaySession
from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps import build, capture
from gatehouse.reports.marts.held_out import held_out_samples
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.paths import Paths
from tests.bench.statistics import Budget, megabytes, within

SAMPLES, TOKENS = 2_000, 20_000
SECONDS_BUDGET = 180.0


def enough_samples(paths: Paths, run_id: str) -> int:
    """Return how many held-out samples have 20,000 tokens."""
    with closing(connect(paths)) as connection:
        tokens = held_out_samples(connection, run_id)["tokens"].cumsum()
    return int((tokens < TOKENS).sum()) + 1


def of_session(paths: Paths, run_id: str, samples: int) -> None:
    """Replay in this process and print seconds, CPU seconds and peak."""
    started, used = time.perf_counter(), time.process_time()
    with ReplaySession(run_id, ReplayRequest(num_samples=samples), paths) as session:
        replay_parts(session)
    seconds, cpu = time.perf_counter() - started, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(seconds, cpu, peak, len([each for each in session.policies if not each.is_control]))


def measured(paths: Paths, screen: Console) -> list[Budget]:
    """Print what a replay takes; return whether its budget is met."""
    run_id = capture.capture(RunRequest(num_samples=SAMPLES), paths).run_id
    build.build(paths)
    samples = enough_samples(paths, run_id)
    words = [sys.executable, "-m", "tests.bench.replaying", str(paths.root), run_id, str(samples)]
    found = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    seconds, cpu, peak, policies = map(float, found.split())
    table = Table("policies", "samples", "seconds", "CPU seconds", "peak")
    table.add_row(f"{policies:.0f}", str(samples), f"{seconds:.0f}", f"{cpu:.0f}", megabytes(peak))
    screen.print(table)
    # what has landed is not measured again: this is the rest of the command
    command = [sys.executable, "-m", "gatehouse.flows.cli", "replay", run_id]
    started = time.perf_counter()
    environment = os.environ | {"GATEHOUSE_HOME": str(paths.root)}
    said = subprocess.run(
        [*command, "--num-samples", str(samples)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    ).stdout
    screen.print(said, markup=False)
    whole = seconds + time.perf_counter() - started
    return [within("ten policies on 20,000 tokens, seconds", whole, SECONDS_BUDGET)]


def main() -> None:
    """Measure and print the tables."""
    if len(sys.argv) == 4:
        of_session(Paths(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]))
        return
    screen = Console()
    with tempfile.TemporaryDirectory() as folder:
        budgets = measured(Paths(Path(folder)), screen)
    table = Table("what", "measured", "budget", "", title="Budgets")
    for what, found, budget, held in budgets:
        table.add_row(what, found, budget, "met" if held else "[red]NOT MET[/red]")
    screen.print(table)


if __name__ == "__main__":
    main()
