"""Where text comes from: a dataset's name or a path becomes a stream of documents."""

import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gatehouse.ingest.articles import joined_articles
from gatehouse.ingest.files import SUFFIXES, read_path, skipped_files
from gatehouse.ingest.hub import HUB_DATASETS, hub_dataset, read_hub
from gatehouse.ingest.pydoc import read_pydoc
from gatehouse.ingest.rows import Broken, Document
from gatehouse.warehouse.errors import GatehouseError

PYDOC = "pydoc"


@dataclass(frozen=True)
class Corpus:
    """A named stream of documents and of rows that cannot be read as one; it can be read once.

    `name` is as the user gave it, or a resolved path; `revision` is the commit of a hub dataset,
    the Python version of `pydoc`, and None for local files; `skipped_files` counts the files of a
    folder that are not read, by suffix.
    """

    name: str
    documents: Iterator[Document | Broken]
    revision: str | None
    skipped_files: dict[str, int] = field(default_factory=dict)


def read_corpus(dataset: str, *, lines: bool = False, document_field: str | None = None) -> Corpus:
    """Open a corpus; documents are read, and downloaded, only as they are asked for.

    A corpus that holds articles as one row a paragraph, as `wikitext` does, is read as one document
    an article, wherever it is (see `articles.joined_articles`).

    Args:
        dataset: `pydoc`, `c4`, `wikitext`; a local file or folder (see `files.read_path`); or a hub
            dataset with a column `text`, as `owner/name` or `owner/name:configuration`. What
            exists here takes precedence over the hub, and known names over both.
        lines: whether each line of a `.txt` file is a document.
        document_field: the field of JSON Lines, Parquet files and hub datasets that names the
            document which a text is a part of.

    Raises:
        GatehouseError: there is no such dataset, it cannot be read, it does not have what an
            option asks for, or there is no network; errors inside the files are raised while the
            documents are read.
    """
    if dataset == PYDOC:
        if document_field is not None:
            raise GatehouseError(
                f"--document-field {document_field}: {PYDOC} has no fields and knows its own "
                "documents; leave it out"
            )
        documents = (Document(*document) for document in read_pydoc())
        return Corpus(PYDOC, documents, f"Python {platform.python_version()}")
    if is_on_hub(dataset):
        on_hub = hub_dataset(dataset)
        assert on_hub is not None
        streamed, revision = read_hub(dataset, on_hub, document_field)
        return Corpus(dataset, joined_articles(streamed), revision)
    path = Path(dataset).expanduser()
    if not dataset.strip() or not path.exists():
        known = ", ".join((PYDOC, *HUB_DATASETS))
        raise GatehouseError(
            f"there is no dataset or path {dataset!r}: use {known}, a file, a folder, or a "
            "hub dataset as owner/name"
        )
    path = path.resolve()
    rows = read_path(path, lines=lines, document_field=document_field)
    return Corpus(str(path), joined_articles(rows), None, skipped_files(path))


def is_on_hub(dataset: str) -> bool:
    """Return whether the name is one for the hub: a known one, or `owner/name` and no path here."""
    if dataset in HUB_DATASETS:
        return True
    path = Path(dataset).expanduser()
    is_path = path.exists() or path.suffix.lower() in SUFFIXES or dataset.startswith((".", "~"))
    return not is_path and hub_dataset(dataset) is not None
