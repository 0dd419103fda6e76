"""The server of `gatehouse up`: Prefect's API and pages on one port of loopback, with a password.

This module is both sides: `listen` in the command's process, `serve` in the server's.
"""

import errno
import os
import re
import secrets
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from gatehouse.flows import prefect_settings, process
from gatehouse.flows.prefect_database import make_database
from gatehouse.warehouse.environment import LOOPBACK
from gatehouse.warehouse.errors import GatehouseError

SECONDS_TO_START = 120
SECONDS_BETWEEN_LOOKS = 0.2
KEPT = re.compile(r"export ([A-Z_]+)=(\S+)")
LEASES = "prefect.server.concurrency.lease_storage.filesystem"
"""Where slots of a limit are remembered, so that a server that begins again frees them, too."""


def listen(port: int) -> socket.socket:
    """Return a socket that listens on a port of loopback, and on no other interface.

    Raises:
        GatehouseError: the port is taken, or not for this user.
    """
    try:
        return socket.create_server((LOOPBACK, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise GatehouseError(
                f"port {port} is taken by another program: end that, or name another with --port"
            ) from error
        raise GatehouseError(
            f"port {port} cannot be used ({error.strerror}): name another with --port"
        ) from error


def access_of(port: int, kept: Path) -> dict[str, str]:
    """Return the settings of a client: the address, and the password that `kept` has, or a new one.

    Other users of this machine, and pages in a browser, can reach the port as well.
    """
    new = f"gatehouse:{secrets.token_urlsafe(16)}"
    return {
        "PREFECT_API_URL": url_of(port),
        "PREFECT_API_AUTH_STRING": kept_access(kept).get("PREFECT_API_AUTH_STRING", new),
    }


def url_of(port: int) -> str:
    """Return the address of the API."""
    return f"http://{LOOPBACK}:{port}/api"


def kept_access(kept: Path) -> dict[str, str]:
    """Return the settings of a client as they were kept, none if they were not."""
    return dict(KEPT.findall(kept.read_text(encoding="utf-8"))) if kept.exists() else {}


def settings_of(folder: Path, access: dict[str, str]) -> dict[str, str]:
    """Return all settings of the server.

    Args:
        folder: Prefect's home.
        access: of a client of it.
    """
    origin = access["PREFECT_API_URL"].removesuffix("/api")
    return {
        **prefect_settings.SILENT,
        "PREFECT_HOME": str(folder),
        "PREFECT_PROFILES_PATH": os.devnull,
        "PREFECT_SERVER_API_AUTH_STRING": access["PREFECT_API_AUTH_STRING"],
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": origin,
        # the pages ask port 4200 otherwise
        "PREFECT_SERVER_UI_API_URL": access["PREFECT_API_URL"],
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES,
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "ERROR",
    }


def wait(access: dict[str, str], runs: Callable[[], bool]) -> bool:
    """Return whether the server answers, at the latest after `SECONDS_TO_START`.

    Args:
        access: of a client.
        runs: whether its process has not ended.
    """
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + SECONDS_TO_START
    while runs() and time.monotonic() < until:
        try:
            direct.open(f"{access['PREFECT_API_URL']}/health", timeout=SECONDS_TO_START).close()
        except urllib.error.HTTPError:
            return False
        except OSError:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        else:
            return True
    return False


def serve(listening: int) -> None:
    """Serve Prefect's API and pages on a socket that another process opened, until a signal.

    Args:
        listening: the socket's file descriptor.
    """
    process.collect_rarely()
    with prefect_settings.away_from_files(Path(os.environ["PREFECT_HOME"])):
        import uvicorn
        from prefect.server.api.server import create_app

    make_database()
    config = uvicorn.Config(create_app, factory=True, log_level="error", lifespan="on")
    config.timeout_graceful_shutdown = process.SECONDS_TO_END
    uvicorn.Server(config).run([socket.socket(fileno=listening)])


if __name__ == "__main__":
    serve(int(sys.argv[1]))
