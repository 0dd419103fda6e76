"""Saved `output_router_logits` of transformers: every expert's score, of a padded batch."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from gatehouse.ingest.traces.arrays import integers, saved, token_ids
from gatehouse.ingest.traces.likeness import of_another_format
from gatehouse.ingest.traces.sequence import Format, Layout, RoutedSequence
from gatehouse.ingest.traces.torch_files import as_array, loaded
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import quoted

SUFFIXES = (".safetensors", ".npz", ".pt")
KEY = "router_logits"
WANTED = (
    "save `router_logits.0`, `router_logits.1`, … with the batch's `input_ids` and `attention_mask`"
)

Rows = Callable[[slice], np.ndarray]
"""Gives some rows of a layer's scores, [rows, E] float32."""


def read(paths: list[Path], layout: Layout) -> Iterator[RoutedSequence]:
    """Yield each row of the batches in some files, without its padding.

    A file has `router_logits.0`, `router_logits.1`, … of [B·S, E], or, in a `.pt`, a tuple
    `router_logits`; `input_ids` of [B, S]; and `attention_mask` of [B, S], or `pad_token_id`.
    Scores come out as they are, be they logits or probabilities.

    Raises:
        GatehouseError: one of these is missing, or their shapes differ.
    """
    for path in paths:
        with ExitStack() as closing:
            values = _values(path, closing)
            ids, is_real = _tokens(values, path)
            layers = _layers(values, path, is_real.size)
            for row in np.flatnonzero(is_real.any(1)):
                yield _sequence(path, layers, ids, is_real, int(row))


def _sequence(
    path: Path, layers: list[Rows], ids: np.ndarray | None, is_real: np.ndarray, row: int
) -> RoutedSequence:
    real, length = is_real[row], is_real.shape[1]
    here = slice(row * length, (row + 1) * length)
    return RoutedSequence(
        name=f"{path.name} row {row}",
        token_ids=None if ids is None else ids[row][real],
        experts=np.empty((int(real.sum()), len(layers), 0), np.int32),
        logits=[layer(here)[real] for layer in layers],
    )


def _tokens(values: Mapping[str, Any], path: Path) -> tuple[np.ndarray | None, np.ndarray]:
    """Return the token ids, [B, S], and which of them are no padding."""
    ids, mask = _batch(values, "input_ids", path), _batch(values, "attention_mask", path)
    pad = values.get("pad_token_id")
    if mask is None and (ids is None or pad is None):
        raise GatehouseError(
            f"{path} does not say which tokens are padding, and padding is routed too: {WANTED}"
        )
    if ids is not None:
        checked = token_ids(ids.reshape(-1), f"{path} `input_ids`")
        assert checked is not None
        ids = checked.reshape(ids.shape)
    if mask is None:
        place = f"{path} `pad_token_id`"
        padding = integers(np.reshape(as_array(pad, place), -1), place, 1)
        assert ids is not None
        return ids, ~np.isin(ids, padding)
    if ids is not None and ids.shape != mask.shape:
        raise GatehouseError(
            f"{path} has `input_ids` of {ids.shape} and `attention_mask` of {mask.shape}: save "
            "both of the same batch"
        )
    return ids, mask != 0


def _batch(values: Mapping[str, Any], key: str, path: Path) -> np.ndarray | None:
    place = f"{path} `{key}`"
    value = as_array(values.get(key), place)
    if value is None:
        return None
    # masks are booleans too
    is_boolean = isinstance(value, np.ndarray) and value.dtype.kind == "b"
    return integers(value.astype(np.int8) if is_boolean else value, place, 2)


def _layers(values: Mapping[str, Any], path: Path, tokens: int) -> list[Rows]:
    """Return each layer's scores, in order, once all of them have a row for each token."""
    named = {
        int(number): value
        for key, value in values.items()
        if (number := str(key).removeprefix(f"{KEY}.")).isdecimal()
    }
    scores = [named[number] for number in sorted(named)]
    if isinstance(values.get(KEY), list | tuple):
        # transformers has None for a dense layer
        scores = [layer for layer in values[KEY] if layer is not None]
    if not scores:
        found = ", ".join(map(str, values)) or "nothing"
        raise GatehouseError(f"{path} holds {quoted(found)}, and no `{KEY}.0`: {WANTED}")
    for place, layer in enumerate(scores):
        shape = tuple(layer.get_shape() if hasattr(layer, "get_shape") else np.shape(layer))
        is_text = isinstance(layer, np.ndarray) and layer.dtype.kind not in "fiu"
        if is_text or len(shape) != 2 or shape[0] != tokens:
            raise GatehouseError(
                f"{path} layer {place} has scores of {shape} for {tokens:,} tokens of the batch, "
                f"padding included: {WANTED}"
            )
    return [_rows(layer, f"{path} layer {place}") for place, layer in enumerate(scores)]


def _rows(layer: Any, where: str) -> Rows:
    return lambda here: np.asarray(as_array(layer[here], where), np.float32)


def _values(path: Path, closing: ExitStack) -> Mapping[str, Any]:
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return saved(path)
    if suffix == ".safetensors":
        return _of_safetensors(path, closing)
    if suffix != ".pt":
        raise of_another_format(path, "router-logits", SUFFIXES)
    values = loaded(path)
    if not isinstance(values, Mapping):
        raise GatehouseError(f"{path} is no dictionary: {WANTED}")
    return values


def _of_safetensors(path: Path, closing: ExitStack) -> Mapping[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        opened = closing.enter_context(safe_open(path, framework="pt"))
        # scores are read as they are needed
        return {
            key: opened.get_slice(key) if key.startswith(KEY) else opened.get_tensor(key)
            for key in opened.keys()  # noqa: SIM118
        }
    except (OSError, SafetensorError) as error:
        raise GatehouseError(
            f"{path} is no readable safetensors file ({quoted(error)}): copy or save it again"
        ) from error


FORMAT = Format(
    "router-logits",
    "transformers: saved `output_router_logits` with `input_ids` and `attention_mask`",
    SUFFIXES,
    read,
    """found = model(**batch, output_router_logits=True)
numpy.savez(
    "batch.npz",
    input_ids=batch["input_ids"].cpu(),
    attention_mask=batch["attention_mask"].cpu(),
    **{f"router_logits.{at}": each.float().cpu() for at, each in enumerate(found.router_logits)},
)""",
)
