"""The line about a model that cannot be read, by the cause that was seen in the error."""

import importlib.util
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import safetensors
import torch

from gatehouse.models.batches import out_of_memory
from gatehouse.warehouse.contents.first_bytes import GIT_LFS
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.hub.causes import kinds_of, refusal, unkept, why_unanswered
from gatehouse.warehouse.plain_text import without_secrets

PACKAGE = re.compile(r"pip install (?!--upgrade transformers)|No module named")
BY_TURNS = "`tiktoken` file"
"""What transformers says if it lacks both packages that read a tokenizer.model."""
TOKENIZER_PACKAGES = ("sentencepiece", "tiktoken")
QUOTED = 160
"""Characters of another program's message."""


def no_memory(name: str, error: BaseException) -> GatehouseError | None:
    """Return the error for a model that does not fit, None if memory did not run out."""
    if isinstance(error, torch.OutOfMemoryError):
        return GatehouseError(
            f"{name!r} does not fit the GPU: add --quantize 4bit, --device-map auto to spread it "
            "over all GPUs and the CPU, or --device-map cpu"
        )
    if not out_of_memory(error):
        return None
    return GatehouseError(
        f"{name!r} does not fit this machine's memory: add --quantize 4bit or --dtype bfloat16, or "
        "end other programs"
    )


def unfilled(files: Iterable[Path]) -> GatehouseError | None:
    """Return the error that names a file that is only a pointer of Git LFS, None if none is."""
    for path in files:
        if not path.is_file():
            continue
        with open(path, "rb") as file:
            if file.read(len(GIT_LFS)) == GIT_LFS:
                return GatehouseError(
                    f"{path} is a pointer of Git LFS and not the file itself: run `git lfs pull` "
                    "in its folder"
                )
    return None


def damaged(name: str, files: Iterable[Path], error: BaseException) -> GatehouseError:
    """Return the error that says which of a folder's files is not safetensors, or is cut off."""
    for path in sorted(files):
        try:
            with safetensors.safe_open(path, "np"):
                continue
        except safetensors.SafetensorError:
            return GatehouseError(
                f"{path} is damaged or incomplete: fetch or copy it again ({error})"
            )
    return GatehouseError(
        f"the weights of {name!r} are damaged or incomplete: fetch them again ({error})"
    )


def not_fetched(name: str, why: str) -> GatehouseError:
    """Return the error for a model that the cache lacks and that the hub does not give."""
    return GatehouseError(
        f"cannot load model {name!r}: {why}, and the hub's cache lacks what it needs; use the "
        "bundled model `demo` or a whole local folder"
    )


def cannot_load(name: str, error: BaseException, part: str = "model") -> GatehouseError:
    """Return the line about an error of transformers or the hub, without the secrets in it."""
    # before it is cut: half a secret would not be recognised
    text = without_secrets(" ".join(str(error).split()))
    what = "model" if part == "model" else f"the {part} of"
    if why := why_unanswered(error):
        return not_fetched(name, why)
    if said := refusal(repr(name), error):
        return GatehouseError(said)
    return GatehouseError(f"cannot load {what} {name!r}: {_reason(error, text, part)}")


def _reason(error: BaseException, text: str, part: str) -> str:
    if said := unkept(error):
        return said
    if sys.flags.optimize > 1 and "docstring" in text:
        return (
            "transformers reads its docstrings, which Python leaves out here: unset "
            "PYTHONOPTIMIZE, or set it to 1"
        )
    if PACKAGE.search(text):
        return _package(text)
    if part == "tokenizer":
        return f"restore the tokenizer files that came with this model ({text[:QUOTED]})"
    return _of_a_model(error, text)


def _package(text: str) -> str:
    if BY_TURNS in text:
        lacking = [each for each in TOKENIZER_PACKAGES if importlib.util.find_spec(each) is None]
        return f"a package that reads it is missing: `pip install {' '.join(lacking)}`"
    return f"a package that it needs is missing; install it ({text[:QUOTED]})"


def _of_a_model(error: BaseException, text: str) -> str:
    if "valid JSON" in text:
        return f"restore the config.json that came with this model ({text[:QUOTED]})"
    if isinstance(error, OSError):
        return f"check the name, the revision or the folder ({text[:QUOTED]})"
    if "above report" in text:  # a table that transformers logs, which is not shown
        return (
            "its weights do not have the shapes that its config gives (an incomplete checkpoint, "
            "or another model's), or memory ran out as they were read"
        )
    return f"transformers cannot read it ({text[:QUOTED]})"


def is_of_the_cache(error: BaseException) -> bool:
    """Return whether an error says that the hub's cache does not hold a file."""
    return bool(kinds_of(error) & {"LocalEntryNotFoundError", "OfflineModeIsEnabled"})
