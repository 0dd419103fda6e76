"""A bucket does what a folder does: whole files or none, and one line for what goes wrong."""

import os
import socket

import fsspec
import pytest

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.storage import file_systems, patience
from gatehouse.warehouse.storage.addresses import ObjectPath, checked_address
from gatehouse.warehouse.storage.bucket import Bucket
from gatehouse.warehouse.storage.storage import Entry
from tests.object_store import BreakingLine, give_up_quickly


def put(bucket, place, content):
    bucket.publish(place, lambda path: path.write_bytes(content))


def test_what_was_published_is_read_listed_and_removed(bucket, root):
    folder = root / "events" / "run_id=a"
    first, second = folder / "shard-00000.parquet", folder / "shard-00001.parquet"
    put(bucket, first, b"one")
    put(bucket, second, b"second")
    put(bucket, root / "events" / "run_id=ab" / "x", b"")
    assert bucket.read(first) == b"one"
    with bucket.on_disk(second) as path:
        assert path.read_bytes() == b"second"
    assert (bucket.size(first), bucket.size(folder), bucket.size(root / "none")) == (3, None, None)
    assert bucket.sizes(folder, [first.name, "other"]) == {first.name: 3, "other": None}
    assert bucket.is_there(folder)
    assert not bucket.is_there(root / "events" / "run_id=")
    assert {each.name for each in bucket.entries(folder)} == {first.name, second.name}
    assert bucket.entries(root) == [Entry("events", True)]
    assert bucket.entries(root / "none") == []
    bucket.remove(first)
    bucket.remove(first)
    bucket.remove_folder(folder)
    bucket.remove_folder(folder)
    with pytest.raises(FileNotFoundError):
        bucket.read(second)
    assert bucket.entries(root / "events") == [Entry("run_id=ab", True)]


def test_marks_change_with_what_is_written(bucket, root):
    place = root / "runs" / "one"
    before = bucket.marks(place)
    put(bucket, place, b"1")
    after = bucket.marks(place)
    put(bucket, place, b"2")
    marks = [each[str(place)] for each in (before, after, bucket.marks(place))]
    assert len({repr(each) for each in marks}) == 3
    assert all(each[-1] for each in marks)


def test_what_fails_while_it_is_made_is_not_published(bucket, root):
    place = root / "half"

    def write(path):
        path.write_bytes(b"half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        bucket.publish(place, write)
    assert bucket.size(place) is None


@pytest.mark.parametrize(
    ("protocol", "says"), [("gs", "gs://"), ("nonsense", "no protocol that fsspec knows")]
)
def test_a_missing_package_or_protocol_is_named(protocol, says):
    place = ObjectPath(f"{protocol}://bucket/lake")
    with pytest.raises(GatehouseError, match=says):
        Bucket(place).read(place / "x")


def test_the_extra_is_named_where_s3fs_is_missing(bucket, root, monkeypatch):
    monkeypatch.setitem(file_systems.OPTIONS, "s3", {})

    def missing(*_, **__):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    with pytest.raises(GatehouseError, match=r"pip install 'gatehouse\[bucket\]'"):
        bucket.read(root / "x")


def test_other_protocols_can_be_read_and_are_refused_by_name_for_writing():
    place = ObjectPath("memory://bucket/lake/x")
    fsspec.filesystem("memory").pipe("/bucket/lake/x", b"there")
    found = Bucket(place)
    assert found.read(place) == b"there"
    assert found.sizes(place.parent, ["x"]) == {"x": 5}
    assert found.holder(place) is None
    assert found.marks(place)[str(place)][-1] == 0
    with pytest.raises(GatehouseError, match="memory:// can be read, but not written"):
        put(found, place, b"other")


def test_a_missing_bucket_is_no_empty_lake(bucket):
    place = ObjectPath("s3://no-such-bucket/lake")
    for ask in (bucket.read, bucket.entries, bucket.size, lambda each: put(bucket, each, b"")):
        with pytest.raises(GatehouseError, match="there is no bucket s3://no-such-bucket"):
            ask(place)


def test_no_server_is_one_line_after_few_tries(root, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(GatehouseError, match="nothing answers for s3://bucket") as caught:
        Bucket(root).entries(root)
    assert "\n" not in str(caught.value)


def test_a_server_that_is_silent_is_one_line_in_time(root, monkeypatch):
    """Once a bucket has answered, a request has all the time that its client gives it."""
    monkeypatch.setattr(patience, "SECONDS_TO_ANSWER", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        for ask in (Bucket(root).read, Bucket(root).entries):
            with pytest.raises(GatehouseError, match=r"s3://bucket has not answered within 0\.1 s"):
                ask(root)


def test_no_credentials_is_one_line(root, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(GatehouseError, match="no credentials for s3://bucket"):
        Bucket(root).entries(root)


def test_a_denial_is_one_line_without_credentials(object_server, root):
    put(Bucket(root), root / "x", b"")
    with object_server.denying():
        denied = Bucket(root)
        for ask in (denied.read, denied.entries, lambda place: put(denied, place, b"")):
            with pytest.raises(GatehouseError, match="s3://bucket denies access") as caught:
                ask(root / "x")
            assert os.environ["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)
            assert os.environ["AWS_ACCESS_KEY_ID"] not in str(caught.value)


def test_a_connection_that_drops_in_the_middle_of_a_file_gives_no_half(
    object_server, bucket, root, monkeypatch
):
    give_up_quickly(monkeypatch)
    place = root / "large"
    put(bucket, place, bytes(3_000_000))
    line = BreakingLine(object_server.port, back=1_000_000)
    monkeypatch.setenv("AWS_ENDPOINT_URL", line.address)
    try:
        broken = Bucket(root)
        with (
            pytest.raises(GatehouseError, match=r"broke off|nothing answers"),
            broken.on_disk(place),
        ):
            raise AssertionError("half a file was given")
    finally:
        line.close()


@pytest.mark.parametrize("size", [1_000_000, 11_000_000], ids=["whole", "in parts"])
def test_a_connection_that_drops_in_the_middle_of_an_upload_leaves_no_half(
    object_server, bucket, root, monkeypatch, size
):
    give_up_quickly(monkeypatch)
    content, place = bytes(size), root / "large"
    assert bucket.size(place) is None
    # parts are of 50 MB otherwise
    monkeypatch.setattr("s3fs.core.calculate_chunksize", lambda size, chunksize=None: 5 << 20)
    for cuts in (None, 1):
        line = BreakingLine(object_server.port, there=size - 500_000, cuts=cuts)
        monkeypatch.setenv("AWS_ENDPOINT_URL", line.address)
        broken = Bucket(root)
        try:
            if cuts:
                put(broken, place, content)
            else:
                with pytest.raises(GatehouseError, match=r"broke off|nothing answers") as caught:
                    put(broken, place, content)
                assert "\n" not in str(caught.value)
                assert bucket.size(place) is None
        finally:
            line.close()
        assert line.cuts > 0
    assert bucket.read(place) == content


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket",
        "s3://bucket/",
        "s3://bucket/../other",
        "s3://bucket/./a",
        "s3://bucket//a",
        "s3://bucket/a*",
        "s3://bucket/a'b",
        "s3://buck et/a",
        "file:///tmp/lake",
        "s3://key:password@bucket/lake",
        "s3://bucket/lake?token=x",
        "/a/folder",
    ],
)
def test_addresses_that_no_lake_can_have_are_refused(text):
    with pytest.raises(GatehouseError) as caught:
        checked_address(text)
    assert "password" not in str(caught.value)


def test_an_address_is_joined_and_taken_apart_as_a_path():
    place = checked_address("s3://bucket/home/lake/") / "runs" / "run_id=a"
    assert str(place) == "s3://bucket/home/lake/runs/run_id=a"
    assert (place.bucket, place.key) == ("bucket", "bucket/home/lake/runs/run_id=a")
    assert (place.name, place.parent.name, place.match("run_id=*")) == ("run_id=a", "runs", True)
    assert place.joinpath("b.txt").stem == "b"
