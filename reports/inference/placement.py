"""Which GPU holds which expert: DeepSeek's balancing by replicas, and what it is compared with.

Source: DeepSeek's EPLB (2025). Experts that are used most have replicas, which share their load,
and the replicas are packed onto GPUs of equal size so that none is far above the others.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gatehouse.reports.inference.accesses import Integers
from gatehouse.warehouse.errors import GatehouseError

Loads = NDArray[np.float64]


@dataclass(frozen=True)
class Placement:
    """Experts by place.

    experts: (layers, replicas) the expert that each place holds; GPU 0 has the first places, in
        equal shares.
    gpus: how many there are.
    num_experts: of one layer.
    """

    experts: Integers
    gpus: int
    num_experts: int

    @property
    def replicas(self) -> Integers:
        """Return (layers, num_experts) places that each expert has."""
        layers = len(self.experts)
        cells = self.experts + self.num_experts * np.arange(layers)[:, None]
        found = np.bincount(cells.ravel(), minlength=layers * self.num_experts)
        return found.reshape(layers, self.num_experts)

    def gpu_loads(self, loads: Loads) -> Loads:
        """Return (..., layers, gpus) what each GPU has of the (..., layers, num_experts) loads.

        An expert's replicas have equal parts of its load.
        """
        shares = np.asarray(loads, np.float64) / self.replicas
        of_places = np.take_along_axis(
            shares, np.broadcast_to(self.experts, (*shares.shape[:-1], self.experts.shape[1])), -1
        )
        size = self.experts.shape[1] // self.gpus
        return of_places.reshape(*of_places.shape[:-1], self.gpus, size).sum(axis=-1)

    def balance(self, loads: Loads) -> Loads:
        """Return (..., layers) the mean load of a GPU over the highest, 1 where all are equal.

        A layer takes as long as its busiest GPU, so this is the share of the GPUs' time that is
        used. Where there is no load it is 1.

        Args:
            loads: (..., layers, num_experts) of any text, by window for instance.
        """
        found = self.gpu_loads(loads)
        highest = found.max(axis=-1)
        equal = np.ones_like(highest)
        return np.divide(found.mean(axis=-1), highest, out=equal, where=highest > 0)


def contiguous(layers: int, num_experts: int, replicas: int, gpus: int) -> Placement:
    """Return the placement by number: expert 0 in the first place, and 0 again after the last."""
    _check(num_experts, replicas, gpus)
    experts = np.arange(replicas) % num_experts
    return Placement(np.tile(experts, (layers, 1)), gpus, num_experts)


def shuffled(layers: int, num_experts: int, replicas: int, gpus: int, seed: int = 0) -> Placement:
    """Return a random placement: every expert once, other places for random experts, all mixed."""
    _check(num_experts, replicas, gpus)
    random = np.random.default_rng(seed)
    order = random.permuted(np.tile(np.arange(num_experts), (layers, 1)), axis=1)
    experts = order[:, np.arange(replicas) % num_experts]
    return Placement(random.permuted(experts, axis=1), gpus, num_experts)


def balanced(loads: Loads, replicas: int, gpus: int, nodes: int = 1, groups: int = 1) -> Placement:
    """Return EPLB's placement for the loads.

    With groups that the nodes can share equally it is hierarchical: a group of experts, of which
    a router chooses several together, stays on one node, and so do the replicas. Otherwise it is
    global: any expert on any GPU.

    Args:
        loads: (layers, num_experts), accesses or gate mass.
        replicas: places in all, at least one for each expert.
        gpus: how many share the places.
        nodes: how many share the GPUs.
        groups: how many equal groups the experts form, in the order of their numbers.

    Raises:
        GatehouseError: the numbers do not divide each other, or there are fewer places than
            experts.
    """
    loads = np.asarray(loads, np.float64)
    num_experts = loads.shape[1]
    _check(num_experts, replicas, gpus)
    if nodes < 1 or groups < 1:
        raise GatehouseError(f"{nodes} nodes and {groups} groups: give 1 or more of each")
    _check_nodes(num_experts, gpus, nodes, groups)
    if groups % nodes:
        nodes = groups = 1
    experts = [_balanced_layer(layer, replicas, gpus, nodes, groups) for layer in loads]
    return Placement(np.array(experts), gpus, num_experts)


def _balanced_layer(loads: Loads, replicas: int, gpus: int, nodes: int, groups: int) -> list[int]:
    members = np.arange(len(loads)).reshape(groups, -1)
    placed: list[int] = []
    for of_node in _packed(loads[members].sum(axis=1), nodes):
        experts = members[of_node].ravel()
        copies, parts = _replicated(loads[experts], replicas // nodes)
        for of_gpu in _packed(parts, gpus // nodes):
            placed += experts[copies[of_gpu]].tolist()
    return placed


def _packed(weights: Loads, packs: int) -> list[list[int]]:
    """Return as many items for each pack: the heaviest first, each into the lightest pack."""
    size = len(weights) // packs
    if size == 1:
        # as published: they stay in their order
        return [[item] for item in range(packs)]
    found: list[list[int]] = [[] for _ in range(packs)]
    totals = [0.0] * packs
    for item in np.argsort(-weights, kind="stable").tolist():
        not_full = [pack for pack in range(packs) if len(found[pack]) < size]
        lightest = min(not_full, key=totals.__getitem__)
        found[lightest].append(item)
        totals[lightest] += float(weights[item])
    return found


def _replicated(loads: Loads, places: int) -> tuple[Integers, Loads]:
    """Return (places,) experts and their parts of the loads.

    Each place beyond one for each expert goes to the expert whose replicas have most to do.
    """
    replicas = np.ones(len(loads), np.int64)
    copies = list(range(len(loads)))
    for _ in range(places - len(loads)):
        busiest = int(np.argmax(loads / replicas))
        copies.append(busiest)
        replicas[busiest] += 1
    return np.array(copies), (loads / replicas)[copies]


def _check(num_experts: int, replicas: int, gpus: int) -> None:
    if gpus < 1:
        raise GatehouseError(f"{gpus} GPUs hold no experts; give 1 or more")
    if replicas < num_experts:
        raise GatehouseError(
            f"{replicas} places are too few for {num_experts} experts; give {num_experts} or more"
        )
    if replicas % gpus:
        fitting = replicas + gpus - replicas % gpus
        raise GatehouseError(
            f"{gpus} GPUs cannot share {replicas} places equally; give {fitting} places, or a "
            f"number of GPUs that divides {replicas}"
        )


def _check_nodes(num_experts: int, gpus: int, nodes: int, groups: int) -> None:
    if num_experts % groups:
        raise GatehouseError(
            f"{num_experts} experts cannot form {groups} equal groups; give a number that divides "
            f"{num_experts}, or 1 for none"
        )
    if gpus % nodes:
        raise GatehouseError(
            f"{nodes} nodes cannot share {gpus} GPUs equally; give a number that divides {gpus}"
        )
