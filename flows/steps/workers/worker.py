"""What a worker process does with an order that it is given.

Dask names functions by their modules, so these live here. The scheduler imports this module too,
which therefore imports nothing heavy.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, TypedDict

from gatehouse.flows import console
from gatehouse.warehouse.errors import GatehouseError

TOPIC = "gatehouse"
"""Under which lines for the user go from workers to the command."""

Opener = Callable[[str], AbstractContextManager[Callable[[Any], Any]]]
"""Opens packed work, and gives what carries out an order of it: `Work.open`."""


class Outcome(TypedDict):
    """What became of an order: its answer, or the line that refuses it."""

    answer: Any
    refusal: str | None


class _Opened:
    """The work that this process does, with its model in memory."""

    def __init__(self) -> None:
        self.one_at_a_time = threading.Lock()
        self._tells = False
        self._work: tuple[Opener, str] | None = None
        self._carry_out: Callable[[Any], Any] | None = None
        self._open = ExitStack()

    def carry_out(self, opener: Opener, work: str, order: Any) -> Any:
        """Carry out an order of the work, which stays open."""
        if not self._tells:
            console.also_to(_tell)
            self._tells = True
        if self._carry_out is None or self._work != (opener, work):
            self.close()
            self._carry_out = self._open.enter_context(opener(work))
            self._work = opener, work
        return self._carry_out(order)

    def close(self) -> None:
        """Let go of the work and its model."""
        self._open.close()
        self._carry_out = None


_opened = _Opened()


def work_here(opener: Opener, work: str, order: Any) -> Outcome:
    """Carry out one order in this process, which opens the work once.

    Args:
        opener: of the work, `Work.open`.
        work: what it is packed into, `Work.packed`.
        order: one of it.
    """
    with _opened.one_at_a_time:
        try:
            return {"answer": _opened.carry_out(opener, work, order), "refusal": None}
        except GatehouseError as error:
            return {"answer": None, "refusal": str(error)}


def leave_here() -> None:
    """Free the memory of this process: the command that it worked for has ended."""
    with _opened.one_at_a_time:
        _opened.close()


def _tell(line: str) -> bool:
    """Send a line to the command, where a task says it; it is shown in this process's log too."""
    from distributed import get_worker

    try:
        worker: Any = get_worker()
    except ValueError:
        return False
    worker.log_event(TOPIC, line)
    return False
