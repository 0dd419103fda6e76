"""What a file holds: unpacked, and in UTF-8 where it is text, or named for what it is."""

import bz2
import codecs
import gzip
import io
import lzma
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from gatehouse.warehouse.contents.first_bytes import encoding_of, packing_of, table_of, unreadable
from gatehouse.warehouse.errors import GatehouseError

HEAD_BYTES = 65_536
BLOCK_BYTES = 1 << 18
PACKED_TIMES = 3
"""Compressions one within the other that are unpacked, at most."""

UNPACKING: dict[str, Callable[[Any], Any]] = {
    "gzip": lambda raw: gzip.GzipFile(fileobj=raw),
    "zstd": lambda raw: pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd"),
    "xz": lzma.LZMAFile,
    "bzip2": bz2.BZ2File,
}
DAMAGE = (EOFError, zlib.error, lzma.LZMAError, OSError, pa.ArrowException)


@dataclass(frozen=True)
class Contents:
    """An open file: `stream` is what it holds, unpacked and in UTF-8 where it is text.

    `where` names it in messages, `head` is what the stream begins with, `table` is PARQUET,
    ARROW_FILE, ARROW_STREAM or None, and `unreadable` says what else it is and the way out.
    """

    where: str
    stream: IO[bytes]
    head: bytes
    table: str | None
    unreadable: tuple[str, str] | None
    file: Path | None

    def seekable(self) -> Any:
        """Return a path or file that can be read anywhere; what was packed is unpacked to disk."""
        if self.file is not None:
            return self.file
        # without a name, so it is gone with the process; closed with the stream's readers
        spooled = tempfile.TemporaryFile()  # noqa: SIM115
        while block := self.stream.read(1 << 20):
            spooled.write(block)
        spooled.seek(0)
        return spooled


@contextmanager
def opened(path: Path, stream: IO[bytes] | None = None) -> Iterator[Contents]:
    """Open a file, or a stream that can be read only once, whatever it is packed with.

    Args:
        path: the file, or what messages call the stream.
        stream: what to read in the file's place.

    Raises:
        GatehouseError: it cannot be read; while it is read, what it is packed with is damaged.
    """
    with ExitStack() as closing:
        plain = path if stream is None and path.is_file() else None
        try:
            raw: Any = stream or closing.enter_context(path.open("rb", buffering=0))
        except OSError as error:
            raise cannot_read(path, error) from error
        known = _Stream(raw.readinto, path, None)
        for _ in range(PACKED_TIMES):
            packing = packing_of(known.head)
            if packing is None:
                break
            plain = None
            unpacked = UNPACKING[packing](io.BufferedReader(known, BLOCK_BYTES))
            known = _Stream(closing.enter_context(unpacked).readinto, path, packing)
        yield _contents(path, known, plain)


def _contents(path: Path, stream: "_Stream", plain: Path | None) -> Contents:
    head, refused = stream.head, None
    table = table_of(head)
    if table is None:
        if encoding := encoding_of(head):
            stream = _Stream(_Decoded(stream, path, encoding).readinto, path, None)
            head = stream.head
        refused = unreadable(head)
        if refused is None and b"\r" in head and b"\n" not in head:
            stream = _Stream(_WithLineFeeds(stream).readinto, path, None)
            head = stream.head
    return Contents(str(path), io.BufferedReader(stream, BLOCK_BYTES), head, table, refused, plain)


class _Stream(io.RawIOBase):
    """Bytes whose beginning is known, and whose damage is an error that names the file."""

    def __init__(
        self, readinto: Callable[[Any], int | None], path: Path, packing: str | None
    ) -> None:
        self._readinto, self._path, self._packing = readinto, path, packing
        self.head = b""
        while len(self.head) < HEAD_BYTES and (more := self._next(HEAD_BYTES - len(self.head))):
            self.head += more
        self._given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._given < len(self.head):
            block = self.head[self._given : self._given + len(buffer)]
            self._given += len(block)
        else:
            block = self._next(min(len(buffer), BLOCK_BYTES))
        buffer[: len(block)] = block
        return len(block)

    def _next(self, size: int) -> bytes:
        block = bytearray(size)
        try:
            return bytes(block[: self._readinto(block) or 0])
        except DAMAGE as error:
            if self._packing is None:
                raise cannot_read(self._path, error) from error
            what, way_out = f"cut short or damaged {self._packing}", "copy or download it again"
            if "too much memory" in str(error):
                what = "packed by zstd with more memory than is usual"
                way_out = "unpack it with `zstd -d --long=31` and name the file that this writes"
            raise GatehouseError(f"{self._path} is {what}: {way_out}") from error


class _WithLineFeeds:
    """Text whose lines end with a carriage return alone, as on the first Macs, with line feeds."""

    def __init__(self, stream: io.RawIOBase) -> None:
        self._stream = stream
        self._after_return = False

    def readinto(self, buffer: Any) -> int:
        block = self._stream.read(len(buffer)) or b""
        # where others follow after all, a line feed may be cut from its return
        whole = block[1:] if self._after_return and block[:1] == b"\n" else block
        self._after_return = block[-1:] == b"\r"
        if block and not whole:
            return self.readinto(buffer)
        whole = whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        buffer[: len(whole)] = whole
        return len(whole)


class _Decoded:
    """Text in another encoding of Unicode, as UTF-8."""

    def __init__(self, stream: io.RawIOBase, path: Path, encoding: str) -> None:
        self._stream, self._path, self._encoding = stream, path, encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._ready = b""
        self._ended = False

    def readinto(self, buffer: Any) -> int:
        while not self._ready and not self._ended:
            block = self._stream.read(HEAD_BYTES) or b""
            self._ended = not block
            try:
                self._ready = self._decoder.decode(block, final=self._ended).encode()
            except UnicodeError as error:
                raise GatehouseError(
                    f"{self._path} is damaged {self._encoding}: copy it again, or write it in UTF-8"
                ) from error
        block, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(block)] = block
        return len(block)


def cannot_read(path: Path, error: BaseException) -> GatehouseError:
    """Return the line on a file that the system does not let be read."""
    reason = getattr(error, "strerror", None) or str(error)
    return GatehouseError(f"cannot read {path}: {reason}; check the file")
