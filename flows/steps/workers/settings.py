"""Dask in this process: with settings of Gatehouse's own, or with the user's for their cluster."""

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from gatehouse.warehouse import environment
from gatehouse.warehouse.errors import GatehouseError

EXTRA = "gatehouse[cluster]"

QUIET = {"distributed": "critical", "tornado": "critical", "asyncio": "critical"}
"""Loggers of Dask: what matters of what they say, the command says in a line."""

SETTINGS: dict[str, Any] = {
    # a worker that loads a large model answers nothing meanwhile; one that dies is seen at once
    "distributed.scheduler.worker-ttl": None,
    # one shard at a time: none waits at a worker while another has nothing to do
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.worker.profile.enabled": False,
    "distributed.worker.preload": [],
    "distributed.scheduler.preload": [],
    # the system's memory is the limit, not a guess of Dask's
    "distributed.worker.memory.terminate": False,
    "distributed.worker.memory.pause": False,
}
"""Where they differ from Dask's own."""


@contextmanager
def dask(*, own: bool) -> Iterator[None]:
    """Let Dask be imported and used in the block.

    Args:
        own: without the user's `DASK_*` and `~/.config/dask`, which are back afterwards; else with
            them, as for a cluster that the user has set up.

    Raises:
        GatehouseError: it is not installed, or its settings cannot be read.
    """
    with environment.chosen(environment.DASK) if own else nullcontext():
        try:
            import dask.config
        except ImportError as error:
            raise GatehouseError(
                f"--workers and --scheduler need Dask: `pip install '{EXTRA}'`"
            ) from error
        except ValueError as error:
            raise GatehouseError(
                f"Dask's settings cannot be read ({error}): correct them in "
                f"{os.environ.get('DASK_CONFIG', '~/.config/dask')}"
            ) from error
        with _own_settings() if own else dask.config.set({"logging": QUIET}):
            import distributed  # noqa: F401

            yield


@contextmanager
def _own_settings() -> Iterator[None]:
    import dask.config

    before = copy.deepcopy(dask.config.config)
    dask.config.refresh(paths=[], env={})
    dask.config.set(SETTINGS | {"logging": QUIET})
    try:
        yield
    finally:
        dask.config.config.clear()
        dask.config.update(dask.config.config, before)
        # packages that were imported meanwhile count on theirs
        for defaults in dask.config.defaults:
            dask.config.update(dask.config.config, defaults, priority="old")
