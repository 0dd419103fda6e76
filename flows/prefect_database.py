"""The database of Prefect's own server: made from a kept one, set aside where it is damaged."""

import asyncio
import os
import re
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from gatehouse.warehouse import cache
from gatehouse.warehouse.files import cannot_write
from gatehouse.warehouse.paths import file_address

SQLITE = "sqlite+aiosqlite:///"
DATABASE = "prefect.db"
UNUSABLE = re.compile(
    r"malformed|not a database|Can't locate revision|no such (table|column)|already exists"
)
"""How SQLite and Prefect say that a database is damaged, or of another version of Prefect."""


def set_damaged_aside(database: Path) -> Path | None:
    """Rename an SQLite database that is damaged; return its new path, None if it is sound.

    Raises:
        GatehouseError: it cannot be renamed.
    """
    if not _is_damaged(database):
        return None
    number = 1
    while (aside := database.with_name(f"{database.name}.damaged-{number}")).exists():
        number += 1
    try:
        # what SQLite has not yet written into the file, under the name that it looks for
        for suffix in ("-wal", "-shm", ""):
            with suppress(FileNotFoundError):
                os.rename(f"{database}{suffix}", f"{aside}{suffix}")
    except OSError as error:
        raise cannot_write(aside, error) from error
    return aside


def _is_damaged(database: Path) -> bool:
    """Return whether SQLite can open a database, but not read all of it."""
    try:
        with closing(sqlite3.connect(f"{file_address(database)}?mode=ro", uri=True)) as opened:
            return opened.execute("pragma quick_check(1)").fetchall() != [("ok",)]
    except sqlite3.DatabaseError as error:
        return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def make_database() -> None:
    """Give a new home Prefect's database as this user's last one was when it was new.

    More than a hundred migrations make it otherwise, which take longer than a small run.
    """
    from prefect import __version__
    from prefect.server.database import provide_database_interface
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    file = settings.home / DATABASE
    connection_url = settings.server.database.connection_url
    default = connection_url and connection_url.get_secret_value() == f"{SQLITE}{file}"
    if not default or file.exists():
        return
    if content := cache.read("prefect", __version__):
        _put(content, file)
        return
    asyncio.run(provide_database_interface().create_db())
    with closing(sqlite3.connect(file)) as connection:
        cache.write("prefect", __version__, connection.serialize())


def _put(content: bytes, file: Path) -> None:
    """Write a file unless there is one meanwhile; Prefect makes what cannot be written."""
    new = file.with_name(f".{file.name}.{os.getpid()}")
    with suppress(OSError):
        new.write_bytes(content)
        # another run's server may have made it, and use it
        os.link(new, file)
    new.unlink(missing_ok=True)
