"""One run of the pipeline in a process of its own, killed where or when a point says.

The steps are those of `flows.pipeline.pipeline`, without Prefect's server. A process that has
imported everything forks one for each run, so that a run costs only its own work.
"""

import os
import pkgutil
import select
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from gatehouse.flows.console import bar
from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps import build, capture
from gatehouse.reports.results import files, results
from gatehouse.reports.results.selection import Selection
from gatehouse.warehouse.paths import Paths
from tests.flows.kill_at import arm

BEGINNINGS = {
    "gatehouse.flows.steps.capture.prepare_samples": "prepare",
    "gatehouse.models.zoo.ModelPlan.load": "forward",
    "gatehouse.flows.steps.capture.tokenize": "forward",
    "gatehouse.warehouse.lake.Lake.land_run": "write",
    "gatehouse.warehouse.lake.Lake.land_shard": "write",
    "gatehouse.flows.steps.build.build": "build",
    "gatehouse.reports.results.results.open_results": "tables",
    "gatehouse.reports.results.files.write_figures": "figures",
    "gatehouse.reports.results.files.write_page": "page",
}
"""The functions whose calls begin each phase."""

PHASES = tuple(dict.fromkeys(BEGINNINGS.values()))


@dataclass(frozen=True)
class Call:
    """Kill at the n-th call of a function, as `kill_at.arm` names it."""

    phase: str
    function: str
    count: int = 1

    def __str__(self) -> str:
        return f"{self.function} {self.count}"


@dataclass(frozen=True)
class Moment:
    """Kill some seconds after a phase began for the n-th time."""

    phase: str
    begun: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.phase} {self.begun} + {self.seconds * 1000:.1f} ms"


@dataclass(frozen=True)
class Rename:
    """Kill before a file is renamed to a name with this ending."""

    phase: str
    name: str

    def __str__(self) -> str:
        return f"rename to {self.name}"


Point = Call | Moment | Rename


@dataclass(frozen=True)
class Ended:
    """How a run ended: the phases it began and when, and the kernel's exit status."""

    marks: list[tuple[float, str]]
    status: int
    seconds: float

    @property
    def killed(self) -> bool:
        return os.WIFSIGNALED(self.status) and os.WTERMSIG(self.status) == signal.SIGKILL

    @property
    def phase(self) -> str:
        """The phase in which it ended."""
        return self.marks[-1][1] if self.marks else PHASES[0]


def build_steps(request: RunRequest, home: Path) -> None:
    """Prepare, capture and build."""
    capture.capture(request, Paths(home))
    build.build(Paths(home))


def steps(request: RunRequest, home: Path) -> None:
    """Do what the flow does, in its order."""
    paths = Paths(home)
    summary = capture.capture(request, paths)
    build.build(paths)
    selection = Selection(None, summary.run_id, request.moe_index, request.thresholds)
    found = results.open_results(selection, paths, bar)
    files.write_tables(found, paths)
    files.write_validation(found)
    files.write_page(found, files.write_figures(found), paths)


def run(
    request: RunRequest,
    home: Path,
    log: Path,
    *,
    threads: int = 1,
    point: Point | None = None,
    work: Callable[[RunRequest, Path], None] = steps,
) -> Ended:
    """Run the steps in a process group of their own, kill it where the point says, and wait."""

    def inside(mark: Callable[[str], None]) -> None:
        import torch

        torch.set_num_threads(threads)
        if isinstance(point, Call):
            arm(point.function, point.count)
        elif isinstance(point, Rename):
            arm_rename(point.name)
        announce(mark)
        work(request, home)

    process, reader = _fork(inside, log)
    return _wait(process, reader, point if isinstance(point, Moment) else None)


def forked(work: Callable[[], Any]) -> Any:
    """Return a function's result from a process of its own: this one starts no threads for it.

    Raises:
        RuntimeError: the function failed; the message is its traceback.
    """
    reader, writer = Pipe(duplex=False)
    process = os.fork()
    if not process:
        try:
            found = True, work()
        except BaseException:
            found = False, traceback.format_exc()
        writer.send(found)
        os._exit(0)
    writer.close()
    with reader:
        worked, found = reader.recv()
    os.waitpid(process, 0)
    if not worked:
        raise RuntimeError(found)
    return found


def arm_rename(name: str) -> None:
    """Have this process killed before the first rename to a path that ends with `name`."""
    original = os.replace

    def watched(source: Any, target: Any, **named: Any) -> None:
        if str(target).endswith(name):
            os.kill(os.getpid(), signal.SIGKILL)
        original(source, target, **named)

    os.replace = watched


def announce(mark: Callable[[str], None]) -> None:
    """Have each phase's name marked when the phase begins."""
    now = ""

    def announced(function: Callable[..., Any], phase: str) -> Callable[..., Any]:
        def beginning(*arguments: Any, **named: Any) -> Any:
            nonlocal now
            if phase != now:
                mark(phase)
            now = phase
            return function(*arguments, **named)

        return beginning

    for path, phase in BEGINNINGS.items():
        owner_path, name = path.rsplit(".", 1)
        owner = pkgutil.resolve_name(owner_path)
        setattr(owner, name, announced(getattr(owner, name), phase))


def _fork(inside: Callable[[Callable[[str], None]], None], log: Path) -> tuple[int, int]:
    """Start a process that leads a new session; return its id and the pipe that gets its marks."""
    reader, writer = os.pipe()
    process = os.fork()
    if process:
        os.close(writer)
        return process, reader
    code = 1
    try:
        os.setsid()
        said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        inside(lambda phase: os.write(writer, f"{phase}\n".encode()))
        code = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def _wait(process: int, reader: int, moment: Moment | None) -> Ended:
    started, marks, due = time.monotonic(), [], None
    while True:
        left = None if due is None else max(0.0, due - time.monotonic())
        if not select.select([reader], [], [], left)[0]:
            os.killpg(process, signal.SIGKILL)
            due = None
            continue
        read = os.read(reader, 4096).decode()
        if not read:
            break
        now = time.monotonic()
        marks += [(now - started, phase) for phase in read.split()]
        begun = [phase for _, phase in marks].count(moment.phase) if moment else 0
        if moment and due is None and read.split()[-1] == moment.phase and begun == moment.begun:
            due = now + moment.seconds
    os.close(reader)
    _, status = os.waitpid(process, 0)
    return Ended(marks, status, time.monotonic() - started)
