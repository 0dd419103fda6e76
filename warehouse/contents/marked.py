"""A stream with marks for what is not UTF-8: Arrow's CSV loses a broken row that is not."""

import codecs
from contextlib import suppress
from typing import IO, cast

import pyarrow as pa
import pyarrow.compute as pc

END_BYTES = 64
NO_UTF8 = "\U0010ffff"
"""Stands for what is no UTF-8; Unicode itself gives it no meaning."""
_MARK = "gatehouse.no_utf8"
codecs.register_error(_MARK, lambda error: (NO_UTF8, cast(UnicodeDecodeError, error).end))


class Marked:
    """A stream in UTF-8 that knows the bytes which it `end`s with.

    If it is not UTF-8, `is_utf8` is false, and NO_UTF8 is where it is not.
    """

    closed = False

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._ready = b""
        self.end = b""
        self.is_utf8 = True

    def read(self, size: int) -> bytes:
        block = self._ready
        while not block and (more := self._stream.read(size)):
            block = self._checked(more, final=False)
        block = block or self._checked(b"", final=True)
        # a mark is longer than what it stands for
        block, self._ready = block[:size], block[size:]
        self.end = (self.end + block[-END_BYTES:])[-END_BYTES:]
        return block

    def _checked(self, block: bytes, *, final: bool) -> bytes:
        pending = self._decoder.getstate()[0]
        with suppress(UnicodeDecodeError):
            return self._decoder.decode(block, final).encode()
        self.is_utf8 = False
        self._decoder = codecs.getincrementaldecoder("utf-8")(_MARK)
        return self._decoder.decode(pending + block, final).encode()


def as_it_was(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch with bytes that are not UTF-8 in the place of NO_UTF8."""
    mark = NO_UTF8.encode()
    columns = [
        pc.replace_substring(column.cast(pa.binary()), mark, b"\xff").view(pa.string())
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)
