"""What each worker on this machine has of it: one GPU, and its share of the cores."""

import os
from collections.abc import MutableMapping

from gatehouse.flows.steps.machine import cores
from gatehouse.models.loading import SPREAD, visible_gpus
from gatehouse.warehouse.errors import GatehouseError

ONE_A_NODE = "spreads the model over all GPUs, so there is one worker a node"


def shares(workers: int, device_map: str | None) -> list[dict[str, str]]:
    """Return the variables that each worker of this machine starts with.

    Args:
        workers: how many there are.
        device_map: as the user named it.

    Raises:
        GatehouseError: they cannot have a GPU each, or a device was named for all of them.
    """
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, cores() // workers))
    each = {"OMP_NUM_THREADS": threads}
    if device_map in SPREAD and workers > 1:
        raise GatehouseError(
            f"--device-map {device_map} {ONE_A_NODE}: leave --device-map or --workers out"
        )
    gpus = visible_gpus()
    if device_map == "cpu" or device_map in SPREAD or not gpus:
        return [each] * workers
    if device_map not in (None, "cuda"):
        raise GatehouseError(
            f"--device-map {device_map} with --workers: each worker has a GPU of its own; leave "
            "--device-map out, and name GPUs in CUDA_VISIBLE_DEVICES"
        )
    if workers > len(gpus):
        raise GatehouseError(
            f"--workers {workers}: there are {len(gpus)} GPUs here, one for each worker; ask for "
            f"at most {len(gpus)}, or for --device-map cpu"
        )
    return [each | {"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus[:workers]]


def take_own_gpu(
    device_map: str | None, environment: MutableMapping[str, str] = os.environ
) -> None:
    """Let this process see its own GPU only, where a launcher has started several on one machine.

    Args:
        device_map: as the user named it.
        environment: of this process; LOCAL_RANK and LOCAL_WORLD_SIZE are torchrun's.

    Raises:
        GatehouseError: there are fewer GPUs than processes, or the model is to have all of them.
    """
    local, beside = environment.get("LOCAL_RANK", "0"), environment.get("LOCAL_WORLD_SIZE", "1")
    gpus = visible_gpus()
    if not (local.isdecimal() and beside.isdecimal()) or int(beside) < 2 or not gpus:
        return
    if device_map in SPREAD:
        raise GatehouseError(
            f"--device-map {device_map} {ONE_A_NODE}: start one process a node (--nproc-per-node 1)"
        )
    if device_map in (None, "cuda"):
        if int(beside) > len(gpus):
            raise GatehouseError(
                f"{beside} processes for {len(gpus)} GPUs on this machine: start one for each "
                f"(--nproc-per-node {len(gpus)})"
            )
        environment["CUDA_VISIBLE_DEVICES"] = gpus[int(local)]
