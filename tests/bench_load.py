"""A thousand runs in one warehouse, and fifty readers during a build: `make bench-load`.

Prints how long `status`, the first build, a build of one more run, and a build with nothing new
take, and what 50 processes that read all the while saw.
"""

import argparse
import multiprocessing
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.progress import track

from tests.dbt_project.random_lake import RandomRun, land
from warehouse.connect import connect
from warehouse.lake import Lake
from warehouse.paths import Paths

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
        with multiprocessing.get_context("spawn").Pool(options.readers) as readers:
            ended = multiprocessing.get_context("spawn").Manager().Event()
            seen = readers.starmap_async(read, [(paths.root, ended)] * options.readers)
            timed("build", paths, f"of one more run, beside {options.readers} readers")
            ended.set()
            answers = sum(seen.get(), Counter())
        timed("status", paths)
    for answer, count in sorted(answers.items(), key=str):
        print(f"{count:,} times readers saw {answer}")
    right = {(runs, runs, True) for runs in (options.runs, options.runs + 1)}
    sys.exit(0 if answers.keys() <= right else 1)


def made_up(number: int) -> RandomRun:
    return RandomRun(f"run-{number:05d}", 8, 2, blocks=(0, 1), samples=range(4), text=str(number))


def timed(command: str, paths: Paths, what: str = "") -> None:
    started = time.monotonic()
    subprocess.run(
        [GATEHOUSE, command, "--home", str(paths.root)], check=True, stdout=subprocess.DEVNULL
    )
    print(f"{command} {what}: {time.monotonic() - started:.1f} s", flush=True)


def read(root: Path, ended) -> Counter:
    """Ask again and again until the build has ended; count the answers, errors too."""
    answers: Counter = Counter()
    while not ended.is_set():
        try:
            with closing(connect(Paths(root))) as connection:
                answers[connection.execute(CONSISTENT).fetchone()] += 1
        except Exception as error:  # whatever a reader may meet is what is counted here
            answers[f"{type(error).__name__}: {error}"] += 1
    return answers


if __name__ == "__main__":
    main()
