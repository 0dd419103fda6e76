"""Capture on workers that dask-jobqueue starts as SLURM jobs; run this where they can reach it.

    python docs/slurm/jobqueue.py 8 --model mixtral --dataset c4 --num-samples 1000000

Needs `pip install 'gatehouse[cluster]' dask-jobqueue`. Each job is one worker with one GPU. A job
that SLURM ends is replaced, and its shard is captured by another.
"""

import subprocess
import sys

from dask_jobqueue import SLURMCluster

THREADS = "DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON__OMP_NUM_THREADS"


def main() -> int:
    """Start the workers, capture, and end them; return the exit code of the capture."""
    jobs, *parameters = sys.argv[1:]
    with SLURMCluster(
        cores=1,  # one thread: a worker captures one shard at a time
        processes=1,
        memory="64GB",
        walltime="12:00:00",
        job_cpu=8,
        job_extra_directives=["--gpus-per-task=1"],
        # Dask itself would let a worker have one
        job_script_prologue=[f"export {THREADS}=8"],
        # the system's memory is the limit: a worker holds a model
        worker_extra_args=["--memory-limit", "0"],
    ) as cluster:
        cluster.adapt(minimum_jobs=int(jobs), maximum_jobs=int(jobs))
        command = ["gatehouse", "capture", "--scheduler", cluster.scheduler_address, *parameters]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
