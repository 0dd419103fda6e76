"""What `gatehouse up` and `gatehouse down` do and print."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from uuid import UUID

from gatehouse.flows import prefect_settings
from gatehouse.flows.console import say, working
from gatehouse.flows.service import flow_runs, server
from gatehouse.flows.service.processes import (
    Background,
    end_with_children,
    exported,
    write_secret,
)
from gatehouse.warehouse import environment
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import make_folder
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.writers.locks import exclusive

POOL_WORDS = ("worker", "start", "--pool", "gatehouse", "--type", "process", "--limit", "1")
ENDED = "ended by `gatehouse down`; what has landed stays, and the same command resumes from there"
LOST = "its process is gone; what has landed stays, and the same command resumes from there"
"""What the server is told of runs that are over."""

SECONDS_BETWEEN_QUESTIONS = 5
"""How often the worker asks for runs that are due."""


@dataclass(frozen=True)
class Service:
    """The server and the worker of a home.

    Attributes:
        folder: of their records and logs, and Prefect's home.
    """

    folder: Path

    @property
    def server(self) -> Background:
        """The process with Prefect's API and pages."""
        return Background(self.folder, "server")

    @property
    def worker(self) -> Background:
        """The process that begins the runs that are due, one at a time."""
        return Background(self.folder, "worker")

    @property
    def environment(self) -> Path:
        """The settings of a client, with the password, as lines for a shell."""
        return self.folder / "environment"


def up(paths: Paths, port: int) -> str:
    """Start what of server, worker, pool and deployments is not there; return where they are.

    Args:
        paths: the warehouse that the flows work in.
        port: of the pages and of the API, on loopback.

    Raises:
        GatehouseError: the port is taken, it is up on another one, or something does not start.
    """
    service = Service(paths.service)
    with _alone(service.folder):
        at = server.access_of(port, service.environment)
        if service.server.process:
            at = _checked(server.kept_access(service.environment), port)
            if service.worker.process:
                return _told(service, at, "it is up already")
        elif service.server.was_started:
            say(f"the server had ended by itself{service.server.last_words()}: it begins again")
        with ExitStack() as undo:
            new = not service.server.process
            if new:
                # one that has lost its server begins anew, too
                service.worker.end()
                _start_server(service, at, port)
                undo.callback(service.server.end)
            _deploy(service, at, new)
            _close_runs(service, set(flow_runs.processes_of(service.folder)), LOST)
            _start_worker(service, at, paths)
            undo.pop_all()
        return _told(service, at, "it is up")


def down(paths: Paths) -> str:
    """End the server and the worker of a home, with the flow runs under way; return what ended."""
    service = Service(paths.service)
    started = service.server.was_started or service.worker.was_started
    if not started:
        return f"nothing is up in {paths.root}"
    with _alone(service.folder), working("ending the worker and the server"):
        lost = [each.name for each in (service.server, service.worker) if not each.process]
        ended = [service.worker.name] if service.worker.end() else []
        for of_a_run in flow_runs.processes_of(service.folder).values():
            for each in of_a_run:
                end_with_children(each)
        if service.server.process:
            _close_runs(service, set(), ENDED)
        ended += [service.server.name] if service.server.end() else []
    words = [f"{' and '.join(ended)} of {paths.root} ended"] if ended else []
    words += [f"the {name} had ended by itself before" for name in lost]
    return "; ".join(words)


def _close_runs(service: Service, alive: set[UUID], why: str) -> None:
    """Let no run stay Running that has no process; a server that does not answer keeps them so."""
    with prefect_settings.own(service.folder, server.kept_access(service.environment)):
        flow_runs.close_all_but(alive, why)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    make_folder(folder)
    os.chmod(folder, 0o700)

    def refusal(who: str) -> str:
        return f"{who} is at `gatehouse up` or `down` here: wait for it"

    with exclusive(folder / "changing.lock", refusal):
        yield


def _checked(access: dict[str, str], port: int) -> dict[str, str]:
    url = access["PREFECT_API_URL"]
    if url != server.url_of(port):
        raise GatehouseError(
            f"it is up at {url.removesuffix('/api')}: run `gatehouse down` first, or name its port"
        )
    return access


def _start_server(service: Service, access: dict[str, str], port: int) -> None:
    settings = server.settings_of(service.folder, access)
    with server.listen(port) as listening:
        number = listening.fileno()
        write_secret(service.environment, exported(access))
        service.server.start(
            ["-m", server.__name__, str(number)],
            environment.of_a_process() | settings,
            keep=[number],
        )


def _deploy(service: Service, access: dict[str, str], new: bool) -> None:
    with working("starting"), prefect_settings.own(service.folder, access):
        # the server takes as long to be ready as the flows take to import
        from gatehouse.flows.service.deployments import deploy

        if not server.wait(access, lambda: service.server.process is not None):
            seen = "the server does not start" if new else "the server does not answer"
            raise GatehouseError(
                f"{seen}{service.server.last_words()}: put that right, run `gatehouse down`, and "
                "the same command again"
            )
        deploy()


def _start_worker(service: Service, access: dict[str, str], paths: Paths) -> None:
    # its flow runs see the user's environment: the hub's token, the GPUs that are theirs
    users = {
        name: value for name, value in os.environ.items() if not environment.PREFECT.hold(name)
    }
    settings = {
        **prefect_settings.SILENT,
        **access,
        "PREFECT_HOME": str(service.folder),
        "PREFECT_PROFILES_PATH": os.devnull,
        "PREFECT_WORKER_QUERY_SECONDS": str(SECONDS_BETWEEN_QUESTIONS),
        "GATEHOUSE_HOME": str(paths.root),
    }
    service.worker.start(["-m", "prefect", *POOL_WORDS, "--name", "gatehouse"], users | settings)


def _told(service: Service, access: dict[str, str], words: str) -> str:
    return "\n".join(
        [
            f"{words}: {access['PREFECT_API_URL'].removesuffix('/api')}",
            f"Its pages ask for the password in {service.environment}.",
            f"For `gatehouse run` and `prefect` in a shell: . {quote(str(service.environment))}",
            "Now, instead of at 02:00 UTC: prefect deployment run gatehouse-nightly/nightly",
            "`gatehouse down` ends it.",
        ]
    )
