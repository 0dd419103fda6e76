"""What a file that a format does not read looks like, for the messages that refuse it."""

from collections.abc import Mapping
from pathlib import Path

from gatehouse.warehouse.contents.names import PACKED, unpacked_name
from gatehouse.warehouse.errors import GatehouseError

BY_SUFFIX = {
    ".parquet": "flame",
    ".safetensors": "router-logits",
    ".pt": "r3, router-logits or counts",
    ".csv": "bigmoe",
    ".gguf": "counts",
    ".npy": "vllm",
    ".npz": "vllm or router-logits",
    ".jsonl": "jsonl, vllm or sglang",
}
BY_KEY = {
    "meta_info": "sglang",
    "sglext": "sglang",
    "prompt_routed_experts": "vllm",
    "routed_experts": "vllm",
    "choices": "vllm",
    "layers": "warp",
    "experts": "jsonl",
}
"""A key of a JSON object, or of the arrays of a file; the first one that is there tells."""
PICKLES = (".pkl", ".pickle", ".joblib")


def of_another_format(path: Path, format_name: str, suffixes: tuple[str, ...]) -> GatehouseError:
    """Return the error for a file that a format has no reader for, by its name.

    Args:
        path: the file or folder.
        format_name: the format that was asked for.
        suffixes: of the files that it reads.
    """
    suffix = suffix_of(path)
    if path.is_dir():
        return GatehouseError(f"{path} is a folder: name the files in it that {format_name} reads")
    if suffix in PICKLES:
        return GatehouseError(
            f"{path} is a pickle, which is not read, because reading one can run programs: "
            "save its arrays with numpy.savez"
        )
    reads = f"{format_name} reads {', '.join(suffixes)}"
    if suffix in suffixes and path.suffix.lower() in PACKED:
        return GatehouseError(f"{path} is packed: unpack it")
    like = BY_SUFFIX.get(suffix)
    if like is None:
        return GatehouseError(f"{path} is no trace of {format_name}: {reads}")
    return GatehouseError(f"{path} is no trace of {format_name}, it looks like {like}: {reads}")


def looks_like(keys: Mapping[str, object], format_name: str) -> str:
    """Return `, it looks like sglang` where keys are another format's, nothing elsewhere."""
    like = next((like for key, like in BY_KEY.items() if key in keys), format_name)
    return "" if like == format_name else f", it looks like {like}"


def suffix_of(path: Path) -> str:
    """Return a file's suffix in lower case, without that of what it is packed with."""
    return Path(unpacked_name(path)).suffix.lower()
