"""Corpora on this machine: a file, a pipe, a folder, a saved dataset; each file by its format."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from gatehouse.ingest.fields import Fields
from gatehouse.ingest.folders import Listing, list_folder
from gatehouse.ingest.formats import (
    ARROW,
    DELIMITED,
    FORMATS_TEXT,
    LINES_OF_JSON,
    PROSE,
    ROWS,
    format_of,
    stem_of,
)
from gatehouse.ingest.readers.lines import read_json, read_json_lines, read_lines
from gatehouse.ingest.readers.tables import read_delimited, read_table
from gatehouse.ingest.readers.whole_files import read_html, read_whole
from gatehouse.ingest.rows import Broken, Document, NoSuchColumn, document_of, known_columns
from gatehouse.warehouse.contents.first_bytes import NO_TEXT, is_binary
from gatehouse.warehouse.contents.names import PACKED
from gatehouse.warehouse.contents.opened import Contents, opened
from gatehouse.warehouse.errors import GatehouseError

SAVED = ("dataset_dict.json", "state.json")
"""Files that `datasets.save_to_disk` writes into the folder of a dataset."""

WEB_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype html|html|\?xml)\b", re.IGNORECASE)
"""How a page begins that was saved under the name of a file with rows."""

ANY_FIELD = Fields()

Reader = Callable[[Contents, str, str, Fields], Iterator[Document | Broken]]
"""Reads an open file; the two texts are its name, and the domain where rows give none."""

READERS: dict[str, Reader] = {
    **dict.fromkeys(PROSE, read_whole),
    ".html": read_html,
    ".htm": read_html,
    **dict.fromkeys(LINES_OF_JSON, read_json_lines),
    ".json": read_json,
    **dict.fromkeys(DELIMITED, read_delimited),
    **dict.fromkeys(ARROW, read_table),
}


def read_path(
    path: Path, *, lines: bool = False, fields: Fields = ANY_FIELD
) -> tuple[Iterator[Document | Broken], Listing | None]:
    """Return the documents of a file, of a folder's files or of a saved dataset, and the listing.

    Each file may be packed with gzip, zstd, bzip2 or xz. What its first bytes say goes before its
    name: what it is packed with, a table, UTF-16 or UTF-32 with its byte order mark.

    - `.txt`, `.md`, `.rst`, `.html`, `.htm`: **one document a file**; of HTML its text.
    - `.txt` with `lines`: one document a line, as in the "text" loader of `datasets`.
    - `.jsonl`, `.ndjson`, `.json`: one object a line, or an array of objects; a `.json` may be an
      object that holds them in a list.
    - `.csv`, `.tsv`: a row; the first line names the columns and shows the delimiter.
    - `.parquet`, `.arrow`: a row.
    - a folder: what `folders.list_folder` lists, in the order of the paths. The domain is the
      folder right below the named one; for files right in it, the stem of one with many documents
      and else the name of the folder.
    - a folder written by `datasets.save_to_disk`: its rows (a DatasetDict's train split).

    Documents that have no name are named after their file, and their line, row or item. A file,
    line or row that is no text in UTF-8, or that `rows.document_of` cannot read, is yielded as
    `Broken`, in its place; blank lines of JSON Lines are skipped. Only a folder has a listing.

    Args:
        path: a file or folder that exists.
        lines: whether each line of a `.txt` file is a document.
        fields: the fields of rows that were asked for.

    Raises:
        GatehouseError: nothing there can be read or, while reading, a file is damaged or a table
            has no column that is needed.
    """
    if path.is_file():
        return _read_file(path, _format_of_file(path), lines, fields), None
    if any((path / marker).is_file() for marker in SAVED):
        return _read_saved(path, fields), None
    listing = list_folder(path)
    if not listing.read:
        only = f", only {listing.left_out_text}" if listing.left_out else ""
        raise GatehouseError(
            f"there is no {FORMATS_TEXT} file under {path}{only}: name another folder"
        )
    return _read_files(path, listing, lines, fields), listing


def read_pipe(
    name: str, stream: IO[bytes], *, lines: bool = False, fields: Fields = ANY_FIELD
) -> Iterator[Document | Broken]:
    """Yield the documents of what can be read only once, as `read_path` does those of a file.

    A name without the suffix of a format leaves it to the first bytes: a table, JSON, or text.

    Raises:
        GatehouseError: while reading, what it is packed with is damaged.
    """
    path = Path(name)
    with opened(path, stream) as contents:
        told = format_of(path) or (".json" if _is_json(contents.head) else ".txt")
        yield from _documents(contents, told, path.name, stem_of(path), lines, fields)


def _read_file(path: Path, told: str, lines: bool, fields: Fields) -> Iterator[Document | Broken]:
    with opened(path) as contents:
        yield from _documents(contents, told, path.name, stem_of(path), lines, fields)


def _read_files(
    folder: Path, listing: Listing, lines: bool, fields: Fields
) -> Iterator[Document | Broken]:
    for name in listing.read:
        path, told = folder / name, format_of(Path(name))
        assert told is not None, "a listing holds only formats that are read"
        whole = told in PROSE and not (lines and told == ".txt")
        domain = folder.name if whole else stem_of(path)
        if "/" in name:
            domain = name.split("/")[0]
        listing.opened += 1
        with opened(path) as contents:
            try:
                yield from _documents(contents, told, name, domain, lines, fields)
            except NoSuchColumn as error:
                # a folder may hold a table of something else beside its texts
                yield error.broken


def _documents(
    contents: Contents, told: str, name: str, domain: str, lines: bool, fields: Fields
) -> Iterator[Document | Broken]:
    refused = contents.unreadable
    if refused and not (told in ARROW and refused == NO_TEXT):
        yield Broken(f"{contents.where} is {refused[0]}", refused[1])
        return
    if told in ROWS and WEB_PAGE.match(contents.head):
        what = f"{contents.where} is a web page or a server's answer in the place of rows"
        yield Broken(what, "download the file itself, from the address of its download")
        return
    reader = read_table if contents.table else READERS[told]
    if lines and reader is read_whole and told == ".txt":
        reader = read_lines
    for each in reader(contents, name, domain, fields):
        if isinstance(each, Document) and is_binary(each.text.encode("utf-8", "surrogatepass")):
            what = f"{each.name} of {contents.where} is {NO_TEXT[0]}"
            yield Broken(what, "mend or remove it")
        else:
            yield each


def _format_of_file(path: Path) -> str:
    """Return the format of a file by its name, else by its first bytes.

    Raises:
        GatehouseError: neither tells.
    """
    if told := format_of(path):
        return told
    with opened(path) as contents:
        if contents.table:
            return ".arrow"
        if contents.unreadable:
            what, remedy = contents.unreadable
            raise GatehouseError(f"{path} is {what}: {remedy}")
        if _is_json(contents.head):
            return ".json"
    packed = ", ".join(PACKED)
    raise GatehouseError(
        f"cannot read {path}: give a {FORMATS_TEXT} file, also with {packed} behind that, or a "
        "folder of them"
    )


def _is_json(head: bytes) -> bool:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return start.startswith((b'{"', b"{\n", b"{ ", b"[{", b"[\n"))


def _read_saved(path: Path, fields: Fields) -> Iterator[Document | Broken]:
    import datasets  # here, because it takes a second and only saved datasets need it

    try:
        found = datasets.load_from_disk(str(path))
    except Exception as error:  # whatever a damaged folder makes the library raise
        raise GatehouseError(
            f"{path} is not a readable saved dataset: write it again with save_to_disk"
        ) from error
    if isinstance(found, datasets.DatasetDict):
        if "train" not in found:
            names = ", ".join(found)
            raise GatehouseError(
                f"{path} has no split train, only {names}: name the subfolder of a split"
            )
        found = found["train"]
    rows = found.select_columns(known_columns(str(path), found.column_names, fields))
    for index, row in enumerate(rows):
        place = f"{path} row {index}", f"{path.name}:{index}"
        yield document_of(row, *place, path.name, fields)
