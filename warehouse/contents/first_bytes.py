"""What a file is, as its first bytes show."""

import codecs
from collections.abc import Mapping
from typing import TypeVar

Found = TypeVar("Found")

PARQUET, ARROW_FILE, ARROW_STREAM = "Parquet", "an Arrow file", "an Arrow stream"
TABLES = {b"PAR1\x15": PARQUET, b"ARROW1\0": ARROW_FILE, b"\xff\xff\xff\xff": ARROW_STREAM}

PACKINGS = {
    b"\x1f\x8b\x08": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\0": "xz",
    **{b"BZh%d1AY&SY" % level: "bzip2" for level in range(1, 10)},
    **{b"BZh%d\x17rE8P\x90" % level: "bzip2" for level in range(1, 10)},  # of nothing
    # a parallel zstd writes frames of its own between, which readers pass over
    **{bytes([0x50 + number]) + b"\x2a\x4d\x18": "zstd" for number in range(16)},
}

UNPACK = "unpack it, and name a file or folder of what it holds"
EXPORT = "export its text, one document a file or a row"
PICTURE = "name a file of text"
OFFICE = "a document of an office program, or an e-book"
GIT_LFS = b"version https://git-lfs"
"""How a file begins that stands for a large one in a clone that Git LFS has not filled."""

UNREADABLE = {
    b"PK\x03\x04": ("a zip archive", UNPACK),
    b"PK\x05\x06": ("an empty zip archive", "name a file of text"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", UNPACK),
    b"Rar!\x1a\x07": ("a rar archive", UNPACK),
    b"\x04\x22\x4d\x18": ("compressed with lz4", UNPACK),
    b"\xff\x06\0\0sNaPpY": ("compressed with snappy", UNPACK),
    b"\x5d\0\0": ("compressed with lzma", UNPACK),
    b"\x1f\x9d": ("compressed with compress (.Z)", UNPACK),
    b"%PDF-": ("a PDF", EXPORT),
    b"%!PS-Adobe": ("PostScript", EXPORT),
    b"WARC/1.": ("a web archive (WARC)", EXPORT),
    b"{\\rtf": (OFFICE, EXPORT),
    b"\xd0\xcf\x11\xe0": (OFFICE, EXPORT),
    b"\x89PNG": ("a picture (PNG)", PICTURE),
    b"\xff\xd8\xff": ("a picture (JPEG)", PICTURE),
    b"GIF87a": ("a picture (GIF)", PICTURE),
    b"GIF89a": ("a picture (GIF)", PICTURE),
    b"SQLite format 3\0": ("an SQLite database", EXPORT),
    b"\x89HDF": ("an HDF5 file", EXPORT),
    b"\x93NUMPY": ("a NumPy array", EXPORT),
    b"Obj\x01": ("an Avro file", "write it as Parquet"),
    b"FEA1\0": ("a Feather file of version 1", "write it as Parquet"),
    b"\x7fELF": ("a program", "name a file of text"),
    GIT_LFS: (
        "a pointer of Git LFS in the file's place",
        "run `git lfs pull` in its clone",
    ),
}
"""The first bytes of what cannot be read: what it is, and the way out."""

NO_TEXT = ("full of control characters, as no text is", "name a file of text in UTF-8")
"""What a file is that has no known beginning and holds no text."""

PARTS_OF_A_DOCUMENT = (b"[Content_Types].xml", b"mimetypeapplication/")
"""Names within a zip archive that is a document: of Microsoft's Office; of others, or a book."""

MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
"""Byte order marks; the longer ones first, because UTF-16's begins one of UTF-32."""

CONTROLS = bytes(code for code in range(32) if code not in b"\b\t\n\v\f\r\x1a\x1b")
"""Control characters that no text is made of; NUL is one."""
FEWEST_CONTROLS = 4
"""Fewer of them may stand at the beginning of any text."""
MANY_CONTROLS = 32
"""Fewer of them may stand in any text of a row, where they can be written on purpose."""


def packing_of(head: bytes) -> str | None:
    """Return the compression of a file that begins so, None for one that is not compressed."""
    return _beginning_with(PACKINGS, head)


def table_of(head: bytes) -> str | None:
    """Return PARQUET, ARROW_FILE or ARROW_STREAM for a file that begins so, else None."""
    return _beginning_with(TABLES, head)


def encoding_of(head: bytes) -> str | None:
    """Return UTF-16 or UTF-32 for a text that begins with its byte order mark, else None."""
    return _beginning_with(MARKS, head)


def unreadable(head: bytes) -> tuple[str, str] | None:
    """Return what a file that begins so is, and the way out, unless it may be text in UTF-8."""
    if head.startswith(b"PK\x03\x04") and any(part in head for part in PARTS_OF_A_DOCUMENT):
        return OFFICE, EXPORT
    if known := _beginning_with(UNREADABLE, head):
        return known
    if head[257:262] == b"ustar":
        return "a tar archive", UNPACK
    if head[4:9] == b"\0\0\0\0{":  # behind the length of its header, in 8 bytes
        return "a file of weights (safetensors)", "name a file of text"
    if packing_of(head):
        return "compressed over and over", UNPACK
    if wide := _wide_encoding(head):
        remedy = f"write it in UTF-8, with `iconv -f {wide} -t UTF-8`"
        return f"text in {wide} without a byte order mark", remedy
    controls = _controls(head)
    if controls >= FEWEST_CONTROLS and controls * 10 > len(head):
        return NO_TEXT
    # text in an older encoding has no control characters, and any compression has all of them
    return NO_TEXT if controls * 200 > len(head) and not _is_utf8(head) else None


def _beginning_with(known: Mapping[bytes, Found], head: bytes) -> Found | None:
    return next((found for first, found in known.items() if head.startswith(first)), None)


def is_binary(content: bytes) -> bool:
    """Return whether so much of a text is NULs and other control characters that it is none."""
    controls = _controls(content)
    return controls >= MANY_CONTROLS and controls * 10 > len(content)


def _controls(content: bytes) -> int:
    return len(content) - len(content.translate(None, CONTROLS))


def _is_utf8(head: bytes) -> bool:
    try:
        # a character may be cut at the head's end
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _wide_encoding(head: bytes) -> str | None:
    """Return UTF-16 or UTF-32 with the order of its bytes, if all characters look like that."""
    whole = head[: len(head) // 4 * 4]
    if not whole:
        return None
    first, second, third, fourth = (whole[place::4] for place in range(4))
    if not any(fourth) and max(third) <= 0x10 and any(first):
        return "UTF-32LE"
    if not any(first) and max(second) <= 0x10 and any(fourth):
        return "UTF-32BE"
    even, odd = whole[0::2], whole[1::2]
    for name, high, low in (("UTF-16LE", odd, even), ("UTF-16BE", even, odd)):
        if _are_high_bytes(high, low):
            return name
    return None if _is_utf8(head) else _eastern_encoding(whole)


def _eastern_encoding(whole: bytes) -> str | None:
    """Return the order of UTF-16's bytes in which a text of Chinese characters can be read."""
    found = {}
    for name in ("UTF-16LE", "UTF-16BE"):
        # the last character may be cut in two
        text = codecs.getincrementaldecoder(name)("replace").decode(whole)
        if all(each.isprintable() or each.isspace() for each in text) and "\ufffd" not in text:
            found[name] = sum(text.count(each) for each in " \n\u3001\u3002")
    best = max(found, key=lambda name: found[name], default=None)
    return best if best and found[best] else None


def _are_high_bytes(high: bytes, low: bytes) -> bool:
    """Return whether these are the high bytes of letters: small for all scripts but the East's."""
    small = len(high) - len(high.translate(None, bytes(range(32))))
    return 0 in high and small > 0.8 * len(high) and _controls(low) < 0.2 * len(low) and any(low)
