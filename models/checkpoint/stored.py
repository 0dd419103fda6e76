"""What a checkpoint's files hold, beside what its config states and what of it was loaded."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, cast

import safetensors
import torch
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

from gatehouse.models.checkpoint.adapters import refuse_adapter_weights
from gatehouse.models.routers import OTHER_MODALITY
from gatehouse.warehouse.errors import GatehouseError

PLAIN = {"F64", "F32", "F16", "BF16", "I64", "BOOL"}
"""Types of tensors that a checkpoint holds if nothing in it is quantised."""

NARROW = re.compile(r"F[468](_\w+)?|[IU]8")
PACKED = re.compile(r"(qweight|weight_packed|qdata)$")

BESIDE = re.compile(
    r"(^|\.)(lm_head|embed_out)\.|^(output_projection|score|classifier|qa_outputs|v(alue)?_head)\."
    # layers that guess a token further ahead
    r"|(^|[._])(mtp|nextn)[._]"
    r"|(^|\.)(multi_modal|mm)_projector\."
    # buffers that are computed now: of positions, of causal masks
    r"|inv_freq$|position_ids$|(attn|attention)\.(bias|masked_bias)$"
    # scales of activations and of the cache, which stay in full precision here
    r"|(^|[._])(input|output|activation|[kqv]|kv|prob)_(scale|zero_point)$"
)
"""Tensors that are beside the layers whose routing is read, by name."""

AHEAD = re.compile(r"\.(eh_proj|enorm|hnorm|shared_head)\.")
"""Modules that only a layer has that guesses a token further ahead (DeepSeek-V3, GLM-4.5)."""


class StoredTensor(NamedTuple):
    """A tensor as its file describes it: a type of safetensors, such as BF16, and a shape."""

    dtype: str
    shape: tuple[int, ...]


def indexed_files(index: Path) -> list[str]:
    """Return the names of the files that an index of safetensors names, in order.

    Raises:
        GatehouseError: it is not such an index.
    """
    try:
        named = set(json.loads(index.read_bytes())["weight_map"].values())
        if not (named and all(isinstance(each, str) for each in named)):
            raise ValueError("it names no files")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise GatehouseError(
            f"{index} is damaged or incomplete: fetch or copy it again ({error})"
        ) from error
    return sorted(named)


def stored_tensors(files: Iterable[Path]) -> dict[str, StoredTensor]:
    """Return every tensor of safetensors files by name; values are read of repeated ones only.

    Raises:
        GatehouseError: two files hold a tensor of one name with different values.
    """
    found: dict[str, StoredTensor] = {}
    places: dict[str, Path] = {}
    for path in files:
        with safetensors.safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a mapping
                part = file.get_slice(name)
                if name in found and not torch.equal(
                    file.get_tensor(name), _tensor(places[name], name)
                ):
                    raise GatehouseError(
                        f"{places[name]} and {path.name} beside it both hold {name}, with "
                        "different values: fetch or copy the checkpoint again"
                    )
                found[name] = StoredTensor(part.get_dtype(), tuple(part.get_shape()))
                places[name] = path
    return found


def _tensor(path: Path, name: str) -> torch.Tensor:
    with safetensors.safe_open(path, "pt") as file:
        return cast(torch.Tensor, file.get_tensor(name))


def stated(config: Any) -> dict[str, Any]:
    """Return a config's quantization_config, empty where it has none."""
    found = getattr(config, "quantization_config", None) or getattr(
        config.get_text_config(), "quantization_config", None
    )
    return dict(found if isinstance(found, dict) else found.to_dict()) if found else {}


def stored_format(config: Any) -> str | None:
    """Return how a checkpoint is quantised, as fp8 or bitsandbytes 4bit, None if it is not."""
    described = stated(config)
    if not described:
        return None
    for bits in ("4bit", "8bit"):
        if described.get(f"load_in_{bits}"):
            return f"bitsandbytes {bits}"
    method = described.get("quant_method")
    return str(getattr(method, "value", method) or "a format without a name")


def check_stated(name: str, config: Any, tensors: dict[str, StoredTensor]) -> None:
    """Refuse a checkpoint whose config states another format than its tensors have.

    Args:
        name: of the model.
        config: states the format, or none.
        tensors: what the checkpoint holds.

    Raises:
        GatehouseError: a stale or a missing quantization_config, or an unknown format.
    """
    stored = stored_format(config)
    if stored is None and getattr(config, "quantization_config", None) is not None:
        raise GatehouseError(
            f"{name!r} has an empty quantization_config in its config.json, which transformers "
            "does not read: remove it"
        )
    if stored is None:
        narrow = next((each for each in tensors.items() if _is_quantised(*each)), None)
        if narrow:
            raise GatehouseError(
                f"{name!r} holds quantised weights ({narrow[0]} in {narrow[1].dtype}), but its "
                "config.json has no quantization_config that says how: restore the config.json "
                "that came with them"
            )
        return
    if stored.replace(" ", "_") not in AUTO_QUANTIZATION_CONFIG_MAPPING:
        raise GatehouseError(
            f"{name!r} is stored in {stored}, which transformers does not read: use its 16-bit "
            "version"
        )
    types = {tensor.dtype for tensor in tensors.values()}
    if tensors and types <= PLAIN:
        raise GatehouseError(
            f"{name!r} holds weights in {', '.join(sorted(types))}, but its config.json has a "
            f"quantization_config that says {stored}, as merged QLoRA models often do: remove "
            "quantization_config from config.json to capture these weights"
        )


def _is_quantised(name: str, tensor: StoredTensor) -> bool:
    narrow = NARROW.fullmatch(tensor.dtype) and tensor.shape and not name.endswith("bias")
    return bool(narrow or PACKED.search(name))


def check_loaded(name: str, config: Any, found: dict[str, Any]) -> None:
    """Refuse a checkpoint that was not loaded whole: transformers draws what is missing at random,
    and drops what the model does not take.

    What is beside the layers whose routing is read may be missing or left over: heads, other
    modalities, layers that guess further ahead, buffers, scales of activations.

    Args:
        name: of the model.
        config: of the model; num_hidden_layers tells its layers from those that guess ahead.
        found: transformers' loading information.

    Raises:
        GatehouseError: weights of the text model are missing, have another shape, or are left over.
    """
    refuse_adapter_weights(name, found["unexpected_keys"])
    missing = _of_text(found["missing_keys"])
    if missing:
        raise GatehouseError(
            f"{name!r} lacks {len(missing)} of its weights ({missing[0]}, ...): the checkpoint is "
            "incomplete or belongs to another model"
        )
    for path, there, expected in sorted(found["mismatched_keys"]):
        raise GatehouseError(
            f"cannot load model {name!r}: its weights do not have the shapes that its config gives "
            f"({path} is {list(there)}, not {list(expected)}): the checkpoint is incomplete or "
            "belongs to another model"
        )
    left_over = _left_over(_of_text(found["unexpected_keys"]), config)
    if left_over:
        raise GatehouseError(
            f"{name!r} holds {len(left_over)} weights that the model of its config does not take "
            f"({left_over[0]}, ...), so another model would route: restore the config.json that "
            "came with them, or remove them if they are not of this model"
        )


def _of_text(names: Iterable[str]) -> list[str]:
    return sorted(each for each in names if not OTHER_MODALITY.search(each))


def _left_over(names: list[str], config: Any) -> list[str]:
    layers = getattr(config.get_text_config(), "num_hidden_layers", None)
    block = re.compile(r"(^|\.)layers\.(\d+)\.")
    ahead = {
        found.group(2) for each in names if (found := block.search(each)) and AHEAD.search(each)
    }

    def is_ahead(each: str) -> bool:
        found = block.search(each)
        past = found and isinstance(layers, int) and int(found.group(2)) >= layers
        return bool(past and found and found.group(2) in ahead)

    return [each for each in names if not (BESIDE.search(each) or is_ahead(each))]


def check_precision(name: str, model: Any, dtype: torch.dtype) -> None:
    """Refuse a model that would compute in another type than its run records.

    Args:
        name: of the model.
        model: loaded.
        dtype: what is recorded; float32 is always as precise.

    Raises:
        GatehouseError: names the first weight in another type.
    """
    for path, weight in model.named_parameters():
        if weight.is_floating_point() and weight.dtype not in (dtype, torch.float32):
            found, asked = (str(each).removeprefix("torch.") for each in (weight.dtype, dtype))
            raise GatehouseError(
                f"{name!r} has {path} in {found} where {asked} was asked for: add --dtype {found}"
            )
