"""Prefect's own server for one run: a process that ends with the run's, however that ends.

This module is both sides: `OwnServer` in the run's process, `serve` in the server's.
"""

import asyncio
import atexit
import os
import re
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import closing, suppress
from pathlib import Path

from gatehouse.flows import prefect_settings, process
from gatehouse.warehouse import cache, environment
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import make_folder

SECONDS_TO_START = 90
SETTINGS = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "ERROR",
}
"""As Prefect starts a server for one process: no pages, few services. Its console is the log."""

_started: list["OwnServer"] = []
"""In a notebook, the next run of a home finds its server running."""

ERROR = re.compile(r"[\w.]+(Error|Exception|Interrupt)\b")
"""How the last line of a traceback begins."""

SQLITE = "sqlite+aiosqlite:///"


class OwnServer:
    """A server that this process started on a free port of loopback.

    Attributes:
        api_url: what Prefect calls PREFECT_API_URL.
        log: the file with what the server says, which is nothing unless something is wrong.
    """

    def __init__(self, folder: Path) -> None:
        """Start the process with Prefect's home in `folder`; requests wait until it is ready."""
        self.folder = folder
        self.log = folder / "server.log"
        with socket.create_server(("127.0.0.1", 0)) as listening, open(self.log, "wb") as log:
            self.api_url = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
            self._process = subprocess.Popen(
                # -P: no module of the folder that it starts in
                [sys.executable, "-P", "-m", __name__, str(listening.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=environment.of_a_process() | prefect_settings.of_a_home(folder) | SETTINGS,
                pass_fds=[listening.fileno()],
                # Ctrl-C in a terminal goes to all of its group
                start_new_session=True,
            )
        atexit.register(self.stop)

    def wait(self) -> None:
        """Return when the server answers.

        Raises:
            GatehouseError: it has ended, or takes too long.
        """
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            direct.open(f"{self.api_url}/health", timeout=SECONDS_TO_START).close()
        except OSError as error:
            # it may be about to say why
            self.stop()
            raise GatehouseError(
                f"Prefect's own server does not answer{self.last_words()}; `gatehouse capture` "
                "and `gatehouse build` do without Prefect"
            ) from error

    def runs(self) -> bool:
        """Return whether the process has not ended."""
        return self._process.poll() is None

    def last_words(self) -> str:
        """Return the last error in the log and where the log is, to end a sentence with."""
        lines = self.log.read_text("utf-8", errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        errors = [line for line in said if ERROR.match(line)]
        if not said:
            return f" (its log is {self.log})"
        return f" ({(errors or said)[-1][:200]}; more in {self.log})"

    def stop(self) -> None:
        """End the server, if it has not ended."""
        try:
            self._process.communicate(timeout=process.SECONDS_TO_END + 1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def begin(folder: Path) -> OwnServer:
    """Start a server with Prefect's home in `folder`, or return the one that runs; do not wait.

    Raises:
        GatehouseError: the folder cannot be made.
    """
    running = [server for server in _started if server.folder == folder and server.runs()]
    if not running:
        make_folder(folder)
        running = [OwnServer(folder)]
        _started.extend(running)
    return running[0]


def serve(listening: int) -> None:
    """Serve Prefect's API on a socket that another process opened, until that process ends.

    Args:
        listening: the socket's file descriptor.
    """
    process.end_with_parent()
    process.collect_rarely()
    with prefect_settings.away_from_files(Path(os.environ["PREFECT_HOME"])):
        import uvicorn
        from prefect.server.api.server import create_app

    make_database()
    config = uvicorn.Config(create_app, factory=True, log_level="error", lifespan="on")
    uvicorn.Server(config).run([socket.socket(fileno=listening)])


def make_database() -> None:
    """Give a new home Prefect's database as this user's last one was when it was new.

    More than a hundred migrations make it otherwise, which take longer than a small run.
    """
    from prefect import __version__
    from prefect.server.database import provide_database_interface
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    file = settings.home / "prefect.db"
    connection_url = settings.server.database.connection_url
    default = connection_url and connection_url.get_secret_value() == f"{SQLITE}{file}"
    if not default or file.exists():
        return
    if content := cache.read("prefect", __version__):
        _put(content, file)
        return
    asyncio.run(provide_database_interface().create_db())
    with closing(sqlite3.connect(file)) as connection:
        cache.write("prefect", __version__, connection.serialize())


def _put(content: bytes, file: Path) -> None:
    """Write a file unless there is one meanwhile; Prefect makes what cannot be written."""
    new = file.with_name(f".{file.name}.{os.getpid()}")
    with suppress(OSError):
        new.write_bytes(content)
        # another run's server may have made it, and use it
        os.link(new, file)
    new.unlink(missing_ok=True)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
