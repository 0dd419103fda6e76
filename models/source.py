"""A model's files, in a folder or of the hub at one commit, and the errors of reading them."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
import transformers
from transformers import AutoTokenizer
from transformers.utils import cached_file

from gatehouse.models.batches import out_of_memory
from gatehouse.warehouse.environment import way_to_the_hub
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import without_secrets

WHOLE = "model.safetensors"
"""The file that transformers loads where there is one; else those that its index names."""


@dataclass(frozen=True)
class Source:
    """A model's files: a folder, or the hub's at `commit` (None for a folder).

    If the hub cannot be reached, only what its cache holds can be read. Code among the files runs
    only if `trust_remote_code`. `has_weights` is False where there are no safetensors.
    """

    name: str
    location: str
    commit: str | None
    cached_only: bool
    trust_remote_code: bool = False
    has_weights: bool = True

    def read(self, loader: Any, **options: Any) -> Any:
        """Return `loader.from_pretrained(...)` of these files, without transformers' own output.

        Raises:
            GatehouseError: there is no network and no cached copy, or the files cannot be loaded.
        """
        with self.errors("tokenizer" if loader is AutoTokenizer else "model"), quiet():
            return loader.from_pretrained(
                self.location,
                revision=self.commit,
                local_files_only=self.cached_only,
                trust_remote_code=self.trust_remote_code,
                **options,
            )

    def fingerprint(self, config: Any) -> str:
        """Return the hub's commit, or 16 digits of the SHA-256 of a folder's config and weights.

        If a folder's code is trusted, that code counts too.

        Raises:
            GatehouseError: there are no safetensors.
        """
        self.check_weights()
        if commit := self.commit or getattr(config, "_commit_hash", None):
            return commit
        folder = Path(self.location)
        weights = sorted(folder.glob("*.safetensors"))
        digest = hashlib.sha256()
        code = sorted(folder.glob("*.py")) if self.trust_remote_code else []
        for path in [folder / "config.json", *weights, *code]:
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()[:16]

    def check_weights(self) -> None:
        """Refuse a model without safetensors, of which only the structure can be read.

        Raises:
            GatehouseError: says how to get some.
        """
        if self.has_weights:
            return
        if Path(self.location).is_dir():
            raise GatehouseError(
                f"{self.location} has no .safetensors file: convert the checkpoint with "
                "save_pretrained(safe_serialization=True); pickled weights are not read"
            )
        raise GatehouseError(
            f"{self.name!r} has no .safetensors file on the hub: name a --revision that has one "
            "(the hub keeps conversions as refs/pr/NUMBER); pickled weights are not read"
        )

    def weight_files(self) -> list[Path]:
        """Return the files whose weights `read` loads, fetched if they are the hub's.

        Raises:
            GatehouseError: there are none, or a folder holds two models.
        """
        self.check_weights()
        with self.errors(), quiet():
            whole, index = self.file(WHOLE), self.file(f"{WHOLE}.index.json")
            if index is None:
                return [whole] if whole else []
            parts = sorted(set(json.loads(index.read_text())["weight_map"].values()))
            if whole and Path(self.location).is_dir() and parts != [WHOLE]:
                raise GatehouseError(
                    f"{self.name!r} holds two models, {WHOLE} and the {len(parts)} files of "
                    f"{index.name}: move one of them away"
                )
            if whole:
                return [whole]
            return [path for part in parts if (path := self.file(part))]

    def file(self, name: str) -> Path | None:
        """Return one file, fetched if it is the hub's; None if there is none of that name."""
        path = cached_file(
            self.location,
            name,
            revision=self.commit,
            local_files_only=self.cached_only,
            _raise_exceptions_for_missing_entries=False,
        )
        return Path(path) if path else None

    @contextmanager
    def errors(self, part: str = "model") -> Iterator[None]:
        """Turn what transformers and the hub raise about a part into one line with the way out."""
        try:
            yield
        except GatehouseError:
            raise
        except torch.OutOfMemoryError as error:
            raise GatehouseError(
                f"{self.name!r} does not fit the GPU: add --quantize 4bit, --device-map auto to "
                "spread it over all GPUs and the CPU, or --device-map cpu"
            ) from error
        except MemoryError as error:
            raise _does_not_fit(self.name) from error
        except Exception as error:  # from transformers, safetensors, or the hub's HTTP library
            if "trust_remote_code" in str(error) and not self.trust_remote_code:
                raise GatehouseError(
                    f"{self.name!r} needs --trust-remote-code: it runs code from the model's "
                    "repository, so read that first"
                ) from error
            if self.cached_only:
                why = way_to_the_hub() or "there is no network"
                raise GatehouseError(
                    f"cannot load model {self.name!r}: {why} and the model is not in the hub's "
                    "cache; use the bundled model `demo` or a local folder"
                ) from error
            if out_of_memory(error):
                raise _does_not_fit(self.name) from error
            if isinstance(error, safetensors.SafetensorError):
                raise self._damaged(error) from error
            raise cannot_load(self.name, error, part) from error

    def _damaged(self, error: Exception) -> GatehouseError:
        """Return the error that says which file of a folder is not safetensors, or is cut off."""
        for path in sorted(Path(self.location).glob("*.safetensors")):
            try:
                with safetensors.safe_open(path, "np"):
                    continue
            except safetensors.SafetensorError:
                return GatehouseError(
                    f"{path} is damaged or incomplete: fetch or copy it again ({error})"
                )
        return GatehouseError(
            f"the weights of {self.name!r} are damaged or incomplete: fetch them again ({error})"
        )


def _does_not_fit(name: str) -> GatehouseError:
    return GatehouseError(
        f"{name!r} does not fit this machine's memory: add --quantize 4bit or --dtype bfloat16, or "
        "end other programs"
    )


def cannot_load(name: str, error: Exception, part: str = "model") -> GatehouseError:
    """Return the line about an error of transformers or the hub, without the secrets in it."""
    # before it is cut: half a secret would not be recognised
    text = without_secrets(" ".join(str(error).split()))
    if part == "tokenizer":
        return GatehouseError(
            f"cannot load the tokenizer of {name!r}: restore the tokenizer files that came with "
            f"this model ({text[:160]})"
        )
    if isinstance(error, OSError):
        return GatehouseError(
            f"cannot load model {name!r}: check the name, the revision or the folder ({text[:160]})"
        )
    if "above report" in text:  # a table that transformers logs, which is not shown
        return GatehouseError(
            f"cannot load model {name!r}: its weights do not have the shapes that its config gives "
            "(an incomplete checkpoint, or another model's), or memory ran out as they were read"
        )
    return GatehouseError(f"cannot load model {name!r}: transformers cannot read it ({text[:160]})")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bars and the report on the unused LM head."""
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(verbosity)
        transformers.logging.enable_progress_bar()
