"""From documents to samples: what is empty is left out, the rest numbered, split and hashed."""

import hashlib
import json
from collections.abc import Iterator
from itertools import islice

from ingest.rows import Document
from warehouse.records import SPLITS, Sample


class Numbering:
    """Numbers a corpus once, and keeps count: read the attributes when `samples` has ended.

    `met` counts the texts that were numbered, wanted or not, `skipped_empty` those that hold
    white space alone, `fingerprint` hashes name, domain and text hash of the samples in order.
    """

    def __init__(self, documents: Iterator[Document]) -> None:
        self.documents = documents
        self.met = 0
        self.skipped_empty = 0
        self.fingerprint = hashlib.sha256()

    def samples(self, num_samples: int, first_sample: int) -> Iterator[Sample]:
        """Yield samples `first_sample` … `first_sample + num_samples - 1`, as far as there are."""
        wanted = islice(self._texts(), first_sample + num_samples)
        for sample_id, document in enumerate(wanted):
            self.met = sample_id + 1
            if sample_id >= first_sample:
                yield self._sample(sample_id, document)

    def _texts(self) -> Iterator[Document]:
        for document in self.documents:
            if document.text.strip():
                yield document
            else:
                self.skipped_empty += 1

    def _sample(self, sample_id: int, document: Document) -> Sample:
        name, domain, text = map(_storable, document)
        digest = hashlib.sha256(text.encode()).hexdigest()
        self.fingerprint.update(json.dumps([name, domain, digest]).encode() + b"\n")
        return Sample(sample_id, name, domain, split_of(digest), text, digest)


def split_of(text_sha256: str) -> str:
    """Return the split that a text's hash falls into, by the shares of SPLITS."""
    *splits, last = SPLITS
    point = int(text_sha256[:13], 16) / 16**13
    for split in splits:
        point -= SPLITS[split]
        if point < 0:
            return split
    return last


def _storable(text: str) -> str:
    """Replace lone surrogates, which a Python string may hold and UTF-8 may not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
