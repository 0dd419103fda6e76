"""The process of a worker on this machine."""

import asyncio
import json
import sys
from typing import Any

from gatehouse.flows import process
from gatehouse.flows.steps.workers.settings import dask
from gatehouse.warehouse import environment


def serve() -> None:
    """Be a worker until standard input closes.

    Its first line is JSON: the scheduler's address, the certificate and key of the cluster, a
    folder for Dask, and this worker's name. A line on standard output says that it has begun.
    """
    process.collect_rarely()
    asked = json.loads(sys.stdin.readline())
    process.end_with_parent()
    with dask(own=True):
        asyncio.run(_work(asked))


async def _work(asked: dict[str, Any]) -> None:
    from distributed.security import Security

    from gatehouse.flows.steps.workers.servers import QuietWorker

    security = Security(
        require_encryption=True,
        tls_ca_file=asked["ca"],
        tls_worker_cert=asked["cert"],
        tls_worker_key=asked["key"],
    )
    async with QuietWorker(
        asked["scheduler"],
        name=asked["name"],
        host=environment.LOOPBACK,
        nthreads=1,
        memory_limit=0,
        local_directory=asked["folder"],
        security=security,
    ) as worker:
        print("began", flush=True)
        await worker.finished()
