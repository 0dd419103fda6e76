"""Names of files that are being written: they tell whether their writer lives, and nobody else's.

    .shard-00000.parquet.HOST-PROCESS-RANDOM.tmp

A process number means something only where it was given: two machines that share a folder have the
same numbers, and so have two containers of one machine.
"""

import hashlib
import os
import re
import secrets
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path

TEMPORARY = ".*.tmp"
"""Names of files that are being written, or whose writer was killed."""

WRITER = re.compile(r"(?:(?P<host>[0-9a-f]{8})-)?(?P<process>\d+)(?:-[0-9a-f]{8})?")
"""What a writer is called; earlier Gatehouses told the process only."""


def writer_name() -> str:
    """Return a name that no other writer has, here or on another machine."""
    return f"{_host()}-{os.getpid()}-{secrets.token_hex(4)}"


def temporary_beside(path: Path) -> Path:
    """Return a new name beside a file or folder, under which it can be written."""
    return path.with_name(f".{path.name}.{writer_name()}.tmp")


def is_dead(temporary: Path) -> bool:
    """Return whether the writer of a temporary file is known to have ended.

    Of a writer on another machine nothing is known.
    """
    writer = WRITER.fullmatch(temporary.name.split(".")[-2])
    if not writer or writer["host"] not in (None, _host()):
        return False
    return not _lives(int(writer["process"]))


@cache
def _host() -> str:
    """Return what tells this machine, and this container of it, from others; it survives a boot."""
    parts = [socket.gethostname()]
    for read in (
        lambda: Path("/etc/machine-id").read_text(encoding="ascii"),
        lambda: os.readlink("/proc/self/ns/pid"),
    ):
        with suppress(OSError, ValueError):
            parts.append(read())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
