"""Where text comes from: a dataset's name or a path becomes a stream of documents."""

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gatehouse.ingest.files import READERS, read_path
from gatehouse.ingest.hub import HUB_DATASETS, hub_dataset, read_hub
from gatehouse.ingest.pydoc import read_pydoc
from gatehouse.ingest.rows import Broken, Document
from gatehouse.warehouse.errors import GatehouseError

PYDOC = "pydoc"


@dataclass(frozen=True)
class Corpus:
    """A named stream of documents and of rows that cannot be read as one; it can be read once.

    `name` is as the user gave it, or a resolved path; `revision` is the commit of a hub dataset,
    the Python version of `pydoc`, and None for local files.
    """

    name: str
    documents: Iterator[Document | Broken]
    revision: str | None


def read_corpus(dataset: str) -> Corpus:
    """Open a corpus; documents are read, and downloaded, only as they are asked for.

    Args:
        dataset: `pydoc`, `c4`, `wikitext`; a local file or folder (see `files.read_path`, where
            a `.txt` file holds one document a line); or a hub dataset with a column `text`,
            as `owner/name` or `owner/name:configuration`. What exists here takes precedence over
            the hub, and known names over both.

    Raises:
        GatehouseError: there is no such dataset, it cannot be read, or there is no network;
            errors inside the files are raised while the documents are read.
    """
    if dataset == PYDOC:
        documents = (Document(*document) for document in read_pydoc())
        return Corpus(PYDOC, documents, f"Python {platform.python_version()}")
    if is_on_hub(dataset):
        on_hub = hub_dataset(dataset)
        assert on_hub is not None
        return Corpus(dataset, *read_hub(dataset, on_hub))
    path = Path(dataset).expanduser()
    if not dataset.strip() or not path.exists():
        known = ", ".join((PYDOC, *HUB_DATASETS))
        raise GatehouseError(
            f"there is no dataset or path {dataset!r}: use {known}, a file, a folder, or a "
            "hub dataset as owner/name"
        )
    path = path.resolve()
    return Corpus(str(path), read_path(path), None)


def is_on_hub(dataset: str) -> bool:
    """Return whether the name is one for the hub: a known one, or `owner/name` and no path here."""
    if dataset in HUB_DATASETS:
        return True
    path = Path(dataset).expanduser()
    is_path = path.exists() or path.suffix.lower() in READERS or dataset.startswith((".", "~"))
    return not is_path and hub_dataset(dataset) is not None
