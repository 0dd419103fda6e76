"""A run leaves the lake in an order in which its removal goes on wherever it was killed."""

from collections.abc import Iterator
from contextlib import contextmanager

from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.notes.readings import forget_reading
from gatehouse.warehouse.notes.replaying import forget_replaying
from gatehouse.warehouse.notes.run_names import forget_name
from gatehouse.warehouse.runs.layout import TABLES


@contextmanager
def removing(lake: Lake, run_id: str) -> Iterator[None]:
    """Remove a run, its row of `runs` first; the caller holds the run's lock.

    While the block removes what was made of the run, an empty folder stays, then the file of the
    run's lock, and its name until `forget_removed`: with each of them the same removal goes on
    wherever it was killed, and needs no room on the disk. In a bucket, which has no empty folders,
    the lock does for both.

    Raises:
        GatehouseError: the lake cannot be written.
    """
    *first, last = (lake.folder(table, run_id) for table in TABLES)
    lake.storage.make_folder(last)
    for folder in first:
        lake.storage.remove_folder(folder)
    lake.storage.empty_folder(last)
    yield
    lake.storage.remove_empty_folder(last)
    forget_reading(lake.root, run_id)
    forget_replaying(lake.root, run_id)


def forget_removed(lake: Lake, run_id: str) -> None:
    """Remove the name of a run that has been removed, unless it has been captured again."""
    if run_id not in lake.run_ids():
        forget_name(lake.root, run_id)
