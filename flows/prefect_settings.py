"""What Prefect's settings are: the user's if PREFECT_API_URL names a server, else Gatehouse's own.

Prefect reads its settings when it is imported, from the environment, from files in the working
folder and from the user's profiles.
"""

import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager, suppress
from functools import partialmethod
from pathlib import Path
from typing import Any

from gatehouse.warehouse import environment
from gatehouse.warehouse.files import make_folder

SILENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    # results pass from task to task in memory: Prefect would keep them as pickles
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
    # the console is ours; a server still gets the flow's log
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
}
"""What Gatehouse chooses where the user has not, with the user's server as well."""

ALONE = {
    # there are no profiles: not the user's, and none that lies in the home
    "PREFECT_PROFILES_PATH": os.devnull,
    # a server of one run keeps no log
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    # it is on this machine: more tries only keep Ctrl-C waiting for a server that ended
    "PREFECT_CLIENT_MAX_RETRIES": "1",
    # what its threads say of such a server
    "PREFECT_INTERNAL_LOGGING_LEVEL": "CRITICAL",
}


_alone: list[Path] = []
"""The home whose own server this process has at the moment, if it has one."""


def somebody_watches() -> bool:
    """Return whether the flow's server is one that has pages, and not that of one run."""
    return not _alone


def name_a_server() -> bool:
    """Return whether the environment names a server, and so whose settings hold."""
    return bool(os.environ.get("PREFECT_API_URL"))


def fill_in() -> None:
    """Set what the user's environment leaves open."""
    for name, value in SILENT.items():
        os.environ.setdefault(name, value)


def of_a_home(folder: Path) -> dict[str, str]:
    """Return all settings of a client and a server with `folder` as Prefect's home."""
    return SILENT | ALONE | {"PREFECT_HOME": str(folder)}


@contextmanager
def own(folder: Path, access: Mapping[str, str]) -> Iterator[None]:
    """Let Prefect in this process have Gatehouse's settings and server until the block ends.

    Args:
        folder: Prefect's home.
        access: the settings with which a client reaches the server.

    Raises:
        GatehouseError: the folder cannot be made.
    """
    environment.ask_this_machine_directly()
    with (
        _the_users_afterwards(),
        environment.chosen(environment.PREFECT, of_a_home(folder) | _certificates()),
    ):
        os.environ.update(access)
        # some of Prefect's modules open certificates when they are imported
        with away_from_files(folder), environment.chosen(environment.CERTIFICATES):
            import prefect.context

            # else it looks for profiles where the settings before these say
            prefect.context.GLOBAL_SETTINGS_CONTEXT = None  # type: ignore[assignment]
            prefect.context.refresh_global_settings_context()
        _have_no_heartbeat()
        # a process that this one starts may outlive the server, and needs no password
        for name in access:
            del os.environ[name]
        _alone.append(folder)
        try:
            with _without_proxies():
                yield
        finally:
            _alone.remove(folder)


@contextmanager
def _the_users_afterwards() -> Iterator[None]:
    """Let the user's settings hold again after the block, however it ends."""
    before = getattr(sys.modules.get("prefect.context"), "GLOBAL_SETTINGS_CONTEXT", None)
    try:
        yield
    finally:
        if before:
            sys.modules["prefect.context"].GLOBAL_SETTINGS_CONTEXT = before  # type: ignore[attr-defined]
        elif "prefect.context" in sys.modules:
            _read_the_users()


@contextmanager
def away_from_files(folder: Path) -> Iterator[None]:
    """Work in an empty folder of Prefect's home, where Prefect finds no files of settings.

    Raises:
        GatehouseError: the folder cannot be made.
    """
    empty = folder / "empty"
    make_folder(empty)
    with chdir(empty):
        yield


def _certificates() -> dict[str, str]:
    """Return the setting without which Prefect opens what SSL_CERT_FILE names, for plain HTTP."""
    import certifi

    return {"PREFECT_API_SSL_CERT_FILE": certifi.where()}


@contextmanager
def _without_proxies() -> Iterator[None]:
    """Let Prefect's clients heed no proxy, not even to find that they cannot use one.

    Prefect has no setting for it, and other parts of a run may need the proxy.
    """
    from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient

    clients: tuple[Any, ...] = (PrefectHttpxAsyncClient, PrefectHttpxSyncClient)
    usual = [client.__init__ for client in clients]
    for client in clients:
        client.__init__ = partialmethod(client.__init__, trust_env=False)
    try:
        yield
    finally:
        for client, init in zip(clients, usual, strict=True):
            client.__init__ = init


def _have_no_heartbeat() -> None:
    """Let flows have none: nobody looks for crashed ones on a server of one run.

    A flow that ends waits for its heart to stop, up to a second, and no variable turns it off.
    """
    from prefect import context

    settings = context.GLOBAL_SETTINGS_CONTEXT.settings
    flows = settings.flows.model_copy(update={"heartbeat_frequency": None})
    _let_hold(settings.model_copy(update={"flows": flows}))


def _let_hold(settings: Any) -> None:
    """Let Prefect's settings in this process be these."""
    from prefect import context

    changes = {"settings": settings}
    context.GLOBAL_SETTINGS_CONTEXT = context.GLOBAL_SETTINGS_CONTEXT.model_copy(update=changes)


def _read_the_users() -> None:
    """Read the user's settings, for a notebook that imports Prefect after a run."""
    from prefect.settings import Settings

    # whoever uses them will hear what is wrong with them
    with suppress(Exception), warnings.catch_warnings(action="ignore"):
        _let_hold(Settings())
