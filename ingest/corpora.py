"""Where text comes from: a dataset's name or a path becomes a stream of documents."""

import os
import platform
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gatehouse.ingest.articles import joined_articles
from gatehouse.ingest.fields import Fields
from gatehouse.ingest.files import ANY_FIELD, read_path, read_pipe
from gatehouse.ingest.folders import Listing
from gatehouse.ingest.formats import format_of
from gatehouse.ingest.hub import HUB_DATASETS, hub_dataset, read_hub
from gatehouse.ingest.pydoc import read_pydoc
from gatehouse.ingest.rows import Broken, Document
from gatehouse.warehouse.errors import GatehouseError

PYDOC = "pydoc"
STANDARD_INPUT = "standard input"
"""The name of what is read from `-`, or from a pipe that the shell has made."""

CACHED = "datasets--"
"""How the hub's cache names the folder of a dataset: datasets--OWNER--NAME."""


@dataclass(frozen=True)
class Corpus:
    """A named stream of documents and of rows that cannot be read as one; it can be read once.

    `name` is as the user gave it, or a resolved path; `revision` is the commit of a hub dataset,
    the Python version of `pydoc`, and None for local files; `listing` is what a folder holds.
    """

    name: str
    documents: Iterator[Document | Broken]
    revision: str | None
    listing: Listing | None = None


def read_corpus(dataset: str, *, lines: bool = False, fields: Fields = ANY_FIELD) -> Corpus:
    """Open a corpus; documents are read, and downloaded, only as they are asked for.

    A corpus that holds articles as one row a paragraph, as `wikitext` does, is read as one document
    an article, wherever it is (see `articles.joined_articles`).

    Args:
        dataset: `pydoc`, `c4`, `wikitext`; a local file or folder (see `files.read_path`); `-` or
            another pipe; or a hub dataset as `owner/name` or `owner/name:configuration`. What
            exists here takes precedence over the hub, and known names over both.
        lines: whether each line of a `.txt` file is a document.
        fields: the fields of rows that were asked for.

    Raises:
        GatehouseError: there is no such dataset, it cannot be read, it does not have what an
            option asks for, or there is no network; errors inside the files are raised while the
            documents are read.
    """
    if dataset == PYDOC:
        for option, name in fields.asked.items():
            raise GatehouseError(
                f"{option} {name}: {PYDOC} has no fields and knows its own documents; leave it out"
            )
        documents = (Document(*document) for document in read_pydoc())
        return Corpus(PYDOC, documents, f"Python {platform.python_version()}")
    if is_on_hub(dataset):
        on_hub = hub_dataset(dataset)
        assert on_hub is not None
        streamed, revision = read_hub(dataset, on_hub, fields)
        return Corpus(dataset, joined_articles(streamed), revision)
    if pipe := _pipe(dataset):
        return Corpus(pipe, joined_articles(_piped(dataset, pipe, lines, fields)), None)
    path = Path(dataset).expanduser()
    if not dataset.strip() or not path.exists():
        known = ", ".join((PYDOC, *HUB_DATASETS))
        raise GatehouseError(
            f"there is no dataset or path {dataset!r}: use {known}, a file, a folder, or a "
            "hub dataset as owner/name"
        )
    path = resolved(path)
    rows, listing = read_path(_newest_snapshot(path), lines=lines, fields=fields)
    return Corpus(str(path), joined_articles(rows), None, listing)


def resolved(path: Path) -> Path:
    """Return the full path without links, but for one that leads to a file of another suffix.

    A file in the hub's cache is a link to one that is named by its hash alone.
    """
    target = path.expanduser().resolve()
    if path.is_file() and format_of(path) not in (None, format_of(target)):
        return path.expanduser().parent.resolve() / path.name
    return target


def _newest_snapshot(path: Path) -> Path:
    """Return the files of a dataset's folder in the hub's cache, at the commit of its main branch.

    The folder holds every version that was downloaded, and the files once more by their hashes. A
    version that was asked for by its commit is in no branch.

    Raises:
        GatehouseError: there are several versions, and none of them is that of the main branch.
    """
    if not path.name.startswith(CACHED) or not (path / "snapshots").is_dir():
        return path
    versions = {each.name: each for each in sorted((path / "snapshots").iterdir()) if each.is_dir()}
    with_commit = path / "refs" / "main"
    if with_commit.is_file():
        commit = with_commit.read_text(encoding="utf-8").strip()
        if commit in versions:
            return versions[commit]
    if len(versions) > 1:
        raise GatehouseError(
            f"{path} holds {len(versions)} versions, and does not say which is the main branch's: "
            f"name one of the folders in it, such as {path / 'snapshots' / max(versions)}"
        )
    return next(iter(versions.values()), path)


def is_pipe(dataset: str) -> bool:
    """Return whether a dataset can be read only once."""
    return dataset == STANDARD_INPUT or _pipe(dataset) is not None


def _pipe(dataset: str) -> str | None:
    """Return the name of a dataset that can be read only once, None for any other.

    What the shell makes for a process has no name of its own: another one every time.
    """
    path = Path(dataset).expanduser()
    if dataset == "-":
        return STANDARD_INPUT
    try:
        kind = path.stat().st_mode
    except (OSError, ValueError):
        return None
    nameless = path.parts[:2] in (("/", "dev"), ("/", "proc"))
    # some shells hand over a text that stands in a command as a file that they have removed
    removed = nameless and stat.S_ISREG(kind) and not path.resolve().exists()
    if not (removed or stat.S_ISFIFO(kind) or stat.S_ISCHR(kind) or stat.S_ISSOCK(kind)):
        return None
    return STANDARD_INPUT if nameless else str(path.resolve())


def _piped(dataset: str, name: str, lines: bool, fields: Fields) -> Iterator[Document | Broken]:
    try:
        source = sys.stdin.fileno() if dataset == "-" else Path(dataset).expanduser()
        if os.isatty(source) if isinstance(source, int) else dataset == "/dev/tty":
            raise GatehouseError(
                "standard input is a terminal: pipe a text into it, or name a file"
            )
        with open(source, "rb", buffering=0, closefd=not isinstance(source, int)) as stream:
            yield from read_pipe(name, stream, lines=lines, fields=fields)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is closed"
        raise GatehouseError(f"cannot read {name}: {reason}; pipe a text into it") from error


def is_on_hub(dataset: str) -> bool:
    """Return whether the name is one for the hub: a known one, or `owner/name` and no path here."""
    if dataset in HUB_DATASETS:
        return True
    path = Path(dataset).expanduser()
    is_path = path.exists() or format_of(path) or dataset.startswith((".", "~"))
    return not is_path and hub_dataset(dataset) is not None
