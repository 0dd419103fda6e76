"""Buckets as file systems of fsspec: which package has one, and how it asks and tries again."""

import logging
from typing import Any

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import quoted
from gatehouse.warehouse.storage.faults import CREDENTIALS

EXTRA = "bucket"
"""The optional dependencies that have s3fs."""

BLOCK = 8 << 20
"""Bytes that are read at once where parts of a file are asked for."""

TALKATIVE = ("azure.identity", "azure.core")
"""Loggers of clients: what matters of what they say, the command says in a line."""

TRIES = 3
"""How often a request is made that a connection fails in."""

OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {
        "default_block_size": BLOCK,
        "config_kwargs": {
            "retries": {"max_attempts": TRIES, "mode": "standard"},
            "connect_timeout": 5,
            "read_timeout": 60,
        },
    }
}
OPTIONS["s3a"] = OPTIONS["s3"]
"""Protocol -> options of its file system, beside what the environment says."""


def file_system(protocol: str) -> Any:
    """Return a protocol's file system, by what the environment says.

    Raises:
        GatehouseError: its package is not installed, or cannot be set up.
    """
    import fsspec

    try:
        kind = fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        needed = f"pip install 'gatehouse[{EXTRA}]'" if protocol in OPTIONS else "install it"
        raise GatehouseError(
            f"{protocol}:// needs a package that is not installed ({error}): {needed}"
        ) from error
    except ValueError as error:
        raise GatehouseError(
            f"{protocol}:// is no protocol that fsspec knows: write s3://bucket/prefix"
        ) from error
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        found = kind(
            skip_instance_cache=True, use_listings_cache=False, **OPTIONS.get(protocol, {})
        )
    except ValueError as error:  # of adlfs, without an account
        raise GatehouseError(
            f"{protocol}:// cannot be set up ({quoted(error)}): {CREDENTIALS}"
        ) from error
    if protocol in OPTIONS:
        found.retries = TRIES
    return found


def reading_at_once(protocol: str) -> dict[str, Any]:
    """Return the arguments by which a protocol's file system reads a file in one request."""
    # s3fs would ask for a file's size first, to read a large one in parts
    return {"max_concurrency": 1} if protocol in OPTIONS else {}
