"""One Parquet file of samples: row group k is shard k, so a shard is read on its own.

Samples are written while they stream in: memory holds the shard that is being read and the one
before.
"""

import filecmp
import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gatehouse.ingest.numbering import split_of
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import write_atomically
from gatehouse.warehouse.plain_text import counted
from gatehouse.warehouse.records import (
    SAMPLE_COLUMNS,
    SPLITS,
    Sample,
    document_hash,
    sample_line,
)

SHARD_SAMPLES = 512
"""The most samples in a row group of the samples file, and so in a shard of the lake."""

SHARD_CHARACTERS = 8_000_000
"""Characters that close a shard early, so that a shard of long texts does not fill the memory.

A change of this number or the one above needs a new lake version: a run id must keep its shards."""

COLUMNS = pa.schema(
    [
        ("sample_id", pa.int64()),
        ("name", pa.string()),
        ("domain", pa.string()),
        ("document", pa.string()),
        ("split", pa.string()),
        # 512 long texts can pass the 2 GB that 32-bit offsets reach
        ("text", pa.large_string()),
        ("text_sha256", pa.string()),
        ("document_sha256", pa.string()),
        ("is_chat", pa.bool_()),
    ]
)
"""One row per sample, in the order of `sample_id`."""

WRITING: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": ["domain", "document", "split", "document_sha256"],
    # the least and the greatest of one text would be two copies of it
    "write_statistics": [name for name in COLUMNS.names if name != "text"],
    "write_page_checksum": True,
}


def write_samples(
    path: Path, samples: Iterator[Sample], progress: Callable[[int], None] | None
) -> None:
    """Write samples as they come, and call `progress` with their number after every shard."""
    done = 0
    with pq.ParquetWriter(path, COLUMNS, **WRITING) as writer:
        while shard := list(_of_one_shard(samples)):
            rows = [vars(sample) for sample in shard]
            writer.write_table(pa.Table.from_pylist(rows, schema=COLUMNS))
            done += len(shard)
            if progress is not None:
                progress(done)


def _of_one_shard(samples: Iterator[Sample]) -> Iterator[Sample]:
    characters = 0
    for sample in islice(samples, SHARD_SAMPLES):
        yield sample
        characters += len(sample.text)
        if characters >= SHARD_CHARACTERS:
            return


def shard_count(path: Path) -> int:
    """Return the number of shards of a samples file.

    Raises:
        GatehouseError: the file is missing or damaged.
    """
    return _metadata(path).num_row_groups


def read_shard(path: Path, shard: int) -> list[Sample]:
    """Read the samples of one shard, at most SHARD_SAMPLES, and nothing else of the file.

    Raises:
        GatehouseError: the file is missing or damaged, or a text is not the one of the hash beside
            it.
        IndexError: there is no such shard.
    """
    shards = shard_count(path)
    if not 0 <= shard < shards:
        raise IndexError(f"{path} has {counted(shards, 'shard')}, and no shard {shard}")
    (samples,) = _read(path, [shard])
    return samples


def _read(path: Path, shards: Iterable[int]) -> Iterator[list[Sample]]:
    """Yield the samples of each shard, once they are found to be those of their hashes."""
    for table in _tables(path, shards):
        samples = [Sample(**row) for row in table.to_pylist()]
        del table
        if not all(_is_as_hashed(sample) for sample in samples):
            raise _damaged(path)
        # Arrow would keep twice the size of a long text, which nobody reads as a table again
        pa.default_memory_pool().release_unused()
        yield samples


def _is_as_hashed(sample: Sample) -> bool:
    text_sha256 = hashlib.sha256(sample.text.encode()).hexdigest()
    dealt_by = document_hash(sample.document, text_sha256)
    found = sample.text_sha256, sample.document_sha256, sample.split
    return found == (text_sha256, dealt_by, split_of(dealt_by))


def describe_shard(path: Path, shard: int) -> pa.Table:
    """Return what is known of the samples of one shard but their texts: SAMPLE_COLUMNS.

    Raises:
        GatehouseError: the file is missing or damaged.
    """
    (table,) = _tables(path, [shard], SAMPLE_COLUMNS)
    return table


def write_splits(path: Path) -> None:
    """Write one file per split beside a samples file; one with the same bytes is kept.

    Raises:
        GatehouseError: the samples are damaged, or the folder cannot be written.
    """
    for split in SPLITS:
        staged = path.with_name(f".{split}.tmp")
        write_atomically(staged, partial(_copy, path, split))
        put_in_place(staged, path.with_name(f"{split}.parquet"))


def put_in_place(staged: Path, path: Path) -> None:
    """Move a staged file to its path, unless a file with the same bytes is there; it is gone then.

    Raises:
        GatehouseError: the folder cannot be written.
    """
    try:
        if not (path.is_file() and filecmp.cmp(staged, path, shallow=False)):
            write_atomically(path, staged.replace)
    finally:
        with suppress(OSError):
            staged.unlink()


def _copy(path: Path, split: str, target: Path) -> None:
    with pq.ParquetWriter(target, COLUMNS, **WRITING) as writer:
        for samples in _tables(path, range(shard_count(path))):
            writer.write_table(samples.filter(pc.field("split") == split))


def distinct_texts(path: Path) -> int:
    """Return the number of different texts, by their hashes.

    Raises:
        GatehouseError: the file is missing or damaged.
    """
    return int(pc.count_distinct(_column(path, "text_sha256")).as_py())


def holds_chats(path: Path) -> bool:
    """Return whether any of the samples is a chat.

    Raises:
        GatehouseError: the file is missing or damaged.
    """
    # an earlier Gatehouse took every chat as a plain text
    if "is_chat" not in _metadata(path).schema.names:
        return False
    return bool(pc.any(_column(path, "is_chat")).as_py())


def fingerprint_of(path: Path) -> str:
    """Return the SHA-256 of every sample's name, domain, document and text, computed again.

    Raises:
        GatehouseError: the file is missing or damaged.
    """
    found = hashlib.sha256()
    for samples in _read(path, range(shard_count(path))):
        for each in samples:
            found.update(sample_line(each.name, each.domain, each.document, each.text_sha256))
    return found.hexdigest()


def is_whole(path: Path, num_samples: int, fingerprint: str) -> bool:
    """Return whether the file is there and holds this many samples, with this fingerprint."""
    try:
        return _metadata(path).num_rows == num_samples and fingerprint_of(path) == fingerprint
    except GatehouseError:
        return False


def _column(path: Path, name: str) -> pa.ChunkedArray:
    try:
        return pq.read_table(path, columns=[name])[name]
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path) from error


def _metadata(path: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(path)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path) from error


def _tables(
    path: Path, shards: Iterable[int], columns: list[str] | None = None
) -> Iterator[pa.Table]:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for shard in shards:
                yield _complete(file.read_row_group(shard, columns), columns)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path) from error


def _complete(table: pa.Table, columns: list[str] | None) -> pa.Table:
    """Return a shard as it is written now: an earlier Gatehouse took every chat as a plain text."""
    if columns is not None or "is_chat" in table.column_names:
        return table
    return table.append_column(COLUMNS.field("is_chat"), pa.array([False] * table.num_rows))


def _damaged(path: Path) -> GatehouseError:
    return GatehouseError(
        f"{path} is damaged or missing: delete its folder and prepare the dataset again"
    )
