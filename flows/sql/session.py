"""What the interactive shell works on: an open warehouse, a format, a place for results."""

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TextIO

from gatehouse.flows.sql import examples
from gatehouse.flows.sql.completion import Catalog, SqlCompleter
from gatehouse.flows.sql.tabular import checked_output
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.files import cannot_write
from gatehouse.warehouse.paths import Paths


class Session:
    """A read-only connection that follows the database: a build puts a new file in its place.

    Args:
        paths: the warehouse.
        form: how results are printed: table, csv, json or markdown.
        external_access: statements may read and write files other than the lake's.

    Raises:
        GatehouseError: there is no warehouse yet, or it cannot be opened.
    """

    def __init__(self, paths: Paths, form: str = "table", *, external_access: bool = False) -> None:
        self.paths = paths
        self.form = form
        self._target: TextIO | None = None
        self.external_access = external_access
        self._opened: tuple[int, int] | None = None
        self.completer = SqlCompleter(Catalog({}))
        self._open()

    def follow(self) -> bool:
        """Reopen the database if it is a different file from before; return whether it was.

        Raises:
            GatehouseError: it is gone, or it cannot be opened.
        """
        found = _inode(self.paths.database)
        if found is not None and found == self._opened:
            return False
        self._disconnect()
        self._open()
        return True

    def close(self) -> None:
        """Let go of the database, and of the file of results."""
        self.write_to(None)
        self._disconnect()

    def write_to(self, target: Path | None) -> None:
        """Send what `results` prints to a file from now on, or back to the screen.

        Raises:
            GatehouseError: the file cannot be written, or it is the warehouse's own.
        """
        opened = None
        if target is not None:
            checked = checked_output(target, self.paths)
            try:
                opened = open(checked, "w", encoding="utf-8", newline="")  # noqa: SIM115
            except OSError as error:
                raise cannot_write(checked, error) from error
        if self._target is not None:
            self._target.close()
        self._target = opened

    @contextmanager
    def results(self) -> Iterator[None]:
        """Print what the block prints where results go: the screen, or the file."""
        if self._target is None:
            yield
            return
        with redirect_stdout(self._target):
            yield

    def _disconnect(self) -> None:
        self.connection.close()
        self._opened = None

    def _open(self) -> None:
        opened = _inode(self.paths.database)
        self.connection = connect(self.paths, external_access=self.external_access)
        self._opened = opened
        self.completer.catalog = Catalog.of(self.connection, examples.library())


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
