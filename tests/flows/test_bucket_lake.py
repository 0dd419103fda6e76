"""A lake in a bucket: every command does with it what it does with one in the home."""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import duckdb
import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from distributed import LocalCluster

from gatehouse.flows.replay.answer import replay_parts
from gatehouse.flows.replay.request import ReplayRequest
from gatehouse.flows.replay.session import ReplaySession
from gatehouse.flows.request import Workers
from gatehouse.flows.steps import build
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.runs.shards import Shards
from gatehouse.warehouse.storage import leases
from gatehouse.warehouse.storage.addresses import ObjectPath, checked_address
from gatehouse.warehouse.storage.bucket import Bucket
from gatehouse.warehouse.storage.places import bucket_of
from tests.flows.conftest import gatehouse
from tests.ingest.traces.engine_files import Routed, plain_lists
from tests.object_store import BreakingLine, Requests, give_up_quickly, use

LAKE = "s3://bucket/home/lake"


@pytest.fixture(scope="module")
def store(object_server):
    """The server, with an empty bucket, named by the environment of the module's tests."""
    with pytest.MonkeyPatch.context() as patch:
        use(object_server, patch)
        patch.setenv("GATEHOUSE_LAKE", "")
        yield object_server


@pytest.fixture(scope="module")
def made(store, captured, tiny_mixtral, tmp_path_factory) -> tuple[Paths, dict[str, Requests]]:
    """The run of `captured` once more, in a bucket, and what its capture and its build asked."""
    from gatehouse.flows.request import RunRequest
    from gatehouse.flows.steps import capture

    texts = captured.parent / "texts.jsonl"
    request = RunRequest(model=str(tiny_mixtral), dataset=str(texts), max_length=128)
    paths = Paths(tmp_path_factory.mktemp("remote") / "home", bucket_of_lake())
    with store.requests() as of_capture:
        capture.capture(request, paths)
    with store.requests() as of_build:
        build.build(paths)
    return paths, {"capture": of_capture, "build": of_build}


@pytest.fixture(scope="module")
def homes(captured, made) -> tuple[Paths, Paths]:
    """The same run, captured and built in a home and in a bucket."""
    return Paths(captured), made[0]


def bucket_of_lake() -> ObjectPath:
    return checked_address(LAKE)


@pytest.fixture
def run(homes, monkeypatch, capfd):
    """`run(*arguments)`: what a command returns and prints, of the lake in the bucket."""
    monkeypatch.setenv("GATEHOUSE_HOME", "")
    monkeypatch.setenv("GATEHOUSE_LAKE", "")
    place = ("--home", homes[1].root, "--lake", LAKE)
    return lambda *arguments: gatehouse(monkeypatch, capfd, *arguments, *place)


def objects() -> dict[str, str]:
    """The objects of the lake, by name, and the tag of each."""
    files = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
    found = files.find("bucket/home/lake", detail=True)
    return {key.removeprefix("bucket/home/lake/"): each["ETag"] for key, each in found.items()}


def of_shards(contents: dict[str, bytes]) -> dict[str, bytes]:
    """Those that are the same in every capture: records tell when it was."""
    return {
        name: content
        for name, content in contents.items()
        if name.partition("/")[0] in ("events", "samples", "layers", "vocabulary")
    }


def test_the_bucket_holds_what_the_folder_holds_and_the_home_no_lake(homes):
    local, remote = homes
    files, bucket = files_of(local), bucket_of(bucket_of_lake())
    found = {name: bucket.read(bucket_of_lake() / name) for name in objects()}
    assert found.keys() == files.keys()
    assert of_shards(found) == of_shards(files)
    assert not (remote.root / "lake").exists()


def files_of(paths: Paths) -> dict[str, bytes]:
    """The files of a lake in a home, by name."""
    folder = Path(str(paths.lake))
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_marts_are_those_of_a_lake_in_a_folder(homes):
    assert tables_that_differ(homes) == []


def tables_that_differ(homes: tuple[Paths, Paths]) -> list[str]:
    """The tables of two warehouses that are not alike, but for what tells of times and places."""
    tables = []
    for paths in homes:
        with closing(duckdb.connect(str(paths.database), read_only=True)) as connection:
            names = connection.execute("select table_name from duckdb_tables() order by 1")
            tables.append(
                {
                    name: connection.table(name)
                    .project(f"* exclude ({LEDGERS[name]})" if name in LEDGERS else "*")
                    .fetchall()
                    for (name,) in names.fetchall()
                    if name not in OF_TIMES
                }
            )
    assert tables[0].keys() == tables[1].keys()
    return [name for name in tables[0] if not alike(tables[0][name], tables[1][name])]


def alike(rows: list[tuple], others: list[tuple]) -> bool:
    """Whether rows are the same in some order; sums of floats depend on the order of threads."""

    def known(row: tuple) -> str:
        return str([f"{value:.6g}" if isinstance(value, float) else value for value in row])

    return len(rows) == len(others) and all(
        one == pytest.approx(other, rel=1e-9, nan_ok=True)
        if isinstance(one, float)
        else one == other
        for row, another in zip(sorted(rows, key=known), sorted(others, key=known))
        for one, other in zip(row, another)
    )


LEDGERS = {
    "stg_shards": "path, modified_at",
    "stg_replay_parts": "path, modified_at, bytes",
    "fct_run_trend": "started_at",
}
"""Which columns of tables tell of times and places: a replay's file holds its time."""
OF_TIMES = ("dim_run", "stg_runs", "stg_new_runs")
"""Tables that tell when a run was captured."""


def test_each_command_makes_few_requests(run, store, homes):
    lake = Lake(homes[1].lake)
    assert [len(lake.shards.recorded(run_id)) for run_id in lake.run_ids()] == [1]
    for words, most in REQUESTS.items():
        with store.requests() as asked:
            code, _, err = run(*words)
        assert code == 0, err
        made = asked.by_kind()
        assert made.total() <= most, (words, made, asked.made)


def test_a_capture_and_the_first_build_make_few_requests(made):
    found = made[1]
    # a lock is renewed from time to time
    asked = [each for each in found["capture"].made if "/locks/" not in each]
    # events, samples, record; the run twice, its layers, vocabulary and reading; the version
    assert sum(each.startswith("PUT ") for each in asked) == 9, asked
    assert len(asked) <= 44, asked
    assert found["build"].by_kind().total() <= 56, found["build"].made
    assert found["build"].by_kind()["PUT"] == 0


REQUESTS = {
    ("status",): 24,
    ("verify",): 64,
    ("verify", "--all"): 64,
    ("build",): 40,
    ("sql", "select count(*) from events"): 3,
    ("sql", "select count(*) from dim_run"): 0,
}
"""Commands, and how many requests they make of a lake with one run of one shard."""


def check_requests(command: str, asked: Requests) -> None:
    """Refuse a command that made more requests than the table says; renewals are not counted."""
    made = [each for each in asked.made if not each.startswith("PUT /bucket/locks")]
    assert len(made) <= BOUNDS[command], (command, asked.by_kind(), made)


BOUNDS = {
    "replay": 50,
    "import": 40,
    "export": 8,
    "build --workers": 150,
    "verify --repair": 220,
    "runs rm": 70,
}
"""Commands of the tests below, and how many requests they make."""


def test_status_and_verify_say_what_they_say_of_a_folder(run, homes, monkeypatch, capfd):
    run("verify")
    for words in (("status", "--format", "json"), ("verify", "--all", "--format", "json")):
        of_bucket = run(*words)
        monkeypatch.setenv("GATEHOUSE_LAKE", "")
        of_folder = gatehouse(monkeypatch, capfd, *words, "--home", homes[0].root)
        answers = [without_times(json.loads(out)) for _, out, _ in (of_folder, of_bucket)]
        assert answers[0] == answers[1]
    code, out, _ = run("verify")
    assert code == 0 and "not read again" in out
    assert run("build")[1].startswith("nothing new")


def without_times(answer: dict) -> dict:
    """An answer without what is another in each capture."""
    drop = ("started_at", "finished_at", "tokens_per_second", "seconds_left")
    runs = [{key: run[key] for key in run if key not in drop} for run in answer["runs"]]
    return answer | {"runs": runs, "home": ""}


KILLED = """
import os, signal, sys
from gatehouse.flows.cli import app
from gatehouse.warehouse.runs.shards import Shards
Shards.add = lambda *words: os.kill(os.getpid(), signal.SIGKILL)
sys.argv = ["gatehouse", *sys.argv[1:]]
app.main()
"""


def test_a_capture_killed_between_upload_and_record_goes_on_is_repaired_and_removed(
    store, tiny_mixtral, texts, tmp_path, monkeypatch, capfd
):
    root = checked_address("s3://bucket/killed")
    place = ["--lake", str(root), "--home", str(tmp_path / "home")]
    words = ["capture", "--model", str(tiny_mixtral), "--dataset", str(texts), *place]
    killed = subprocess.run([sys.executable, "-c", KILLED, *words], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    bucket, lake = bucket_of(root), Lake(root)
    left = [len(bucket.names(root / table)) for table in ("locks", "events", "shards")]
    assert left == [1, 1, 0]
    (run_id,) = lake.run_ids()
    # its process has ended on this machine: nobody has to wait for the lease to end
    assert lake.locks.writer(run_id) is None

    def run(*arguments: str) -> tuple[int, str, str]:
        return gatehouse(monkeypatch, capfd, *arguments)

    assert run(*words)[0] == 0
    assert lake.shards.finished(run_id) == {0}
    assert bucket.names(root / "locks") == set()
    with lake.locks.writing(run_id):
        code, _, err = run(*words)
        assert code == 2 and f"{run_id} is being written by process" in err

    events = lake.shard_file("events", run_id, 0)
    whole = bucket.read(events)
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    bucket.publish(events, lambda path: path.write_bytes(bytes(damaged)))
    bucket.publish(events.parent / "strange.txt", lambda path: path.write_text("what is this"))
    code, out, _ = run("verify", *place)
    assert code == 1
    assert "shard 0 has other bytes in `events`" in out and "strange.txt does not belong" in out
    with store.requests() as asked:
        code, out, err = run("verify", "--repair", *place)
    assert code == 0, (out, err)
    check_requests("verify --repair", asked)
    aside = tmp_path / "home" / "set-aside" / "events" / f"run_id={run_id}" / "strange.txt"
    assert aside.read_text() == "what is this"
    assert bucket.read(events) == whole

    with store.requests() as asked:
        code, out, _ = run("runs", "rm", run_id, "--yes", *place)
    check_requests("runs rm", asked)
    assert code == 0 and f"removed {run_id}" in out
    assert bucket.names(root) == {"VERSION"}


def test_a_capture_that_loses_its_lease_records_nothing(
    store, tiny_mixtral, texts, tmp_path, monkeypatch, capfd
):
    root = checked_address("s3://bucket/lost")
    record, others = Shards.add, ExitStack()

    def lose(self, run_id, row):
        monkeypatch.setattr(leases, "SECONDS", -1.0)
        monkeypatch.setattr(leases, "SECONDS_TRUSTED", -1.0)
        lock = root / "locks" / f"{run_id}.lock"
        others.enter_context(Bucket(lock).exclusive(lock, str))
        record(self, run_id, row)

    monkeypatch.setattr(Shards, "add", lose)
    words = ["--model", tiny_mixtral, "--dataset", texts, "--home", tmp_path / "home"]
    with others:
        code, _, err = gatehouse(monkeypatch, capfd, "capture", *words, "--lake", root)
    assert code == 2 and "was taken over by process" in err and len(err.splitlines()) <= 3
    (run_id,) = Lake(root).run_ids()
    assert Lake(root).shards.recorded(run_id) == {}
    assert Lake(root).run_record(run_id)["finished_at"] is None


def test_a_capture_whose_upload_breaks_off_says_so_and_lands_when_it_is_run_again(
    store, tiny_mixtral, texts, tmp_path, monkeypatch, capfd
):
    root, publish = checked_address("s3://bucket/broken-off"), Bucket.publish
    give_up_quickly(monkeypatch)
    line = BreakingLine(store.port)
    monkeypatch.setenv("AWS_ENDPOINT_URL", line.address)

    def broken_off(self, place, write):
        line.break_after(10_000 if "/events/" in str(place) else None)
        try:
            return publish(self, place, write)
        finally:
            line.break_after(None)

    words = ["capture", "--model", tiny_mixtral, "--dataset", texts, "--lake", root]
    words += ["--home", tmp_path / "home"]
    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "publish", broken_off)
        code, _, err = gatehouse(monkeypatch, capfd, *words)
    assert line.cuts > 0
    assert code == 2 and len(err.splitlines()) <= 3, err
    assert "broke off" in err and "run the same command again" in err
    lake = Lake(root)
    (run_id,) = lake.run_ids()
    assert not lake.storage.is_there(root / "events")
    assert lake.storage.names(root / "locks") == set()
    assert gatehouse(monkeypatch, capfd, *words)[0] == 0
    assert lake.shards.finished(run_id) == {0}
    line.close()


def test_two_processes_share_a_run_and_one_alone_is_refused(store):
    lake = Lake(checked_address("s3://bucket/shared"))
    with lake.locks.sharing("a-run"), lake.locks.sharing("a-run"):
        assert lake.locks.writer("a-run").count("process") == 2
        assert lake.locks.has_been_locked("a-run")
        with (
            pytest.raises(GatehouseError, match="is being written by process"),
            lake.locks.writing("a-run"),
        ):
            raise AssertionError("both wrote")
        with lake.locks.in_turn("a-run", 3):
            assert lake.storage.names(lake.root / "locks") >= {"a-run.00003.turn"}
    with (
        lake.locks.writing("a-run"),
        pytest.raises(GatehouseError, match="is being written by process"),
        lake.locks.sharing("a-run"),
    ):
        raise AssertionError("both wrote")
    assert not lake.locks.has_been_locked("a-run")


@pytest.mark.parametrize("command", [["status"], ["verify"], ["build"]], ids=str)
def test_a_bucket_that_denies_is_one_line(run, store, command):
    with store.denying():
        code, out, err = run(*command)
    assert (code, out) == (2, "")
    assert "s3://bucket denies access" in err and len(err.splitlines()) == 1
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
        assert os.environ[name] not in err


def test_what_is_replayed_imported_exported_and_built_on_workers_is_as_in_a_folder(
    store, homes, tiny_mixtral, tmp_path, monkeypatch, capfd
):
    local, remote = Paths(Path(shutil.copytree(homes[0].root, tmp_path / "local"))), homes[1]
    (run_id,) = Lake(remote.lake).run_ids()
    experts = np.random.default_rng(0).random((40, 3, 4)).argsort(-1)[..., :2]
    routed = Routed(np.arange(41) % 7, experts, np.full(experts.shape, 0.5), 2)
    trace, exported = plain_lists(routed, tmp_path), tmp_path / "events.parquet"
    exports = []
    for paths, address in ((local, ""), (remote, LAKE)):
        monkeypatch.setenv("GATEHOUSE_LAKE", address)
        request = ReplayRequest(num_samples=4, table=("tokens",))
        with store.requests() as asked, ReplaySession(run_id, request, paths) as session:
            replay_parts(session)
        check_requests("replay", asked)
        for words in (
            ("import", "jsonl", trace, "--model", tiny_mixtral, "--name", "imported"),
            ("export", run_id, "--to", "events", "--output", exported),
        ):
            with store.requests() as asked:
                code, out, err = gatehouse(monkeypatch, capfd, *words, "--home", paths.root)
            assert code == 0, (words, out, err)
            check_requests(words[0], asked)
        exports.append(pq.read_table(exported))
        exported.unlink()
    assert exports[0].num_rows > 0 and exports[0].equals(exports[1])
    assert any(name.startswith(f"replays/run_id={run_id}/part-") for name in objects())
    assert objects().keys() == files_of(local).keys()

    build.build(local)
    # workers read the bucket too, here one that is a thread of this process
    with (
        LocalCluster(1, processes=False, threads_per_worker=1, dashboard_address=None) as cluster,
        store.requests() as asked,
    ):
        build.build(remote, workers=Workers(scheduler=cluster.scheduler_address))
    check_requests("build --workers", asked)
    assert tables_that_differ((local, remote)) == []


def test_no_credentials_are_kept(homes):
    secrets = [os.environ[name] for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")]
    bucket, root = bucket_of(bucket_of_lake()), bucket_of_lake()
    kept = [bucket.read(root / name) for name in objects()]
    kept += [path.read_bytes() for path in homes[1].root.rglob("*") if path.is_file()]
    assert not any(secret.encode() in content for secret in secrets for content in kept)
