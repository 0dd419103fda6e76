"""Where an engine did not route: dense layers, holes, padding, and what the cause may be."""

import numpy as np

from gatehouse.ingest.traces.sequence import Layout
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import counted, first_few

FILLS = np.array([2**bits - 1 for bits in (8, 16, 32, 64)], dtype=np.uint64)
"""-1 as unsigned integers of some width hold it."""

ENOUGH_TO_TELL = 64
"""Where a token has one expert: as many choices of expert 0, and no other, are no choices."""

Places = np.ndarray
"""[T, L] booleans."""


def of_moe_layers(name: str, values: np.ndarray, layout: Layout) -> np.ndarray:
    """Return the layers with experts out of all that a file has, [T, L, k] in both cases.

    Raises:
        GatehouseError: there are other layers than those of the model, or only those.
    """
    layers, moe = values.shape[1], len(layout.blocks)
    if layers == moe:
        return values
    if layers == layout.num_blocks:
        return values[:, list(layout.blocks)]
    all_layers = "" if moe == layout.num_blocks else f", or {layout.num_blocks} with the dense ones"
    raise GatehouseError(
        f"{name} has {counted(layers, 'layer')} where the model has {moe} with experts"
        f"{all_layers}: the layers of a draft model are among them, those of another pipeline "
        "stage are missing, or it is another model; give the --model that was traced, or keep "
        "its layers only"
    )


def check_dense_layers(name: str, experts: np.ndarray, layout: Layout) -> None:
    """Refuse experts [T, all blocks, k] that a dense layer is said to have chosen.

    Raises:
        GatehouseError: as vLLM 0.21 writes it, or where a draft model wrote into the layer.
    """
    if experts.shape[1] != layout.num_blocks or len(layout.blocks) == layout.num_blocks:
        return
    dense = [block for block in range(layout.num_blocks) if block not in layout.blocks]
    most = np.full(layout.num_blocks, max(layout.num_experts))
    is_used = ~(_zeros(experts) | _fills(experts, most)).all(axis=0)
    used = [block for block in dense if is_used[block]]
    if not used:
        return
    trailing = counted(len(dense), "layer")
    if not is_used[len(layout.blocks) :].any():
        raise GatehouseError(
            f"{name} has experts in the dense layer {used[0]} and none in its last {trailing}: "
            "vLLM 0.21 counts MoE layers but ignores first_k_dense_replace, so they are shifted "
            f"to the front; leave out the last {trailing} of the array"
        )
    raise GatehouseError(
        f"{name} has experts in the dense layer {used[0]}: a draft model wrote into it "
        "(vLLM #48622), or it is another model; give the --model that was traced, or record "
        "again without speculative decoding"
    )


def check_all_routed(name: str, experts: np.ndarray, layout: Layout) -> None:
    """Refuse experts [T, L, k] that are zeros or a filling somewhere, and say what it looks like.

    Raises:
        GatehouseError: they are; the cause follows from the layers and tokens that it concerns.
    """
    places = _zeros(experts)
    if experts.shape[2] == 1 and not (places.all() and places.size >= ENOUGH_TO_TELL):
        places[:] = False
    places |= _fills(experts, np.array(layout.num_experts))
    if not places.any():
        return
    t, layer = (int(index) for index in np.argwhere(places)[0])
    filling = " and ".join(dict.fromkeys(str(value) for value in experts[t, layer]))
    what, cause, way_out = _diagnosis(places, layout)
    raise GatehouseError(f"{name} has only {filling} for experts {what}: {cause}; {way_out}")


def _diagnosis(places: Places, layout: Layout) -> tuple[str, str, str]:
    """Return (where there is no choice, the likely cause, the way out)."""
    tokens, layers = np.all(places, axis=1), np.all(places, axis=0)
    if places.all():
        return (
            "everywhere",
            "the engine returned its buffer before it recorded into it (vLLM #33013, #49184), or "
            "the request was preempted",
            "record again with an engine that has this mended",
        )
    if layers.any() and not (places & ~layers).any():
        blocks = [str(layout.blocks[index]) for index in np.flatnonzero(layers)]
        return (
            f"in all of {'layer' if len(blocks) == 1 else 'layers'} {first_few(blocks, 8)}",
            "the layers of another pipeline stage were not collected, or another --model is meant",
            "record again without pipeline parallelism, or give the model that was traced",
        )
    rows = np.flatnonzero(tokens)
    if len(rows) and tokens[: len(rows)].all():
        return (
            f"of its first {counted(len(rows), 'token')}",
            "they came from the prefix cache, which keeps no routing, or are padding on the left",
            "record again with prefix caching switched off, leave out the padding, or the sequence",
        )
    t, layer = (int(index) for index in np.argwhere(places)[0])
    return (
        f"in {counted(int(places.sum()), 'place')}, the first at row {t} in layer "
        f"{layout.blocks[layer]}",
        "these rows are padding, or the request was preempted and resumed",
        "leave out the sequence, or record again with an engine that has this mended",
    )


def _zeros(experts: np.ndarray) -> Places:
    return np.all(experts == 0, axis=2)


def _fills(experts: np.ndarray, num_experts: np.ndarray) -> Places:
    """Return where any of the experts [T, L, k] is a number that engines fill with."""
    found = np.any(experts < 0, axis=2)
    beyond = experts >= num_experts[:, None]
    if beyond.any():
        found |= (beyond & np.isin(experts.astype(np.uint64), FILLS)).any(axis=2)
    return found
