"""Prepared datasets: the samples of a run, numbered, split and fingerprinted in one Parquet file.

    prepared/SLUG-FINGERPRINT/samples.parquet                    see samples_file.py
    prepared/SLUG-FINGERPRINT/{train,validation,test}.parquet    with `create_splits`
    prepared/SLUG-FINGERPRINT/prepared.json                      hub datasets: what was asked for
    prepared/.SLUG.lock                                          while a process writes

Each appears whole or not at all. One process at a time prepares a dataset, and removes
what a killed one left behind.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from gatehouse.ingest.corpora import Corpus, is_on_hub, read_corpus
from gatehouse.ingest.fields import Fields
from gatehouse.ingest.files import ANY_FIELD
from gatehouse.ingest.numbering import Numbering
from gatehouse.ingest.one_writer import one_writer
from gatehouse.ingest.prepared import (
    Prepared,
    broken_texts,
    find,
    folder_name,
    kept,
    remember,
)
from gatehouse.ingest.samples_file import (
    SHARD_SAMPLES,
    describe_shard,
    distinct_texts,
    holds_chats,
    put_in_place,
    read_shard,
    shard_count,
    write_samples,
    write_splits,
)
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import write_atomically
from gatehouse.warehouse.plain_text import counted
from gatehouse.warehouse.records import slug

__all__ = [
    "SHARD_SAMPLES",
    "AtTheEnd",
    "Prepared",
    "describe_shard",
    "holds_chats",
    "kept",
    "prepare",
    "read_shard",
    "shard_count",
]


class AtTheEnd(GatehouseError):
    """A corpus holds samples, but none from the first one on that was asked for.

    Args:
        dataset: as the user named it, or the resolved path.
        met: how many samples it holds.
        first_sample: the first one that was asked for.
    """

    def __init__(self, dataset: str, met: int, first_sample: int) -> None:
        self.held = f"{dataset} holds {counted(met, 'sample')}"
        super().__init__(
            f"{self.held}, none from {first_sample:,} on: choose a first sample below {met:,}"
        )


def prepare(
    dataset: str,
    *,
    num_samples: int = 10_000,
    first_sample: int = 0,
    folder: Path,
    create_splits: bool = False,
    skip_broken: bool = False,
    lines: bool = False,
    fields: Fields = ANY_FIELD,
    progress: Callable[[int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Prepared:
    """Write samples `first_sample` … `first_sample + num_samples - 1` of a corpus under `folder`.

    Empty texts are left out before samples are numbered; a shorter corpus gives what it has. A
    hub dataset that was prepared before in the same way is reused without the network, if its
    file still has the fingerprint that stands beside it; anything else is read again. A samples
    file with the same bytes is kept, any other that is in its place is replaced.

    Args:
        dataset: a name or path, see `corpora.read_corpus`.
        create_splits: also write train, validation and test files beside the samples.
        skip_broken: leave out, and count, texts that cannot be read as documents.
        lines: each line of a `.txt` file is a document.
        fields: the fields of rows that were asked for.
        progress: called with the number of samples written so far.
        say: called with a sentence if another process has to finish first.

    Raises:
        AtTheEnd: the corpus ends before `first_sample`.
        GatehouseError: a number is out of range, the corpus cannot be read or holds no text, a
            text is broken, or the folder cannot be written; no file is left half-written.
    """
    if num_samples < 1:
        raise GatehouseError(f"num_samples is {num_samples}: ask for at least 1")
    if first_sample < 0:
        raise GatehouseError(f"first_sample is {first_sample}: count from 0")
    on_hub = is_on_hub(dataset)
    # a local corpus is opened at once, one on the hub only if it was not prepared before
    reading: dict[str, Any] = {"lines": lines, "fields": fields}
    corpus = None if on_hub else read_corpus(dataset, **reading)
    with one_writer(folder, slug(corpus.name if corpus else dataset), say):
        asked = (dataset, num_samples, first_sample, reading)
        found = find(folder, *asked, skip_broken=skip_broken) if on_hub else None
        if found:
            prepared = found
        else:
            corpus = corpus or read_corpus(dataset, **reading)
            numbering = Numbering(corpus.documents, skip_broken=skip_broken)
            prepared = _write(corpus, numbering, num_samples, first_sample, folder, progress)
            if on_hub:
                exhausted = prepared.num_samples < num_samples
                remember(prepared, reading, corpus.revision, exhausted=exhausted)
        if create_splits:
            write_splits(prepared.path)
    return prepared


def _write(
    corpus: Corpus,
    numbering: Numbering,
    num_samples: int,
    first_sample: int,
    folder: Path,
    progress: Callable[[int], None] | None,
) -> Prepared:
    samples = numbering.samples(num_samples, first_sample)
    # the fingerprint, and with it the file's name, is known only after the last sample
    staged = folder / f".{slug(corpus.name)}.{os.getpid()}.parquet"
    try:
        write_atomically(staged, lambda path: write_samples(path, samples, progress))
        written = numbering.met - first_sample
        if written < 1:
            raise _no_samples(corpus.name, numbering, first_sample)
        fingerprint = numbering.fingerprint.hexdigest()
        path = folder / folder_name(corpus.name, fingerprint, first_sample) / "samples.parquet"
        put_in_place(staged, path)
    finally:
        with suppress(OSError):
            staged.unlink()
    return Prepared(
        path,
        corpus.name,
        fingerprint,
        written,
        first_sample,
        written - distinct_texts(path),
        numbering.skipped_empty,
        numbering.skipped_broken,
        numbering.first_broken,
        corpus.listing.opened_text if corpus.listing else None,
        corpus.listing.left_out_text if corpus.listing and corpus.listing.left_out else None,
    )


def _no_samples(dataset: str, numbering: Numbering, first_sample: int) -> GatehouseError:
    met = numbering.met
    if met == 0 and numbering.skipped_broken:
        return GatehouseError(
            f"{dataset} holds no text that can be read, only "
            f"{broken_texts(numbering.skipped_broken, numbering.first_broken)}; mend it or name "
            "another dataset"
        )
    if met == 0:
        return GatehouseError(f"{dataset} holds no text: name another dataset")
    return AtTheEnd(dataset, met, first_sample)
