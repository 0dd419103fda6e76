"""Corpora on this machine: texts, JSON Lines, Parquet, folders of such files, saved datasets."""

import codecs
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gatehouse.ingest.rows import Broken, Document, document_of, known_columns
from gatehouse.ingest.whole_files import NOT_UTF8, read_html, read_whole
from gatehouse.warehouse.errors import GatehouseError

PARQUET_BATCH_ROWS = 256
FORMATS_TEXT = ".txt, .md, .rst, .html, .jsonl or .parquet"
SAVED_DATASET_MARKERS = ("dataset_dict.json", "dataset_info.json")


Reader = Callable[[Path, str, str], Iterator[Document | Broken]]
"""Reads the file `path`; the two texts are the name, and the domain where rows give none."""


def read_path(
    path: Path, *, lines: bool = False, document_field: str | None = None
) -> Iterator[Document | Broken]:
    """Yield the documents of one file, of every file under a folder, or of a saved dataset.

    - `.txt`, `.md`, `.rst`, `.html`, `.htm`: UTF-8, **one document a file**; of HTML its text.
    - `.txt` with `lines`: one document a line, as in the "text" loader of `datasets`.
    - `.jsonl`: one object a line with `text`, optionally `domain` and `id`.
    - `.parquet`: a column `text`, optionally `domain` and `id`.
    - a folder: its files in the order of their paths, hidden ones left out. The domain is the
      folder right below the named one; for files right in it, the stem of one with many documents
      and else the name of the folder.
    - a folder written by `datasets.save_to_disk`: its rows (a DatasetDict's train split).

    Documents that have no name are named after their file, and their line (or row of a Parquet
    file). A file, line or row that is not UTF-8, is not a JSON object, or has no string `text` or
    no `document_field` is yielded as `Broken`, in its place; blank lines of JSON Lines are skipped.

    Args:
        path: a file or folder that exists.
        lines: whether each line of a `.txt` file is a document.
        document_field: the field of JSON Lines and tables that names a text's document.

    Raises:
        GatehouseError: nothing there can be read or, while reading, a file is damaged or a table
            has no column `text` or `document_field`.
    """
    readers = _readers(lines, document_field)
    if path.is_file():
        if path.suffix.lower() not in readers:
            raise GatehouseError(
                f"cannot read {path}: give a {FORMATS_TEXT} file, or a folder of them"
            )
        return readers[path.suffix.lower()](path, path.name, path.stem)
    if _is_saved_dataset(path):
        return _read_saved(path, document_field)
    files = [each for each in _files(path) if each.suffix.lower() in readers]
    if not files:
        only = ", ".join(f"{count:,} {suffix}" for suffix, count in skipped_files(path).items())
        raise GatehouseError(
            f"there is no {FORMATS_TEXT} file under {path}{only and f', only {only}'}: name "
            "another folder"
        )
    return _read_files(path, files, readers)


def skipped_files(path: Path) -> dict[str, int]:
    """Return suffix -> number of files under a folder that `read_path` does not read.

    The most frequent suffix comes first, hidden files are not counted, and anything but a folder
    of files has none.
    """
    if path.is_file() or _is_saved_dataset(path):
        return {}
    suffixes = (each.suffix.lower() for each in _files(path))
    skipped = Counter(suffix or "without a suffix" for suffix in suffixes if suffix not in SUFFIXES)
    return dict(sorted(skipped.items(), key=lambda found: (-found[1], found[0])))


def _is_saved_dataset(folder: Path) -> bool:
    return any((folder / marker).is_file() for marker in SAVED_DATASET_MARKERS)


def _files(folder: Path) -> list[Path]:
    files = [
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return sorted(files, key=lambda path: path.relative_to(folder).as_posix())


def _read_files(
    folder: Path, files: list[Path], readers: dict[str, Reader]
) -> Iterator[Document | Broken]:
    for path in files:
        relative, reader = path.relative_to(folder), readers[path.suffix.lower()]
        domain = folder.name if reader in (read_whole, read_html) else path.stem
        if len(relative.parts) > 1:
            domain = relative.parts[0]
        yield from reader(path, relative.as_posix(), domain)


def _read_lines(path: Path, name: str, domain: str) -> Iterator[Document | Broken]:
    for line, text in _lines(path):
        yield text if isinstance(text, Broken) else Document(f"{name}:{line}", domain, text)


def _read_json_lines(
    document_field: str | None, path: Path, name: str, domain: str
) -> Iterator[Document | Broken]:
    for line, text in _lines(path):
        if isinstance(text, Broken):
            yield text
        elif text.strip():
            place = f"{path} line {line}", f"{name}:{line}"
            yield _parse_document(text, *place, domain, document_field)


def _parse_document(
    text: str, where: str, name: str, domain: str, document_field: str | None
) -> Document | Broken:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", "") or type(error).__name__
        return Broken(f"{where} is not JSON ({reason})", "mend or remove the line")
    if not isinstance(row, dict):
        return Broken(f"{where} is not a JSON object", 'write {"text": "…"}')
    return document_of(row, where, name, domain, document_field)


def _lines(path: Path) -> Iterator[tuple[int, str | Broken]]:
    """Yield (line number from 1, line without its end); a byte order mark is dropped."""
    try:
        with path.open("rb") as file:
            for line, content in enumerate(file, 1):
                marked = content.removeprefix(codecs.BOM_UTF8) if line == 1 else content
                yield line, _decode(marked, f"{path} line {line}")
    except OSError as error:
        raise GatehouseError(f"cannot read {path}: {error.strerror}; check the file") from error


def _decode(content: bytes, where: str) -> str | Broken:
    try:
        return content.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        return Broken(f"{where} is not UTF-8", NOT_UTF8)


def _read_parquet(
    document_field: str | None, path: Path, name: str, domain: str
) -> Iterator[Document | Broken]:
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            columns = known_columns(str(path), file.schema_arrow.names, document_field)
            batches = file.iter_batches(batch_size=PARQUET_BATCH_ROWS, columns=columns)
            for index, row in enumerate(row for batch in batches for row in _rows(batch)):
                where = f"{path} row {index}"
                if row is None:
                    yield Broken(f"{where} is not UTF-8", "write the file again with UTF-8 text")
                else:
                    yield document_of(row, where, f"{name}:{index}", domain, document_field)
    except (OSError, pa.ArrowException) as error:
        raise GatehouseError(f"{path} is damaged or not Parquet: write or copy it again") from error


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | None]:
    """Yield the rows of a batch, None for one whose text is not UTF-8."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for index in range(batch.num_rows):
            row = None
            with suppress(UnicodeDecodeError):
                (row,) = batch.slice(index, 1).to_pylist()
            yield row


def _read_saved(path: Path, document_field: str | None) -> Iterator[Document | Broken]:
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
    rows = found.select_columns(known_columns(str(path), found.column_names, document_field))
    for index, row in enumerate(rows):
        place = f"{path} row {index}", f"{path.name}:{index}"
        yield document_of(row, *place, path.name, document_field)


def _readers(lines: bool, document_field: str | None) -> dict[str, Reader]:
    return {
        ".txt": _read_lines if lines else read_whole,
        ".md": read_whole,
        ".rst": read_whole,
        ".html": read_html,
        ".htm": read_html,
        ".jsonl": partial(_read_json_lines, document_field),
        ".parquet": partial(_read_parquet, document_field),
    }


SUFFIXES = frozenset(_readers(lines=False, document_field=None))
"""Suffixes of the files that can be read."""
