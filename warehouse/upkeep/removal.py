"""A run leaves the lake in an order in which its removal goes on wherever it was killed."""

from collections.abc import Iterator
from contextlib import contextmanager

from gatehouse.warehouse.files import make_folder, remove_folder
from gatehouse.warehouse.lake import TABLES, Lake
from gatehouse.warehouse.notes.readings import forget_reading
from gatehouse.warehouse.notes.run_names import forget_name


@contextmanager
def removing(lake: Lake, run_id: str) -> Iterator[None]:
    """Remove a run, its row of `runs` first; the caller holds the run's lock.

    While the block removes what was made of the run, an empty folder stays, then the file of the
    run's lock, and its name until `forget_removed`: with each of them the same removal goes on
    wherever it was killed, and needs no room on the disk.

    Raises:
        GatehouseError: the lake cannot be written.
    """
    *first, last = (lake.folder(table, run_id) for table in TABLES)
    make_folder(last)
    for folder in first:
        remove_folder(folder)
    if not last.is_symlink():
        for path in last.iterdir():
            remove_folder(path)
    yield
    if last.is_symlink():
        last.unlink()
    else:
        last.rmdir()
    forget_reading(lake.root, run_id)


def forget_removed(lake: Lake, run_id: str) -> None:
    """Remove the name of a run that has been removed, unless it has been captured again."""
    if run_id not in lake.run_ids():
        forget_name(lake.root, run_id)
