"""A bucket of Azure's holds locks and files as one of S3 does; by Azurite, where that is installed.

npm install --prefix build/azurite azurite && pip install adlfs
"""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen
from uuid import uuid4

import pytest

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.storage import patience
from gatehouse.warehouse.storage.addresses import ObjectPath
from gatehouse.warehouse.storage.bucket import Bucket
from gatehouse.warehouse.storage.conditions import conditional
from gatehouse.warehouse.storage.object_files import ObjectFiles
from tests.object_store import free_port
from tests.warehouse.storage.test_bucket import (  # noqa: F401 - the same tests of this bucket
    test_marks_change_with_what_is_written,
    test_what_fails_while_it_is_made_is_not_published,
    test_what_was_published_is_read_listed_and_removed,
)
from tests.warehouse.storage.test_leases import (  # noqa: F401 - the same tests of this bucket
    test_a_killed_process_of_this_machine_holds_nothing,
    test_a_lease_that_is_lost_during_an_upload_does_not_count_as_published,
    test_a_process_of_another_machine_holds_its_lock_until_that_is_stale,
    test_a_renewed_lease_is_kept,
    test_one_holds_it_and_names_itself,
    test_who_lost_a_lease_publishes_and_removes_nothing,
)

adlfs = pytest.importorskip("adlfs")

AZURITE = Path(__file__).parents[3] / "build" / "azurite" / "node_modules" / ".bin" / "azurite-blob"
KNOWN_TO_ALL = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
"""The key of Azurite's only account, which Microsoft publishes."""


@pytest.fixture(scope="module")
def azurite() -> Iterator[str]:
    """What connects to a server on loopback."""
    program = shutil.which("azurite-blob") or (str(AZURITE) if AZURITE.exists() else None)
    if program is None:
        pytest.skip("without Azurite")
    port = free_port()
    words = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence"]
    words += ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    server = subprocess.Popen([program, *words], stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}/devstoreaccount1"
    try:
        while not _answers(address):
            assert server.poll() is None
            time.sleep(0.1)
        yield (
            "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
            f"AccountKey={KNOWN_TO_ALL};BlobEndpoint={address};"
        )
    finally:
        server.terminate()
        server.wait()


def _answers(address: str) -> bool:
    try:
        urlopen(address)
    except HTTPError:
        return True
    except OSError:
        return False
    return True


@pytest.fixture
def root(azurite: str, monkeypatch: pytest.MonkeyPatch) -> ObjectPath:
    """A place in an empty bucket."""
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite)
    files = adlfs.AzureBlobFileSystem(connection_string=azurite, skip_instance_cache=True)
    name = f"bucket-{uuid4().hex}"
    files.mkdir(name)
    return ObjectPath(f"abfs://{name}/home/lake")


@pytest.fixture
def bucket(root: ObjectPath) -> Bucket:
    """The bucket of `root`."""
    return Bucket(root)


def test_an_object_is_made_once_and_replaced_and_removed_as_it_was_seen(bucket, lock):
    objects = conditional(lock, bucket.files)
    first = objects.create(lock, b"1")
    assert first and objects.create(lock, b"2") is None
    second = objects.replace(lock, b"3", first)
    assert second and objects.replace(lock, b"4", first) is None
    objects.delete(lock, first)
    found = objects.read(lock)
    assert found and (found.content, found.tag) == (b"3", second) and 0 <= found.age < 60
    objects.delete(lock, second)
    assert objects.read(lock) is None
    assert objects.replace(lock, b"5", second) is None


def test_what_goes_wrong_is_one_line(root, azurite, monkeypatch):
    def take(address: str) -> None:
        place = ObjectPath(address)
        with Bucket(place).exclusive(place / "locks" / "x", str):
            raise AssertionError("it was taken")

    with pytest.raises(GatehouseError, match="there is no bucket abfs://no-such-bucket"):
        take("abfs://no-such-bucket/lake")
    nowhere = ObjectPath("abfs://no-such-bucket/lake")
    for ask in (Lake, Bucket(nowhere).entries, find_events):
        with pytest.raises(GatehouseError, match="there is no bucket abfs://no-such-bucket"):
            ask(nowhere)
    wrong = azurite.replace("Eby8", "Eby9")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", wrong)
    with pytest.raises(GatehouseError, match=f"abfs://{root.bucket} denies access") as caught:
        take(str(root))
    assert "Eby9" not in str(caught.value)
    monkeypatch.setattr(patience, "SECONDS_TO_ANSWER", 0.5)
    nobody = f"BlobEndpoint=http://127.0.0.1:{free_port()}/devstoreaccount1;"
    unreachable = azurite.partition("BlobEndpoint=")[0] + nobody
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", unreachable)
    for ask in (Lake, Bucket(root).entries, find_events):
        with pytest.raises(GatehouseError, match=f"abfs://{root.bucket} has not answered within"):
            ask(root)
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING")
    with pytest.raises(GatehouseError, match=r"abfs:// cannot be set up .*: set them"):
        Lake(root)


def find_events(root: ObjectPath) -> list[str]:
    """Look for events as SQL does."""
    files = ObjectFiles(Bucket(root).files, root, confined=True)
    return files.glob(str(root / "events" / "*"))
