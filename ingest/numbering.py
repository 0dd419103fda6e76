"""From documents to samples: empty and broken ones are left out, the rest numbered and hashed."""

import hashlib
from collections.abc import Iterator
from itertools import islice

from gatehouse.ingest.rows import Broken, Document
from gatehouse.warehouse.records import SPLITS, Sample, document_hash, sample_line


class Numbering:
    """Numbers a corpus once and keeps count; read the attributes after `samples` has ended.

    `met` counts the texts that were numbered, wanted or not, `skipped_empty` those that hold only
    white space, and `skipped_broken` the lines that are not documents, the first of which
    `first_broken` describes; `fingerprint` hashes name, domain, document and text hash of the
    samples in order.
    """

    def __init__(self, documents: Iterator[Document | Broken], *, skip_broken: bool) -> None:
        self.documents = documents
        self.skip_broken = skip_broken
        self.met = 0
        self.skipped_empty = 0
        self.skipped_broken = 0
        self.first_broken: str | None = None
        self.fingerprint = hashlib.sha256()

    def samples(self, num_samples: int, first_sample: int) -> Iterator[Sample]:
        """Yield samples `first_sample` … `first_sample + num_samples - 1`, or as many as there are.

        Raises:
            GatehouseError: a line is broken, unless `skip_broken` is set.
        """
        wanted = islice(self._texts(), first_sample + num_samples)
        for sample_id, document in enumerate(wanted):
            self.met = sample_id + 1
            if sample_id >= first_sample:
                yield self._sample(sample_id, document)

    def _texts(self) -> Iterator[Document]:
        for document in self.documents:
            if isinstance(document, Broken):
                if not self.skip_broken:
                    raise document.error
                self.skipped_broken += 1
                self.first_broken = self.first_broken or document.what
            elif document.text.strip():
                yield document
            else:
                self.skipped_empty += 1

    def _sample(self, sample_id: int, document: Document) -> Sample:
        name, domain, text = map(storable, document[:3])
        part_of = None if document.document is None else storable(document.document)
        digest = hashlib.sha256(text.encode()).hexdigest()
        self.fingerprint.update(sample_line(name, domain, part_of, digest))
        dealt_by = document_hash(part_of, digest)
        split = split_of(dealt_by)
        is_chat = document.is_chat
        return Sample(sample_id, name, domain, part_of, split, text, digest, dealt_by, is_chat)


def split_of(document_sha256: str) -> str:
    """Return the split that a document's hash falls into, by the shares of SPLITS.

    The first 13 hexadecimal digits, divided by 16¹³, are a point from 0 to 1; the splits take
    their shares of that range in their order.
    """
    *splits, last = SPLITS
    point = int(document_sha256[:13], 16) / 16**13
    for split in splits:
        point -= SPLITS[split]
        if point < 0:
            return split
    return last


def storable(text: str) -> str:
    """Replace lone surrogates, which a Python string may hold and UTF-8 may not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
