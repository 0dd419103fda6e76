"""One object as an open file that is only read, by as few requests as its size allows."""

import io
import threading
from collections import OrderedDict
from typing import Any

from gatehouse.warehouse.storage.addresses import ObjectPath
from gatehouse.warehouse.storage.faults import faults_of

WHOLE = 8 << 20
"""Bytes: a file of at most this size is read at once."""

AHEAD = 2 << 20
"""Bytes that are read at once of a larger one, where fewer are asked for: about as many as come in
the time that a request itself takes."""

KEPT = 128 << 20
"""Bytes of files that are kept, the latest first."""


class Contents:
    """Small objects that were read whole, known by their tags: many statements open the same."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, key: str, tag: str | None) -> bytes | None:
        """Return what an object held when it had this tag, if it is kept."""
        with self._guard:
            found = self._kept.get((key, tag or ""))
            if found is not None:
                self._kept.move_to_end((key, tag or ""))
            return found

    def keep(self, key: str, tag: str | None, content: bytes) -> None:
        """Keep what an object holds; without a tag nothing says when that is no more true."""
        if tag is None:
            return
        with self._guard:
            self._kept[key, tag] = content
            while sum(map(len, self._kept.values())) > KEPT:
                self._kept.popitem(last=False)


class ObjectFile(io.RawIOBase):
    """An object, as it was when it was listed.

    Args:
        files: the bucket, as fsspec has it.
        place: the object.
        size: its bytes.
        tag: what it had when it was listed, if anything.
        contents: where small ones are kept.
    """

    def __init__(
        self, files: Any, place: ObjectPath, size: int, tag: str | None, contents: Contents
    ) -> None:
        self._files = files
        self._place = place
        self._size = size
        self._tag = tag
        self._contents = contents
        self._at = 0
        self._start, self._block = 0, b""

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Return where the next `read` begins."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Let the next `read` begin elsewhere."""
        before = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, before + offset)
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, fewer only at the end.

        Raises:
            GatehouseError: the bucket cannot be asked, or the object is another one by now.
        """
        end = self._size if size is None or size < 0 else min(self._size, self._at + size)
        if end <= self._at:
            return b""
        if not self._start <= self._at <= end <= self._start + len(self._block):
            self._start, self._block = self._fetched(self._at, end)
        found = self._block[self._at - self._start : end - self._start]
        self._at = end
        return found

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer, as `read` does."""
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def _fetched(self, start: int, end: int) -> tuple[int, bytes]:
        """Return a part that has these bytes, and where it begins."""
        key = self._place.key
        if self._size > WHOLE:
            # a Parquet file is read from its end, where its footer is
            start = min(start, self._size - AHEAD) if end == self._size else start
            end = min(self._size, max(end, start + AHEAD))
        else:
            kept = self._contents.get(key, self._tag)
            if kept is not None:
                return 0, kept
            start, end = 0, self._size
        with faults_of(self._place):
            content: bytes = self._files.cat_file(key, start=start, end=end)
        if len(content) != end - start:
            raise OSError(f"{self._place} has become another file: run the same command again")
        if (start, end) == (0, self._size) and self._size <= WHOLE:
            self._contents.keep(key, self._tag, content)
        return start, content
