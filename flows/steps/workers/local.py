"""A Dask cluster on this machine: a scheduler in this process, a process for each worker.

They speak TLS over loopback with a key that only they have: a scheduler runs what it is sent. A
worker that is killed is started again; all end with this process, however it ends.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gatehouse.warehouse import environment
from gatehouse.warehouse.errors import GatehouseError

WORKER = """
from gatehouse.flows.steps.workers.serving import serve
serve()
"""
MOST_UNBEGUN = 3
"""How often in a row a worker may be killed before it has begun."""


class _Processes:
    """Keeps a process for each worker until `stop`.

    Args:
        asked: what each process is told: see `serving.serve`.
        shares: worker -> the variables of its own.
        folder: for what they say.
    """

    def __init__(self, asked: dict[str, Any], shares: list[dict[str, str]], folder: Path) -> None:
        self._asked = asked
        self._folder = folder
        self._over = threading.Event()
        self._running: dict[int, subprocess.Popen[str]] = {}
        self._lock = threading.Lock()
        self._failure = ""
        self._keepers = [
            threading.Thread(target=self._keep, args=(number, share), daemon=True)
            for number, share in enumerate(shares)
        ]
        for keeper in self._keepers:
            keeper.start()

    def check(self) -> None:
        """Say if a worker ended before it had begun.

        Raises:
            GatehouseError: one did.
        """
        if self._failure:
            raise GatehouseError(self._failure)

    def stop(self) -> None:
        """End all of them: what they were writing is removed as after a kill."""
        self._over.set()
        with self._lock:
            for each in self._running.values():
                each.kill()
        for keeper in self._keepers:
            keeper.join()

    def _keep(self, number: int, share: dict[str, str]) -> None:
        unbegun = 0
        while not (self._over.is_set() or self._failure):
            log = self._folder / f"worker-{number}.log"
            with open(log, "w") as said, self._started(number, share, said) as process:
                if process is None:
                    return
                # it says so once it is a worker
                began = bool(process.stdout and process.stdout.readline())
                code = process.wait()
            # one that was killed may be luckier the next time
            unbegun = 0 if began else unbegun + 1
            if unbegun and (code > 0 or unbegun == MOST_UNBEGUN) and not self._over.is_set():
                last = (log.read_text("utf-8", errors="replace").splitlines() or ["no word"])[-1]
                self._failure = f"worker {number} cannot start ({last}): put that right"

    @contextmanager
    def _started(
        self, number: int, share: dict[str, str], said: Any
    ) -> "Iterator[subprocess.Popen[str] | None]":
        """Start a process unless all are to end, and end it with the block."""
        with self._lock:
            if self._over.is_set():
                yield None
                return
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", WORKER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                encoding="utf-8",
                env=os.environ | share,
                # Ctrl-C is this process's to hear
                start_new_session=True,
            )
            self._running[number] = process
        try:
            with suppress(OSError):
                assert process.stdin
                process.stdin.write(json.dumps(self._asked | {"name": number}) + "\n")
                process.stdin.flush()
            yield process
        finally:
            process.kill()
            with suppress(OSError):
                process.communicate()


@contextmanager
def local_cluster(shares: list[dict[str, str]]) -> Iterator[tuple[Any, Any]]:
    """Start the cluster for the block; yield a client and what says if workers cannot start.

    Args:
        shares: worker -> the variables of its own.
    """
    from distributed import Client, SpecCluster
    from distributed.security import Security

    from gatehouse.flows.steps.workers.servers import QuietScheduler

    security = Security.temporary()
    scheduler = {
        "cls": QuietScheduler,
        "options": {"host": environment.LOOPBACK, "security": security, "dashboard": False},
    }
    keys = {"ca": security.tls_ca_file, "cert": security.tls_worker_cert}
    keys["key"] = security.tls_worker_key
    with (
        tempfile.TemporaryDirectory(prefix="gatehouse-workers-", ignore_cleanup_errors=True) as own,
        SpecCluster(workers={}, scheduler=scheduler, security=security) as cluster,
    ):
        asked = {"scheduler": cluster.scheduler_address, "folder": own, **keys}
        processes = _Processes(asked, shares, Path(own))
        try:
            with Client(cluster, set_as_default=False) as client:
                yield client, processes.check
        finally:
            processes.stop()
