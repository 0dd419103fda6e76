"""Where a model's files come from: a local folder, or the hub at one commit."""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# the hub's client reads this when it is imported: nobody asked for usage counts to be sent
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# so does transformers: the hub's kernels are downloaded code, and replace hooked modules
os.environ["USE_HUB_KERNELS"] = "0"

import huggingface_hub
import safetensors
import torch
import transformers
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
from transformers import AutoTokenizer

from gatehouse.models.aliases import ALIASES
from gatehouse.models.batches import out_of_memory
from gatehouse.warehouse.environment import way_to_the_hub
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import without_secrets

CONNECT_SECONDS = 10.0


@dataclass(frozen=True)
class Source:
    """A model's files: a folder, or the hub's at `commit` (None for a folder).

    If the hub cannot be reached, only what its cache holds can be read. Code among the files runs
    only if `trust_remote_code`.
    """

    name: str
    location: str
    commit: str | None
    cached_only: bool
    trust_remote_code: bool = False

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
            GatehouseError: a folder without safetensors.
        """
        if commit := self.commit or getattr(config, "_commit_hash", None):
            return commit
        folder = Path(self.location)
        weights = sorted(folder.glob("*.safetensors"))
        if not weights:
            raise GatehouseError(
                f"{folder} has no .safetensors file: convert the checkpoint with "
                "save_pretrained(safe_serialization=True); pickled weights are not read"
            )
        digest = hashlib.sha256()
        code = sorted(folder.glob("*.py")) if self.trust_remote_code else []
        for path in [folder / "config.json", *weights, *code]:
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()[:16]

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
            raise _cannot_load(self.name, error, part) from error

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


def find_source(name: str, revision: str | None = None, trust_remote_code: bool = False) -> Source:
    """Return the source of an alias, a hub id or a folder; the hub is asked once, for the commit.

    Raises:
        GatehouseError: the name is none of these, the hub does not know it, or its repository has
            no safetensors.
    """
    location = ALIASES.get(name, name)
    if location and Path(location).is_dir():
        known = name if name in ALIASES else str(Path(name).resolve())
        return Source(known, location, None, False, trust_remote_code)
    if not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", location):
        raise GatehouseError(
            f"unknown model {name!r}: name one of {', '.join(ALIASES)}, a hub id such as "
            "owner/name, or a folder with config.json and safetensors"
        )
    try:
        api = huggingface_hub.HfApi()
        found = api.model_info(location, revision=revision, timeout=CONNECT_SECONDS)
    except GatedRepoError as error:  # a RepositoryNotFoundError too, so it comes first
        raise GatehouseError(
            f"the hub asks for consent to {name!r}: accept its terms there and set HF_TOKEN"
        ) from error
    except RepositoryNotFoundError as error:
        raise GatehouseError(
            f"the hub has no model {name!r}: check the name, or set HF_TOKEN if it is private"
        ) from error
    except HfHubHTTPError as error:
        raise _cannot_load(name, error) from error
    except Exception:  # the HTTP library below the hub's client changes, and its errors with it
        commit = revision or _latest_cached(location)
        return Source(name, location, commit, True, trust_remote_code)
    files = [each.rfilename for each in found.siblings or []]
    if files and not any(file.endswith(".safetensors") for file in files):
        raise GatehouseError(
            f"{name!r} has no .safetensors file on the hub: name a --revision that has one (the "
            "hub keeps conversions as refs/pr/NUMBER); pickled weights are not read"
        )
    return Source(name, location, found.sha, False, trust_remote_code)


def _latest_cached(location: str) -> str | None:
    """Return the most recently fetched commit of a hub model, None if there is none."""
    try:
        repositories = huggingface_hub.scan_cache_dir().repos
    except huggingface_hub.CacheNotFound:
        return None
    revisions = [
        each for repo in repositories if repo.repo_id == location for each in repo.revisions
    ]
    return max(revisions, key=lambda each: each.last_modified).commit_hash if revisions else None


def _does_not_fit(name: str) -> GatehouseError:
    return GatehouseError(
        f"{name!r} does not fit this machine's memory: add --quantize 4bit or --dtype bfloat16, or "
        "end other programs"
    )


def _cannot_load(name: str, error: Exception, part: str = "model") -> GatehouseError:
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
