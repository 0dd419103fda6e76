"""One S3 server for the tests of a module, an empty bucket for each."""

from collections.abc import Iterator

import pytest

from gatehouse.warehouse.storage.addresses import ObjectPath
from gatehouse.warehouse.storage.bucket import Bucket
from tests.object_store import Server, use


@pytest.fixture(scope="module")
def object_server() -> Iterator[Server]:
    """An S3 server."""
    pytest.importorskip("moto")
    server = Server()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def root(object_server: Server, monkeypatch: pytest.MonkeyPatch) -> ObjectPath:
    """A place in an empty bucket."""
    use(object_server, monkeypatch)
    return ObjectPath("s3://bucket/home/lake")


@pytest.fixture
def bucket(root: ObjectPath) -> Bucket:
    """The bucket of `root`."""
    return Bucket(root)
