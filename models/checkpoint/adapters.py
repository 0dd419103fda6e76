"""Adapters (LoRA and similar): files that change a base model, and that are never applied here."""

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from gatehouse.warehouse.errors import GatehouseError

FILES = re.compile(
    r"adapter_config\.json|adapters?(_model)?([._-]\w+)*\.(safetensors|bin|pt|pth|npz)"
    r"|(.*[._-])?lora([._-].*)?\.(safetensors|bin|pt|pth)",
    re.IGNORECASE,
)
"""Names of PEFT, torchtune, MLX and diffusers; files in subfolders are no part of a model."""


def refuse_adapter(name: str, files: Iterable[str], config: Path | None) -> None:
    """Refuse a model with an adapter: its base alone would route under the adapted model's name.

    Args:
        name: of the model.
        files: names in the model's folder or repository, with `/` where they are in a subfolder.
        config: the adapter's own, on this machine, if there is one.

    Raises:
        GatehouseError: names the adapter's files and its base.
    """
    there = sorted(files)
    found = [file for file in there if FILES.fullmatch(file)]
    if not found:
        return
    base = "its base"
    with suppress(OSError, ValueError, AttributeError, KeyError, TypeError):
        base = json.loads(config.read_text())["base_model_name_or_path"]  # type: ignore[union-attr]
    alone = not any(file.endswith(".safetensors") for file in there if file not in found)
    either = "" if alone else ", or remove the adapter's files to capture the base alone"
    raise GatehouseError(
        f"{name!r} holds an adapter ({', '.join(found)}), which is not applied: merge it into "
        f"{base} with peft (`merge_and_unload`, then `save_pretrained`) and name the merged "
        f"folder{either}"
    )
