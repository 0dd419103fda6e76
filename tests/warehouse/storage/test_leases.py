"""A lock in a bucket: held by one, renewed, taken over when it is stale, and lost for certain."""

import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.storage import leases
from gatehouse.warehouse.storage.bucket import Bucket
from gatehouse.warehouse.storage.conditions import Found, S3Objects
from gatehouse.warehouse.storage.holders import introduction

HOLD = """
import sys, time
from gatehouse.warehouse.storage.addresses import ObjectPath
from gatehouse.warehouse.storage.bucket import Bucket
place = ObjectPath(sys.argv[1])
with Bucket(place).exclusive(place, str):
    print("held", flush=True)
    time.sleep(600)
"""


def refusal(other):
    return f"held by {other}"


def is_free(lock):
    with Bucket(lock).exclusive(lock, refusal):
        return True


def test_one_holds_it_and_names_itself(bucket, lock):
    assert bucket.holder(lock) is None
    with bucket.exclusive(lock, refusal):
        assert bucket.holder(lock).startswith("process ")
        with pytest.raises(GatehouseError, match="held by process"):
            is_free(lock)
    assert bucket.size(lock) is None
    assert is_free(lock)


def test_who_lost_a_lease_publishes_and_removes_nothing(bucket, lock, root, monkeypatch):
    place = root / "runs" / "x"
    bucket.publish(place, lambda path: path.write_bytes(b"first"))
    monkeypatch.setattr(leases, "SECONDS", -1.0)
    monkeypatch.setattr(leases, "SECONDS_TRUSTED", -1.0)
    with ExitStack() as other, bucket.exclusive(lock, refusal):
        other.enter_context(Bucket(lock).exclusive(lock, refusal))
        for act in (
            lambda: bucket.publish(place, lambda path: path.write_bytes(b"second")),
            lambda: bucket.remove(place),
            lambda: bucket.remove_folder(root / "runs"),
        ):
            with pytest.raises(GatehouseError, match="was taken over by process"):
                act()
    assert bucket.read(place) == b"first"


def test_a_lease_that_is_lost_during_an_upload_does_not_count_as_published(
    bucket, lock, root, monkeypatch
):
    upload = bucket.files.put_file
    with ExitStack() as other, bucket.exclusive(lock, refusal):

        def slow(*words):
            monkeypatch.setattr(leases, "SECONDS", -1.0)
            monkeypatch.setattr(leases, "SECONDS_TRUSTED", -1.0)
            other.enter_context(Bucket(lock).exclusive(lock, refusal))
            upload(*words)

        monkeypatch.setattr(bucket.files, "put_file", slow)
        with pytest.raises(GatehouseError, match="was taken over"):
            bucket.publish(root / "events", lambda path: path.write_bytes(b""))


def test_a_renewed_lease_is_kept(bucket, lock, root, monkeypatch):
    monkeypatch.setattr(leases, "SECONDS_TRUSTED", -1.0)
    with bucket.exclusive(lock, refusal):
        for number in range(3):
            bucket.publish(root / str(number), lambda path: path.write_bytes(b""))
        # before and after each upload
        assert json.loads(bucket.read(lock))["renewals"] == 6
    assert bucket.size(lock) is None


def test_a_killed_process_of_this_machine_holds_nothing(bucket, lock):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    assert f"process {process.pid} " in bucket.holder(lock)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert bucket.size(lock) is not None
    assert bucket.holder(lock) is None
    assert is_free(lock)


def test_a_process_of_another_machine_holds_its_lock_until_that_is_stale(bucket, lock, monkeypatch):
    content = introduction() | {"machine": "another", "process": 2**22 + 1}
    bucket.publish(lock, lambda path: path.write_text(json.dumps(content)))
    with pytest.raises(GatehouseError, match="held by"):
        is_free(lock)
    monkeypatch.setattr(leases, "SECONDS", -1.0)
    assert is_free(lock)


def test_an_answer_that_was_lost_costs_no_lock(bucket, lock, monkeypatch):
    put = S3Objects._put

    def without_answer(*words, **condition):
        put(*words, **condition)

    with monkeypatch.context() as patch:
        patch.setattr(S3Objects, "_put", without_answer)
        patch.setattr(leases, "SECONDS_TRUSTED", -1.0)
        with bucket.exclusive(lock, refusal):
            bucket._check_leases()
            assert bucket.holder(lock) is not None
    assert bucket.size(lock) is None


def test_a_bucket_that_heeds_no_conditions_is_refused(bucket, lock, monkeypatch):
    put = S3Objects._put
    monkeypatch.setattr(
        S3Objects, "_put", lambda self, place, content, **condition: put(self, place, content)
    )
    with pytest.raises(GatehouseError, match="whatever the condition"):
        is_free(lock)


def test_of_many_that_take_over_at_once_one_succeeds(bucket, lock, monkeypatch):
    content = introduction() | {"machine": "another"}
    bucket.publish(lock, lambda path: path.write_text(json.dumps(content)))
    age = S3Objects.read

    def stale_once(self, place):
        found = age(self, place)
        # the first one only, as if it alone were old
        old = found is not None and json.loads(found.content)["machine"] == "another"
        return Found(found.content, found.tag, 1e6) if old else found

    monkeypatch.setattr(S3Objects, "read", stale_once)

    def take(held):
        try:
            held.enter_context(Bucket(lock).exclusive(lock, refusal))
        except GatehouseError:
            return 0
        return 1

    with ExitStack() as held, ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(take, [held] * 4)) == 1
