"""Prefect's own server of one run, which ends when the run's process does, however that ends."""

import contextvars
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import get_current_settings

END_WITH_PARENT = "import os, sys; sys.stdin.buffer.read() or os.kill(int(sys.argv[1]), 15)"
"""Ends a process when standard input is closed and nothing was said before."""


class OwnServer(SubprocessASGIServer):
    """The server of this process; killed with it, where Prefect's would live on.

    Prefect keeps one for a process: made before a flow, this is the one that the flow starts.
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
    """Start the server in the background, unless this process has one or was told of another.

    Where that fails, the flow tries again and says why.
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
