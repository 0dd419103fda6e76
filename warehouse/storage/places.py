"""Which storage a place is in."""

import os
from functools import cache
from pathlib import Path
from typing import Any

from gatehouse.warehouse.storage.addresses import ObjectPath, Place
from gatehouse.warehouse.storage.bucket import Bucket
from gatehouse.warehouse.storage.folder import Folder
from gatehouse.warehouse.storage.storage import Storage

FOLDER = Folder()

REACHED_BY = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)
"""Variables that a client reads when it is made: in a notebook they may be set right afterwards."""


def storage_of(place: Place) -> Storage[Any]:
    """Return the storage that a place is in."""
    return FOLDER if isinstance(place, Path) else bucket_of(place)


def bucket_of(place: ObjectPath) -> Bucket:
    """Return the bucket of a place; one object serves all places in it."""
    reached = tuple(os.environ.get(name, "") for name in REACHED_BY)
    return _bucket(f"{place.protocol}://{place.bucket}", reached)


@cache
def _bucket(address: str, reached: tuple[str, ...]) -> Bucket:
    return Bucket(ObjectPath(address))


def register_bucket(
    connection: Any, root: ObjectPath, *, confined: bool, snapshot: bool = False
) -> None:
    """Let a DuckDB connection read the lake at `root`, as `ObjectFiles` has it.

    Raises:
        GatehouseError: the bucket's package is not installed.
    """
    # imports fsspec, which a lake in a folder does without
    from gatehouse.warehouse.storage.object_files import ObjectFiles

    files = ObjectFiles(bucket_of(root).files, root, confined=confined, snapshot=snapshot)
    connection.register_filesystem(files)
