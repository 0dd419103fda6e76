"""The pipeline through Prefect, which is silent, offline and at home unless told otherwise."""

import errno
import os
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gatehouse.flows import prefect_server, prefect_settings
from gatehouse.flows.console import working
from gatehouse.flows.prefect_server import OwnServer
from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps.build import begin_to_parse
from gatehouse.flows.steps.pace.metrics import check_metrics
from gatehouse.warehouse.environment import unreadable
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths

WITHOUT_PREFECT = (
    "what has landed stays, and `gatehouse capture` and `gatehouse build` do without Prefect"
)
OF_PREFECT = ("prefect", "httpx", "httpcore", "sqlalchemy", "aiosqlite")
"""Packages whose errors are Prefect's."""

FULL = re.compile(r"disk is full|no space left|quota exceeded", re.IGNORECASE)
CLOSED = re.compile(
    r"readonly database|read-only file system|unable to open database file|permission denied",
    re.IGNORECASE,
)
"""How SQLite and the system say that the disk is full, and that a file cannot be written."""


def run(**parameters: Any) -> str:
    """Run the whole pipeline as a Prefect flow and return what was found.

    Without PREFECT_API_URL Prefect runs its own server: offline, silent, in the warehouse's home,
    with settings of Gatehouse's own. The user's settings hold again afterwards.

    Args:
        parameters: those of `flows.pipeline.pipeline`.

    Raises:
        GatehouseError: bad input, no result that can be trusted, or Prefect cannot go on.
    """
    request = RunRequest(**parameters)  # a wrong parameter fails before a server starts
    paths = Paths.resolve()
    check_metrics(request.metrics, paths)
    if request.output:
        from gatehouse.reports.results.results import check_results

        # which run's results are its own is known once its text is
        check_results(request.output, paths, paths.root / "results")
    if prefect_settings.name_a_server():
        prefect_settings.fill_in()
        with _the_users_settings(), working("starting"):
            begin_to_parse(paths)
            from gatehouse.flows.pipeline import pipeline
        return _carried_out(pipeline, parameters, None)
    with working("starting"):
        # a new server takes longer to be ready than torch takes to import
        server = prefect_server.begin(paths.prefect)
        begin_to_parse(paths)
    with prefect_settings.own(paths.prefect, server.access):
        with working("starting"):
            from gatehouse.flows.pipeline import pipeline, work_ahead
            from gatehouse.flows.steps import drawing
        with drawing.started_ahead():
            # the flow finds it done
            work_ahead(request, paths)
            with working("starting Prefect"):
                server.wait()
            return _carried_out(pipeline, parameters, server)


@contextmanager
def _the_users_settings() -> Iterator[None]:
    """Say in one line what Prefect cannot read of the user's settings as it is imported."""
    try:
        yield
    except Exception as error:
        # one of the environment has a line of its own
        if unreadable(error) or not _raised_by_prefect(error):
            raise
        raise GatehouseError(
            f"Prefect's settings cannot be read ({' '.join(str(error).split())}): correct them, or "
            "unset PREFECT_API_URL to run with Gatehouse's own"
        ) from error


def _carried_out(
    pipeline: Callable[..., str], parameters: dict[str, Any], server: OwnServer | None
) -> str:
    try:
        return pipeline(**parameters)
    except Exception as error:
        if not isinstance(error, GatehouseError) and _raised_by_prefect(error):
            raise GatehouseError(_what_stopped(error, server)) from error
        raise


def _what_stopped(error: Exception, server: OwnServer | None) -> str:
    """Return what was seen of an error of Prefect's, and the way out that fits it."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if server is None:
        return (
            f"Prefect cannot go on ({first}): see what {os.environ['PREFECT_API_URL']} says, or "
            f"unset PREFECT_API_URL to run without it; {WITHOUT_PREFECT}"
        )
    seen = f"Prefect cannot go on ({first})"
    said = f"{error} {server.log.read_text('utf-8', errors='replace')}"
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT) or FULL.search(said):
        return f"{seen}: the disk of {server.folder} is full: make room; {WITHOUT_PREFECT}"
    if number in (errno.EROFS, errno.EACCES) or CLOSED.search(said):
        return f"{seen}: {_what_is_closed(server.folder)} cannot be written; {WITHOUT_PREFECT}"
    alive = "" if server.runs() else "; its own server has ended"
    return f"{seen}{alive}{server.last_words()}; {WITHOUT_PREFECT}"


def _what_is_closed(folder: Path) -> Path:
    closed = [path for path in folder.glob("prefect.db*") if not os.access(path, os.W_OK)]
    return closed[0] if closed else folder


def _raised_by_prefect(error: Exception) -> bool:
    """Return whether Prefect or its HTTP client called what raised, and not Gatehouse."""
    names = [
        str(frame.f_globals.get("__name__")).partition(".")[0]
        for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    *_, last = ["gatehouse", *(name for name in names if name in (*OF_PREFECT, "gatehouse"))]
    return last in OF_PREFECT
