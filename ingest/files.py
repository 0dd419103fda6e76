"""Corpora on this machine: text, JSON Lines and Parquet files, folders of them, saved datasets."""

import codecs
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gatehouse.ingest.rows import Broken, Document, document_of, known_columns
from gatehouse.warehouse.errors import GatehouseError

PARQUET_BATCH_ROWS = 256
FORMATS_TEXT = ".txt, .jsonl or .parquet"
SAVED_DATASET_MARKERS = ("dataset_dict.json", "dataset_info.json")


def read_path(path: Path) -> Iterator[Document | Broken]:
    """Yield the documents of one file, of every file under a folder, or of a saved dataset.

    - `.txt`: UTF-8, **one document a line**, as in the "text" loader of `datasets`; texts of
      several lines belong in JSON Lines.
    - `.jsonl`: one object a line with `text`, optionally `domain` and `id`.
    - `.parquet`: a column `text`, optionally `domain` and `id`.
    - a folder: its files in the order of their paths, hidden ones left out; the domain is the
      folder right below the named one, or the file's stem.
    - a folder written by `datasets.save_to_disk`: its rows (a DatasetDict's train split).

    Documents that have no name are named after their file and line (or row of a Parquet file). A
    line or row that is not UTF-8, is not a JSON object or has no string `text` is yielded as
    `Broken`, in its place; blank lines of JSON Lines are skipped.

    Raises:
        GatehouseError: nothing there can be read or, while reading, a file is damaged or a table
            has no column `text`.
    """
    if path.is_file():
        return _reader(path)(path, path.name, path.stem)
    if any((path / marker).is_file() for marker in SAVED_DATASET_MARKERS):
        return _read_saved(path)
    files = _files(path)
    if not files:
        raise GatehouseError(f"there is no {FORMATS_TEXT} file under {path}: name another folder")
    return _read_files(path, files)


def _files(folder: Path) -> list[Path]:
    files = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in READERS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return sorted(files, key=lambda path: path.relative_to(folder).as_posix())


def _read_files(folder: Path, files: list[Path]) -> Iterator[Document | Broken]:
    for path in files:
        relative = path.relative_to(folder)
        domain = relative.parts[0] if len(relative.parts) > 1 else path.stem
        yield from _reader(path)(path, relative.as_posix(), domain)


def _reader(path: Path) -> Callable[[Path, str, str], Iterator[Document | Broken]]:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise GatehouseError(f"cannot read {path}: give a {FORMATS_TEXT} file, or a folder of them")
    return reader


def _read_text(path: Path, name: str, domain: str) -> Iterator[Document | Broken]:
    for line, text in _lines(path):
        yield text if isinstance(text, Broken) else Document(f"{name}:{line}", domain, text)


def _read_json_lines(path: Path, name: str, domain: str) -> Iterator[Document | Broken]:
    for line, text in _lines(path):
        if isinstance(text, Broken):
            yield text
        elif text.strip():
            yield _parse_document(text, f"{path} line {line}", f"{name}:{line}", domain)


def _parse_document(text: str, where: str, name: str, domain: str) -> Document | Broken:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", "") or type(error).__name__
        return Broken(f"{where} is not JSON ({reason})", "mend or remove the line")
    if not isinstance(row, dict):
        return Broken(f"{where} is not a JSON object", 'write {"text": "…"}')
    return document_of(row, where, name, domain)


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
        remedy = "re-encode the file, for example with `iconv -f latin1 -t utf-8`"
        return Broken(f"{where} is not UTF-8", remedy)


def _read_parquet(path: Path, name: str, domain: str) -> Iterator[Document | Broken]:
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            columns = known_columns(str(path), file.schema_arrow.names)
            batches = file.iter_batches(batch_size=PARQUET_BATCH_ROWS, columns=columns)
            for index, row in enumerate(row for batch in batches for row in _rows(batch)):
                where = f"{path} row {index}"
                if row is None:
                    yield Broken(f"{where} is not UTF-8", "write the file again with UTF-8 text")
                else:
                    yield document_of(row, where, f"{name}:{index}", domain)
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


def _read_saved(path: Path) -> Iterator[Document | Broken]:
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
    rows = found.select_columns(known_columns(str(path), found.column_names))
    for index, row in enumerate(rows):
        yield document_of(row, f"{path} row {index}", f"{path.name}:{index}", path.name)


READERS: dict[str, Callable[[Path, str, str], Iterator[Document | Broken]]] = {
    ".txt": _read_text,
    ".jsonl": _read_json_lines,
    ".parquet": _read_parquet,
}
