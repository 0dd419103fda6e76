"""A thousand runs in one warehouse, and fifty readers during a build: `make bench-load`.

Prints how long `status`, the first build, a build with nothing new and a build of one more run
take, alone and beside 50 processes that query all runs every two seconds or so; what these saw, and
how long they waited for it.
"""

import argparse
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich.progress import track

from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from tests.dbt_project.random_lake import land
from tests.dbt_project.random_runs import RandomRun

GATEHOUSE = str(Path(sys.executable).with_name("gatehouse"))
CONSISTENT = """
select
    (select count(*) from dim_run) as runs,
    (select count(distinct run_id) from fct_layer_routing) as runs_of_layers,
    (select sum(tokens) from dim_run) = (
        select sum(frequency) from fct_token_routing as tokens
        inner join (select run_id, min(layer) as layer from dim_layer group by run_id) as first
            on tokens.run_id = first.run_id and tokens.layer = first.layer
    ) as adds_up
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--pause", type=float, default=2, help="average pause of a reader, in s")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="gatehouse-load-") as folder:
        paths = Paths(Path(folder))
        lake = Lake(paths.lake)
        for number in track(range(options.runs), "landing runs", transient=True):
            land(lake, made_up(number))
        timed("status", paths)
        timed("build", paths)
        timed("build", paths, "with nothing new")
        land(lake, made_up(options.runs))
        timed("build", paths, "of one more")
        land(lake, made_up(options.runs + 1))
        answers, seconds = beside_readers(
            paths, options, lambda: timed("build", paths, f"of one more, {options.readers} reading")
        )
        timed("status", paths)
    for answer, count in sorted(answers.items(), key=str):
        print(f"readers saw {answer} {count:,} times")
    print("they waited {:.2f} s (median), at most {:.2f} s".format(*seconds))
    right = {(runs, runs, True) for runs in (options.runs + 1, options.runs + 2)}
    sys.exit(0 if answers.keys() <= right else 1)


def made_up(number: int) -> RandomRun:
    return RandomRun(f"run-{number:05d}", 8, 2, blocks=(0, 1), samples=range(4), text=str(number))


def timed(command: str, paths: Paths, what: str = "") -> None:
    started = time.monotonic()
    subprocess.run(
        [GATEHOUSE, command, "--home", str(paths.root)], check=True, stdout=subprocess.DEVNULL
    )
    print(f"{command} {what}: {time.monotonic() - started:.1f} s", flush=True)


def beside_readers(
    paths: Paths, options: argparse.Namespace, build: Callable[[], None]
) -> tuple[Counter, tuple[float, float]]:
    """Build while every reader queries again and again.

    Returns:
        What they saw, how often; and the median and the longest wait for an answer, in seconds.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.dbt_project.random_lake", "gatehouse.warehouse.connect"])
    with context.Manager() as manager, context.Pool(options.readers) as pool:
        began, ended = manager.Barrier(options.readers + 1), manager.Event()
        readers = [(paths.root, options.pause, began, ended)] * options.readers
        seen = pool.starmap_async(read, readers, chunksize=1)
        began.wait()
        build()
        ended.set()
        found = seen.get()
    waits = [wait for _, waits in found for wait in waits]
    return sum((answers for answers, _ in found), Counter()), (median(waits), max(waits))


def read(root: Path, pause: float, began, ended) -> tuple[Counter, list[float]]:
    """Query, with pauses, until the build ends; return the answers and errors, and the waits."""
    answers: Counter = Counter()
    waits = []
    generator = random.Random(os.getpid())
    began.wait()
    while not ended.wait(generator.uniform(0, 2 * pause)):
        started = time.monotonic()
        try:
            with closing(connect(Paths(root))) as connection:
                answers[connection.execute(CONSISTENT).fetchone()] += 1
        except Exception as error:  # whatever a reader meets is counted
            answers[f"{type(error).__name__}: {error}"] += 1
        waits.append(time.monotonic() - started)
    return answers, waits


if __name__ == "__main__":
    main()
