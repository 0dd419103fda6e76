"""An empty bucket for each test."""

import pytest

from gatehouse.warehouse.storage.addresses import ObjectPath
from gatehouse.warehouse.storage.bucket import Bucket
from tests.object_store import Server, use


@pytest.fixture
def root(object_server: Server, monkeypatch: pytest.MonkeyPatch) -> ObjectPath:
    """A place in an empty bucket."""
    use(object_server, monkeypatch)
    return ObjectPath("s3://bucket/home/lake")


@pytest.fixture
def bucket(root: ObjectPath) -> Bucket:
    """The bucket of `root`."""
    return Bucket(root)
