"""Land shards of a made-up run beside other processes that do, perhaps to be killed.

    python -m tests.warehouse.land_shards LAKE 0,2 [PART OF A PATH]

It says when it shares the run's lock, and begins when a line comes; it is killed before the first
rename to a path that holds the last argument.
"""

import sys
from pathlib import Path

from gatehouse.warehouse.lake import Lake
from tests.chaos.processes import arm_rename
from tests.dbt_project.random_lake import layers, random_shard, record, vocabulary
from tests.dbt_project.random_runs import RandomRun

RUN = RandomRun("shared", 8, 2, blocks=(0, 1), shards=4, samples=range(16), text="a", routing="a")


def land(lake: Lake, shards: list[int]) -> None:
    """Land those of the shards that have not landed; close the run if they were the last."""
    for shard in shards:
        if not lake.shards.has_landed(RUN.run_id, shard):
            lake.land_run(RUN.run_id, record(RUN, finished=False), layers(RUN), vocabulary(RUN))
            lake.land_shard(RUN.run_id, shard, *random_shard(RUN, shard), again=False)
    if lake.shards.finished(RUN.run_id) == set(range(RUN.shards)):
        lake.finish_run(RUN.run_id)


if __name__ == "__main__":
    _, root, numbers, *places = sys.argv
    lake = Lake(Path(root))
    for place in places:
        arm_rename(place)
    with lake.locks.sharing(RUN.run_id):
        print(flush=True)
        sys.stdin.readline()
        lake.locks.remove_dead_leftovers(RUN.run_id)
        land(lake, [int(number) for number in numbers.split(",")])
