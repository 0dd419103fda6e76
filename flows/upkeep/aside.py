"""What does not belong into the lake is moved out of it, and kept."""

import os
from itertools import chain, count

from gatehouse.flows.console import say, short_path
from gatehouse.warehouse.files import cannot_write
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.storage.addresses import Place
from gatehouse.warehouse.storage.places import storage_of


def set_aside(path: Place, paths: Paths) -> None:
    """Move a file or folder of the lake to the same place under `set-aside`, and say where it is.

    Raises:
        GatehouseError: it cannot be moved.
    """
    place = paths.root / "set-aside" / str(path).removeprefix(f"{paths.lake}/")
    others = (place.with_name(f"{place.name}.{number}") for number in count(2))
    aside = next(each for each in chain([place], others) if not os.path.lexists(each))
    try:
        aside.parent.mkdir(parents=True, exist_ok=True)
        storage_of(path).move_out(path, aside)
    except OSError as error:
        raise cannot_write(aside, error) from error
    say(f"set aside {short_path(aside)}")
