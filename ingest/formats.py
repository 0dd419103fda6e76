"""Which file holds what, by its name: its format, whatever it is packed with."""

from pathlib import PurePath

from gatehouse.warehouse.contents.names import unpacked_name

LINES_OF_JSON = (".jsonl", ".ndjson", ".json")
DELIMITED = (".csv", ".tsv")
ARROW = (".parquet", ".arrow")
ROWS = (*LINES_OF_JSON, *DELIMITED, *ARROW)
"""Formats that hold a text a row."""
PROSE = (".txt", ".md", ".rst", ".html", ".htm")
"""Formats that hold one document a file."""
READABLE = (*PROSE, *ROWS)
FORMATS_TEXT = ".txt, .md, .rst, .html, .jsonl, .ndjson, .json, .csv, .tsv, .parquet or .arrow"
"""The formats, for messages; each may also be packed: see `contents.names.PACKED`."""


def format_of(path: PurePath) -> str | None:
    """Return one of READABLE by the file's name without what it is packed with, else None."""
    suffix = PurePath(unpacked_name(path)).suffix.lower()
    return suffix if suffix in READABLE else None


def stem_of(path: PurePath) -> str:
    """Return the file's name without the suffixes of its format and of what it is packed with."""
    return PurePath(unpacked_name(path)).stem


def suffix_of(path: PurePath) -> str:
    """Return what a list of files calls the file's kind: `.jsonl.gz`, or `without a suffix`."""
    packed = path.name.lower()[len(unpacked_name(path)) :]
    return (PurePath(unpacked_name(path)).suffix.lower() + packed) or "without a suffix"
