"""What all work has that travels to a worker: where the warehouse is, and of which packages."""

import socket
from pathlib import Path
from typing import Any

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.release import gatehouse_version
from gatehouse.warehouse.storage.addresses import checked_address


def places(paths: Paths) -> dict[str, Any]:
    """Return where a warehouse is, as JSON has it."""
    return {"home": str(paths.root), "bucket": paths.bucket and str(paths.bucket)}


def paths_of(asked: dict[str, Any]) -> Paths:
    """Return the warehouse of work that has what `places` gives."""
    bucket = asked["bucket"] and checked_address(asked["bucket"])
    return Paths(Path(asked["home"]), bucket)


def check_gatehouse(asked: str) -> None:
    """Refuse work of another Gatehouse: nothing else of it need be what this one reads.

    Args:
        asked: the packages of the command, `gatehouse VERSION` first.

    Raises:
        GatehouseError: names both.
    """
    here = f"gatehouse {gatehouse_version()}"
    if not f"{asked},".startswith(f"{here},"):
        raise _other_packages(here, asked)


def check_packages(asked: str, found: str) -> None:
    """Refuse work of a command that has other packages than this machine.

    Raises:
        GatehouseError: names both.
    """
    if found != asked:
        raise _other_packages(found, asked)


def _other_packages(found: str, asked: str) -> GatehouseError:
    return GatehouseError(
        f"the worker on {socket.gethostname()} has {found}, and this command {asked}: install the "
        "same packages on both"
    )
