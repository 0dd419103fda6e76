"""The pipeline through Prefect, which is silent, offline and at home unless told otherwise."""

import os
import traceback
from typing import Any

from gatehouse.flows.console import working
from gatehouse.flows.request import RunRequest
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import make_folder
from gatehouse.warehouse.paths import Paths


def run(**parameters: Any) -> str:
    """Run the whole pipeline as a Prefect flow and return what was found.

    Without PREFECT_API_URL Prefect runs its own server: offline, silent, in the warehouse's home.

    Args:
        parameters: those of `flows.pipeline.pipeline`.

    Raises:
        GatehouseError: bad input, no result that can be trusted, or Prefect cannot go on.
    """
    request = RunRequest(**parameters)  # a wrong parameter fails before a server starts
    paths = Paths.resolve()
    serves_itself = "PREFECT_API_URL" not in os.environ
    settle(paths, serves_itself)
    from gatehouse.flows.steps.build import begin_to_parse

    with working("starting"):
        begin_to_parse(paths)
        # Prefect reads its settings once, when it is imported
        from gatehouse.flows import prefect_server

        # a new server takes longer to be ready than torch takes to import
        server = prefect_server.begin() if serves_itself else None
        from gatehouse.flows.pipeline import pipeline, work_ahead

    if server:
        # the flow finds it done
        work_ahead(request, paths)
        with working("starting Prefect"):
            server.wait()
    try:
        return pipeline(**parameters)
    except Exception as error:
        if not isinstance(error, GatehouseError) and _raised_by_prefect(error):
            first = str(error).strip().splitlines()[:1] or [type(error).__name__]
            raise GatehouseError(
                f"Prefect cannot go on ({first[0]}): see whether {paths.prefect} has room and can "
                "be written; what has landed stays, and `gatehouse capture` and `gatehouse build` "
                "do without Prefect"
            ) from error
        raise


def settle(paths: Paths, serves_itself: bool) -> None:
    """Set those of Prefect's settings that the environment leaves open.

    Args:
        paths: the warehouse.
        serves_itself: whether Prefect's server will be one of Gatehouse's own.
    """
    settings = {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        # results pass from task to task in memory: Prefect would keep them as pickles
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
        # the console is ours; a server still gets the flow's log
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    }
    if serves_itself:
        settings |= {
            "PREFECT_HOME": str(paths.prefect),
            # a server of one run keeps no log
            "PREFECT_LOGGING_TO_API_ENABLED": "false",
            # it is on this machine: more tries only keep Ctrl-C waiting for a server that ended
            "PREFECT_CLIENT_MAX_RETRIES": "1",
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
        }
        make_folder(paths.prefect)
    for name, value in settings.items():
        os.environ.setdefault(name, value)


def _raised_by_prefect(error: Exception) -> bool:
    """Return whether the innermost code that raised is Prefect's or its HTTP client's."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    name = frame.f_globals.get("__name__", "").partition(".")[0]
    return name in ("prefect", "httpx", "httpcore", "sqlalchemy", "aiosqlite")
