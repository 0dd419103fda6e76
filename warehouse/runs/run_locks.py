"""Who may write a run of a lake: one process alone, or several that share it.

lake/locks/RUN.lock             held by the process that writes alone
lake/locks/RUN.*.sharer         held by each of those that share it
    lake/locks/RUN.*.turn             held while one of these lands a shard, or what is the run's
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import checked_run_id, is_run_id
from gatehouse.warehouse.runs.layout import TABLES, Layout
from gatehouse.warehouse.storage.addresses import Place
from gatehouse.warehouse.writers.temporary import is_dead

TURN = ".turn"
"""How the names of the locks end that processes take one after another."""


class RunLocks:
    """The locks of a lake's runs, and what those left that were killed while they held one."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._storage = layout.storage
        self._folder = layout.root / "locks"

    @contextmanager
    def writing(self, run_id: str) -> Iterator[None]:
        """Hold the run's lock: only one process at a time captures, repairs or removes a run.

        Raises:
            GatehouseError: another process holds it; the message names that process.
        """
        with self._storage.exclusive(self._lock(run_id), partial(_being_written, run_id)):
            # nobody else holds the run's lock: their processes were killed
            for name in self._storage.names(self._folder):
                if name.startswith(f"{run_id}.") and name.endswith(TURN):
                    self._storage.remove(self._folder / name)
            yield

    def sharing(self, run_id: str) -> AbstractContextManager[None]:
        """Hold the run's lock together with other processes that land parts of it.

        Raises:
            GatehouseError: a process holds it alone; the message names that process.
        """
        return self._storage.shared(self._lock(run_id), partial(_being_written, run_id))

    @contextmanager
    def held(self, run_id: str, *, together: bool) -> Iterator[None]:
        """Hold the run's lock, without what those left that were killed while they wrote.

        Args:
            run_id: whose lock.
            together: with other processes, as `sharing`; else alone, as `writing`.

        Raises:
            GatehouseError: as these.
        """
        if not together:
            with self.writing(run_id):
                self.remove_leftovers(run_id)
                yield
            return
        with self.sharing(run_id):
            self.remove_dead_leftovers(run_id)
            try:
                yield
            finally:
                # of workers that were ended in the middle of their work
                self.remove_dead_leftovers(run_id)

    def in_turn(self, run_id: str, shard: int | None = None) -> AbstractContextManager[None]:
        """Be the only process in such a block, after others: of a run, or of one of its shards."""
        of_shard = "" if shard is None else f".{shard:05d}"
        path = self._folder / f"{checked_run_id(run_id)}{of_shard}{TURN}"
        return self._storage.in_turn(path, self._lock(run_id))

    def writer(self, run_id: str) -> str | None:
        """Return the process or processes that are writing the run now, or None."""
        return self._storage.holder(self._lock(run_id))

    def has_been_locked(self, run_id: str) -> bool:
        """Return whether a process is writing the run, or was killed while it did."""
        return self._storage.has_been_locked(self._lock(run_id))

    def remove_leftovers(self, run_id: str) -> None:
        """Remove what a killed writer of the run was writing; the caller holds the run's lock."""
        self._remove_temporary(run_id, lambda path: True)

    def remove_dead_leftovers(self, run_id: str) -> None:
        """Remove what a writer of the run left that is known to have ended; others may write."""
        self._remove_temporary(run_id, is_dead)
        # to look who shares the lock removes the files of those that were killed
        self.writer(run_id)

    def remove_abandoned(self) -> None:
        """Remove the files of the locks that nobody holds: their processes were killed."""
        for run_id in {name.split(".")[0] for name in self._storage.names(self._folder)}:
            if is_run_id(run_id) and self.writer(run_id) is None:
                with suppress(GatehouseError), self.writing(run_id):
                    pass

    def _remove_temporary(self, run_id: str, condition: Callable[[Path], bool]) -> None:
        for table in TABLES:
            self._storage.remove_leftovers(self._layout.folder(table, run_id), condition)

    def _lock(self, run_id: str) -> Place:
        return self._folder / f"{checked_run_id(run_id)}.lock"


def _being_written(run_id: str, by: str) -> str:
    return (
        f"{run_id} is being written by {by}: wait for it to end, or end it, and run "
        "the same command"
    )
