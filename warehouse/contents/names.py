"""What the name of a file says of how it is packed."""

from pathlib import PurePath

PACKED = (".gz", ".gzip", ".zst", ".zstd", ".bz2", ".xz")


def unpacked_name(path: PurePath) -> str:
    """Return a file's name without the suffix of what it is packed with."""
    return path.stem if path.suffix.lower() in PACKED else path.name
