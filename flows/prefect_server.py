"""Prefect's own server for one run: a process that ends with the run's, however that ends.

This module is both sides: `OwnServer` in the run's process, `serve` in the server's.
"""

import atexit
import os
import re
import secrets
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

from gatehouse.flows import prefect_settings, process
from gatehouse.flows.console import say, short_path
from gatehouse.flows.prefect_database import DATABASE, UNUSABLE, make_database, set_damaged_aside
from gatehouse.warehouse import environment
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import make_folder

SECONDS_TO_START = 90
SOME_TIMES = 3
"""How often a server that answered is begun again, should something kill it."""

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


class OwnServer:
    """A server that this process started on a free port of loopback.

    Attributes:
        access: the settings of a client of it, its address and its password.
        log: the file with what the server says, which is nothing unless something is wrong.
    """

    def __init__(self, folder: Path) -> None:
        """Start the process with Prefect's home in `folder`; requests wait until it is ready."""
        self.folder = folder
        self.log = folder / "server.log"
        self.log.write_bytes(b"")
        self._listening = socket.create_server(("127.0.0.1", 0))
        origin = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        # other users of this machine, and pages in a browser, can reach the port as well
        password = f"gatehouse:{secrets.token_urlsafe(32)}"
        self.access = {"PREFECT_API_URL": f"{origin}/api", "PREFECT_API_AUTH_STRING": password}
        self._closed = {
            "PREFECT_SERVER_API_AUTH_STRING": password,
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": origin,
        }
        self._changing = threading.Lock()
        self._times_begun_again = SOME_TIMES
        self._process = self._begun()
        threading.Thread(target=self._watch, daemon=True).start()
        atexit.register(self.stop)

    def _begun(self) -> subprocess.Popen[bytes]:
        number = self._listening.fileno()
        with open(self.log, "ab") as log:
            return subprocess.Popen(
                # -P: no module of the folder that it starts in
                [sys.executable, "-P", "-m", __name__, str(number)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                # other users cannot read a process's environment, as they can its arguments
                env=environment.of_a_process()
                | prefect_settings.of_a_home(self.folder)
                | SETTINGS
                | self._closed,
                pass_fds=[number],
                # Ctrl-C in a terminal goes to all of its group
                start_new_session=True,
            )

    def _watch(self) -> None:
        """Begin a server that was killed again; what is asked meanwhile waits at its socket."""
        while True:
            self._process.wait()
            with self._changing:
                if self._times_begun_again >= SOME_TIMES:
                    # whoever waits hears that there is no server
                    self._listening.close()
                    return
                self._times_begun_again += 1
                say("Prefect's own server was killed: it begins again, and the run goes on")
                self._process = self._begun()

    def wait(self) -> None:
        """Return when the server answers.

        Raises:
            GatehouseError: it has ended, or takes too long.
        """
        try:
            self._ask(SOME_TIMES)
        except OSError as error:
            # it may be about to say why
            self.stop()
            raise GatehouseError(
                f"Prefect's own server does not answer{self.last_words()}; `gatehouse capture` "
                "and `gatehouse build` do without Prefect"
            ) from error
        self._times_begun_again = 0

    def _ask(self, more_times: int) -> None:
        """Return when it answers; a server that is killed breaks off what it had begun to hear."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            health = f"{self.access['PREFECT_API_URL']}/health"
            direct.open(health, timeout=SECONDS_TO_START).close()
        except OSError as error:
            broke_off = ConnectionResetError | BrokenPipeError
            if not (more_times and isinstance(getattr(error, "reason", error), broke_off)):
                raise
            self._ask(more_times - 1)

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
        last = (errors or said)[-1][:200]
        if UNUSABLE.search(last):
            return (
                f" ({last}): delete {self.folder / DATABASE}, which is damaged or of another "
                "version of Prefect and holds no result, and run the same command again"
            )
        return f" ({last}; more in {self.log})"

    def stop(self) -> None:
        """End the server, if it has not ended."""
        with self._changing:
            self._times_begun_again = SOME_TIMES
        try:
            self._process.communicate(timeout=process.SECONDS_TO_END + 1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def begin(folder: Path) -> OwnServer:
    """Start a server with Prefect's home in `folder`, or return the one that runs; do not wait.

    Raises:
        GatehouseError: the folder cannot be made, or a damaged database in it not set aside.
    """
    running = [server for server in _started if server.folder == folder and server.runs()]
    if not running:
        make_folder(folder)
        if damaged := set_damaged_aside(folder / DATABASE):
            say(
                f"Prefect's database was damaged and is now {short_path(damaged)}: it holds no "
                "result, and a new one is made"
            )
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


if __name__ == "__main__":
    serve(int(sys.argv[1]))
