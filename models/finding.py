"""Models by name: which folder, or which commit of the hub, a name stands for."""

import re
from dataclasses import replace
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from gatehouse.models.aliases import ALIASES
from gatehouse.models.checkpoint.adapters import refuse_adapter
from gatehouse.models.source import Source, cannot_load
from gatehouse.warehouse.errors import GatehouseError

CONNECT_SECONDS = 10.0

ADAPTER = "adapter_config.json"


def find_source(name: str, revision: str | None = None, trust_remote_code: bool = False) -> Source:
    """Return the source of an alias, a hub id or a folder; the hub is asked once, for the commit.

    Raises:
        GatehouseError: the name is none of these, the hub does not know it, or there is an adapter.
    """
    location = ALIASES.get(name, name)
    if location and Path(location).exists():
        known = name if name in ALIASES else str(Path(name).resolve())
        return _of_folder(Source(known, location, None, False, trust_remote_code))
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
        raise cannot_load(name, error) from error
    except Exception:  # the HTTP library below the hub's client changes, and its errors with it
        commit = revision or _latest_cached(location)
        cached = {path.name: path for path in _cached_files(location, commit)}
        refuse_adapter(name, cached, cached.get(ADAPTER))
        return Source(name, location, commit, True, trust_remote_code)
    files = [each.rfilename for each in found.siblings or []]
    has_weights = not files or any(file.endswith(".safetensors") for file in files)
    source = Source(name, location, found.sha, False, trust_remote_code, has_weights)
    refuse_adapter(name, files, source.file(ADAPTER) if ADAPTER in files else None)
    return source


def _of_folder(source: Source) -> Source:
    folder = Path(source.location)
    if not folder.is_dir():
        raise GatehouseError(
            f"{folder} is a file: name the folder that holds config.json and safetensors (GGUF is "
            "not read)"
        )
    with source.errors():
        files = [path.name for path in folder.iterdir()]
    refuse_adapter(source.name, files, folder / ADAPTER)
    has_weights = any(file.endswith(".safetensors") for file in files)
    return replace(source, has_weights=has_weights)


def _cached_files(location: str, commit: str | None) -> list[Path]:
    """Return the files of a hub model that are in the cache."""
    for name in ("config.json", ADAPTER):
        path = huggingface_hub.try_to_load_from_cache(location, name, revision=commit)
        if isinstance(path, str):
            return list(Path(path).parent.iterdir())
    return []


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
