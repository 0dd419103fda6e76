"""One process at a time prepares a dataset, and removes what a killed one left behind."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gatehouse.warehouse.writers.locks import exclusive_after_waiting

AFTER_THE_NAME = r"-[0-9a-f]{10}(-from-[0-9]+)?"
"""What follows the slug in the name of a prepared dataset's folder."""


@contextmanager
def one_writer(folder: Path, name: str, say: Callable[[str], None] | None) -> Iterator[None]:
    """Be the only process that writes the dataset `name` under `folder` while the block runs.

    Args:
        folder: that of all prepared datasets; created if it is missing.
        name: the slug of the dataset.
        say: called with a sentence before waiting for another process; Ctrl-C ends the wait.

    Raises:
        GatehouseError: the folder cannot be written.
    """

    def waiting(other: str) -> None:
        if say:
            say(f"waiting for {other}, which is preparing {name} too")

    with exclusive_after_waiting(folder / f".{name}.lock", waiting):
        for leftover in _leftovers(folder, name):
            with suppress(OSError):
                leftover.unlink()
        yield


def _leftovers(folder: Path, name: str) -> Iterator[Path]:
    """Yield the dataset's temporary files; a living process that has one holds the lock."""
    yield from folder.glob(f".{name}.*.parquet")
    yield from folder.glob(f"..{name}.*.parquet.*.tmp")
    for child in folder.glob(f"{name}-*"):
        if re.fullmatch(re.escape(name) + AFTER_THE_NAME, child.name):
            yield from child.glob(".*.tmp")
