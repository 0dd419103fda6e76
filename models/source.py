"""A model's files, in a folder or of the hub at one commit, and the errors of reading them."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import huggingface_hub
import safetensors
import transformers
from transformers import AutoTokenizer
from transformers.utils import cached_file

from gatehouse.models.checkpoint.adapters import described
from gatehouse.models.checkpoint.failures import (
    cannot_load,
    damaged,
    is_of_the_cache,
    no_memory,
    not_fetched,
    unfilled,
)
from gatehouse.models.checkpoint.stored import indexed_files
from gatehouse.warehouse.errors import ENDINGS, GatehouseError

WHOLE = "model.safetensors"
"""The file that transformers loads where there is one; else those that its index names."""

INDEX = f"{WHOLE}.index.json"

ADAPTER = "adapter_config.json"
TOKENIZER_FILES = re.compile(r".*token.*|vocab\..*|spiece\.model|tekken\.json")


@dataclass(frozen=True)
class Source:
    """A model's files: a folder, or the hub's at `commit` (None for a folder).

    Where the hub could not be asked, `unreachable` says why, as a clause, and only what its cache
    holds can be read. Code among the files runs only if `trust_remote_code`. `has_weights` is False
    where there are no safetensors.
    """

    name: str
    location: str
    commit: str | None
    unreachable: str = ""
    trust_remote_code: bool = False
    has_weights: bool = True

    def read(self, loader: Any, **options: Any) -> Any:
        """Return `loader.from_pretrained(...)` of these files, without transformers' own output.

        Raises:
            GatehouseError: the hub does not answer and there is no cached copy, or the files
                cannot be loaded.
        """
        with self.errors("tokenizer" if loader is AutoTokenizer else "model"), quiet():
            return loader.from_pretrained(
                self.location,
                revision=self.commit,
                local_files_only=bool(self.unreachable),
                trust_remote_code=self.trust_remote_code,
                **options,
            )

    def fingerprint(self, config: Any) -> str:
        """Return the hub's commit, or 16 digits of the SHA-256 of a folder's config and weights.

        Where an index chooses the weights, the index and every file that it names count too, and so
        does a folder's code if it is trusted.

        Raises:
            GatehouseError: as `weight_files`, or a folder's config chooses the weights.
        """
        self.check_weights()
        if commit := self.commit or getattr(config, "_commit_hash", None):
            return commit
        if chosen := getattr(config, "transformers_weights", None):
            raise GatehouseError(
                f"the config.json of {self.name!r} names its weights itself (transformers_weights: "
                f"{chosen}), and other files would be hashed: remove that, and name them {WHOLE}"
            )
        folder = Path(self.location)
        # none of these lies elsewhere
        named = {folder / path.name for path in self.weight_files}
        weights = sorted(folder.glob("*.safetensors"))
        others = sorted(named - set(weights))
        index = [path for path in [folder / INDEX] if path.exists()]
        digest = hashlib.sha256()
        code = sorted(folder.glob("*.py")) if self.trust_remote_code else []
        for path in [folder / "config.json", *weights, *index, *others, *code]:
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
        if next(Path(self.location).glob("*.gguf"), None):
            raise GatehouseError(
                f"{self.location} has its weights in GGUF, which is not read: name the checkpoint "
                "in safetensors that they were made from"
            )
        if Path(self.location).is_dir():
            raise GatehouseError(
                f"{self.location} has no .safetensors file: convert the checkpoint with "
                "save_pretrained(safe_serialization=True); pickled weights are not read"
            )
        raise GatehouseError(
            f"{self.name!r} has no .safetensors file on the hub: name a --revision that has one "
            "(the hub keeps conversions as refs/pr/NUMBER); pickled weights are not read"
        )

    @cached_property
    def weight_files(self) -> list[Path]:
        """Return the files whose weights `read` loads, fetched if they are the hub's.

        Raises:
            GatehouseError: there are none, one is missing or lies elsewhere, or a folder holds two
                models.
        """
        self.check_weights()
        with self.errors(), quiet():
            whole, index = self.file(WHOLE), self.file(INDEX)
            is_folder = Path(self.location).is_dir()
            if index is None:
                if is_folder and whole is None:
                    raise self._without_index()
                return [whole] if whole else []
            if found := unfilled([index]):
                raise found
            parts = indexed_files(index)
            outside = [part for part in parts if part != Path(part).name]
            if outside and is_folder:
                # a fingerprint is of the folder, so other weights would go by its name
                raise GatehouseError(
                    f"{index} names {outside[0]}, which is not a file beside it: move the weights "
                    "into the model's folder, and correct the index"
                )
            if whole and is_folder and parts != [WHOLE]:
                raise GatehouseError(
                    f"{self.name!r} holds two models, {WHOLE} and the {len(parts)} files of "
                    f"{index.name}: move one of them away"
                )
            if whole:
                return [whole]
            paths = {part: self.file(part) for part in parts}
            lacking = [part for part, path in paths.items() if path is None]
            if lacking and not self.unreachable:
                raise GatehouseError(
                    f"{self.name!r} lacks {lacking[0]}, which its {index.name} names: fetch or "
                    "copy it again"
                )
            return [path for path in paths.values() if path]

    def _without_index(self) -> GatehouseError:
        first = min(path.name for path in Path(self.location).glob("*.safetensors"))
        return GatehouseError(
            f"{self.name!r} holds {first}, but neither {WHOLE} nor its index {INDEX}, "
            "which names the files of the model: fetch or copy that too (another layout, such as "
            "consolidated.safetensors, is not read)"
        )

    def file(self, name: str) -> Path | None:
        """Return one file, fetched if it is the hub's; None if there is none of that name."""
        path = cached_file(
            self.location,
            name,
            revision=self.commit,
            local_files_only=bool(self.unreachable),
            _raise_exceptions_for_missing_entries=False,
        )
        return Path(path) if path else None

    @contextmanager
    def errors(self, part: str = "model") -> Iterator[None]:
        """Turn what transformers and the hub raise about a part into one line with the way out."""
        try:
            yield
        except (*ENDINGS, GatehouseError):
            raise
        # from transformers, safetensors, the hub's HTTP library, or a panic of one in Rust
        except BaseException as error:
            raise self._failure(error, part) from error

    def _failure(self, error: BaseException, part: str) -> GatehouseError:
        if found := no_memory(self.name, error):
            return found
        asks_for_trust = "trust_remote_code" in str(error) and not self.trust_remote_code
        for file in self._lacking_code():
            if asks_for_trust or file in str(error):
                return GatehouseError(
                    f"{self.name!r} lacks {file}, the code that its config.json names: copy the "
                    ".py files of its repository beside it and read them; then "
                    "--trust-remote-code runs them"
                )
        if asks_for_trust:
            return GatehouseError(
                f"{self.name!r} needs --trust-remote-code: it runs code from the model's "
                "repository, so read that first"
            )
        folder = Path(self.location)
        if found := unfilled(folder.glob("*")):
            return found
        if self.unreachable and (is_of_the_cache(error) or self._is_not_cached(part)):
            return not_fetched(self.name, self.unreachable)
        if isinstance(error, safetensors.SafetensorError):
            return damaged(self.name, folder.glob("*.safetensors"), error)
        return cannot_load(self.name, error, part)

    def _lacking_code(self) -> list[str]:
        """Return the files of code that a folder's config names, and that are not there."""
        folder = Path(self.location)
        classes = described(folder / "config.json").get("auto_map")
        names = classes.values() if isinstance(classes, dict) else ()
        # what has `--` in it is in another repository, of the hub
        own = (name for name in names if isinstance(name, str) and "--" not in name)
        files = {f"{name.rpartition('.')[0].replace('.', '/')}.py" for name in own}
        return sorted(file for file in files if not (folder / file).is_file())

    def _is_not_cached(self, part: str) -> bool:
        """Return whether the hub's cache lacks the files of a part altogether."""
        names = TOKENIZER_FILES if part == "tokenizer" else re.compile(r".*\.safetensors")
        found = cached_files(self.location, self.commit)
        return not any(names.fullmatch(path.name) for path in found)


def cached_files(location: str, commit: str | None) -> list[Path]:
    """Return the files of a hub model that are in the cache."""
    for name in ("config.json", ADAPTER):
        path = huggingface_hub.try_to_load_from_cache(location, name, revision=commit)
        if isinstance(path, str):
            return list(Path(path).parent.iterdir())
    return []


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
