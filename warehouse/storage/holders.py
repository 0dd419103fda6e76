"""What a lock's object says of the process that holds it, and whether that one has ended."""

import json
import os
import secrets
import socket
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any


def introduction() -> dict[str, Any]:
    """Return what this process says of itself, which no other process says, nor itself again."""
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return {
        "holder": f"process {os.getpid()} on {socket.gethostname()} since {since}",
        "machine": _machine(),
        "process": os.getpid(),
        "begun": _begun(os.getpid()),
        "token": secrets.token_hex(16),
        "renewals": 0,
    }


def encoded(said: dict[str, Any]) -> bytes:
    """Return an introduction as the content of a lock's object."""
    return json.dumps(said).encode()


def name_of(content: bytes) -> str:
    """Return what the process that wrote a content is called, for people."""
    words = _decoded(content).get("holder")
    return words if isinstance(words, str) and words else "another process"


def has_ended(content: bytes) -> bool:
    """Return whether a content's process was one of this very system, and is no more."""
    said = _decoded(content)
    process, begun = said.get("process"), said.get("begun")
    if said.get("machine") != _machine() or not isinstance(process, int) or begun is None:
        return False
    return _begun(process) != begun


def _decoded(content: bytes) -> dict[str, Any]:
    with suppress(ValueError):
        found = json.loads(content)
        if isinstance(found, dict):
            return found
    return {}


@cache
def _machine() -> str:
    """Return what tells this system of processes from all others: another container is another."""
    boot, numbers = "", ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        numbers = os.readlink("/proc/self/ns/pid")
    return f"{socket.gethostname()} {boot} {numbers}" if boot and numbers else secrets.token_hex(16)


def _begun(process: int) -> str | None:
    """Return when a process of this system began, in its clock's ticks; None if there is none."""
    try:
        # the name of the program, in brackets, may hold anything
        state, *others = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return None if state == "Z" else others[18]
    except (OSError, IndexError):
        return None
