"""Prefect's own server for one run, which ends with the run's process, however that ends."""

import contextvars
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import get_current_settings

END_WITH_PARENT = "import os, sys; sys.stdin.buffer.read() or os.kill(int(sys.argv[1]), 15)"
"""Ends a process when standard input closes without having sent anything."""


class OwnServer(SubprocessASGIServer):
    """The server of this process, killed with it; Prefect's would live on.

    Prefect keeps one server per process: if this one is made before a flow, the flow starts it.
    """

    watcher: subprocess.Popen[Any] | None = None

    def stop(self) -> None:
        """End the server, then its watcher."""
        super().stop()
        watcher, self.watcher = self.watcher, None
        if watcher:
            with suppress(OSError):
                watcher.communicate(b"ended")

    def _run_uvicorn_command(self) -> subprocess.Popen[Any]:
        server = super()._run_uvicorn_command()
        self.watcher = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", END_WITH_PARENT, str(server.pid)],
            stdin=subprocess.PIPE,
            # Ctrl-C in a terminal goes to all of its group
            start_new_session=True,
        )
        return server


def begin() -> threading.Thread | None:
    """Start the server in the background, unless this process has one or its settings name another.

    If that fails, the flow tries again and reports why.
    """
    server = OwnServer()
    if get_current_settings().api.url or not isinstance(server, OwnServer):
        return None

    def start() -> None:
        with suppress(Exception):
            server.start()

    thread = threading.Thread(target=contextvars.copy_context().run, args=(start,), daemon=True)
    thread.start()
    return thread
