"""Adapters (LoRA and similar): files that change a base model, and that are never applied here."""

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from gatehouse.warehouse.errors import GatehouseError

FILES = re.compile(
    r"adapter_config\.json|adapters?(_model)?([._-]\w+)*\.(safetensors|bin|pt|pth|npz)"
    r"|(.*[._-])?lora([._-].*)?\.(safetensors|bin|pt|pth)",
    re.IGNORECASE,
)
"""Names of PEFT, torchtune, MLX and diffusers; files in subfolders are no part of a model."""

WEIGHTS = re.compile(
    r"(^|\.)(lora_(A|B|embedding_\w+|magnitude_vector)|ia3_l|base_layer|modules_to_save)\."
    r"|^base_model\.model\."
)
"""Names that PEFT gives to weights of an adapter, and to those of the base below it."""


def refuse_adapter(
    name: str, files: Iterable[str], config: Path | None, model_config: Path | None
) -> None:
    """Refuse a model with an adapter: its base alone would route under the adapted model's name.

    Args:
        name: of the model.
        files: names in the model's folder or repository, with `/` where they are in a subfolder.
        config: the adapter's own, on this machine, if there is one.
        model_config: the model's config.json, on this machine, which some tools describe an
            adapter in.

    Raises:
        GatehouseError: names the adapter's files and its base.
    """
    there = sorted(files)
    found = [file for file in there if FILES.fullmatch(file)]
    stated = described(model_config)
    if "peft_type" in stated:
        found.append("config.json with peft_type")
    if not found:
        return
    base = (described(config) or stated).get("base_model_name_or_path")
    alone = not any(file.endswith(".safetensors") for file in there if file not in found)
    either = "" if alone else ", or remove the adapter's files to capture the base alone"
    raise _not_applied(name, ", ".join(found), base, either)


def refuse_adapter_weights(name: str, weights: Iterable[str]) -> None:
    """Refuse a checkpoint with weights of an adapter among those that its model does not take.

    Args:
        name: of the model.
        weights: names of those that the model does not take.

    Raises:
        GatehouseError: names the first of the adapter's weights.
    """
    if first := next((each for each in sorted(weights) if WEIGHTS.search(each)), None):
        raise _not_applied(name, f"{first}, ...")


def _not_applied(name: str, found: str, base: Any = None, either: str = "") -> GatehouseError:
    into = base if isinstance(base, str) and base else "its base"
    return GatehouseError(
        f"{name!r} holds an adapter ({found}), which is not applied: merge it into {into} with "
        f"peft (`merge_and_unload`, then `save_pretrained`) and name the merged folder{either}"
    )


def described(config: Path | None) -> dict[str, Any]:
    """Return what a JSON file describes; nothing if there is none, or it holds something else."""
    with suppress(OSError, ValueError):
        found = json.loads(config.read_bytes()) if config else {}
        return found if isinstance(found, dict) else {}
    return {}
