"""Models by name: which folder, or which commit of the hub, a name stands for."""

import re
from dataclasses import replace
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

from gatehouse.models.aliases import ALIASES
from gatehouse.models.checkpoint.adapters import refuse_adapter
from gatehouse.models.checkpoint.failures import cannot_load
from gatehouse.models.source import ADAPTER, INDEX, Source, cached_files
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.hub.causes import why_unanswered

CONNECT_SECONDS = 10.0
CONFIG = "config.json"


def find_source(name: str, revision: str | None = None, trust_remote_code: bool = False) -> Source:
    """Return the source of an alias, a hub id or a folder; the hub is asked once, for the commit.

    Raises:
        GatehouseError: the name is none of these, the hub does not know it, it has no config, or
            there is an adapter.
    """
    location = ALIASES.get(name, name)
    if location and Path(location).exists():
        known = name if name in ALIASES else str(Path(name).resolve())
        return _of_folder(Source(known, location, None, "", trust_remote_code))
    if not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", location):
        raise _unknown(name)
    try:
        api = huggingface_hub.HfApi()
        found = api.model_info(location, revision=revision, timeout=CONNECT_SECONDS)
    except HFValidationError as error:
        raise _unknown(name) from error
    except GatedRepoError as error:  # a RepositoryNotFoundError too, so it comes first
        raise cannot_load(name, error) from error
    except RepositoryNotFoundError as error:
        raise GatehouseError(
            f"the hub has no model {name!r}: check the name, or set HF_TOKEN if it is private"
        ) from error
    except Exception as error:  # the HTTP library below the hub's client changes, and its errors
        why = why_unanswered(error)
        if not why:
            raise cannot_load(name, error) from error
        commit = revision or _latest_cached(location)
        source = Source(name, location, commit, why, trust_remote_code)
        return _checked(source, [path.name for path in cached_files(location, commit)])
    files = [each.rfilename for each in found.siblings or []]
    has_weights = not files or any(file.endswith(".safetensors") for file in files)
    source = Source(name, location, found.sha, "", trust_remote_code, has_weights)
    return _checked(source, files)


def _unknown(name: str) -> GatehouseError:
    return GatehouseError(
        f"unknown model {name!r}: name one of {', '.join(ALIASES)}, a hub id such as "
        "owner/name, or a folder with config.json and safetensors"
    )


def _of_folder(source: Source) -> Source:
    folder = Path(source.location)
    if not folder.is_dir():
        raise GatehouseError(
            f"{folder} is a file: name the folder that holds config.json and safetensors (GGUF is "
            "not read)"
        )
    with source.errors():
        files = [path.name for path in folder.iterdir()]
    has_weights = INDEX in files or any(file.endswith(".safetensors") for file in files)
    return _checked(replace(source, has_weights=has_weights), files)


def _checked(source: Source, files: list[str]) -> Source:
    """Return the source, if its files are a model's and not an adapter's.

    Args:
        source: of the model.
        files: names of its files, as far as they are known.
    """
    with source.errors():
        configs = {each: source.file(each) for each in (ADAPTER, CONFIG) if each in files}
    refuse_adapter(source.name, files, configs.get(ADAPTER), configs.get(CONFIG))
    if files and CONFIG not in files:
        with source.errors():
            found = Path(source.location).glob(f"*/{CONFIG}")
            inside = sorted(path.parent.name for path in found)
        way_out = (
            f"name one of its folders that do: {', '.join(inside)}"
            if inside
            else ("name what transformers' `save_pretrained` wrote")
        )
        raise GatehouseError(f"cannot load model {source.name!r}: it has no {CONFIG}; {way_out}")
    return source


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
