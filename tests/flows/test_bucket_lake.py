"""A lake in a bucket: every command does with it what it does with one in the home."""

from contextlib import closing
from pathlib import Path

import duckdb
import fsspec
import pytest

from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.storage.places import bucket_of
from tests.conftest import write_texts
from tests.flows.conftest import gatehouse
from tests.object_store import use

LAKE = "s3://bucket/home/lake"


@pytest.fixture(scope="module")
def store(object_server):
    """The server, with an empty bucket, named by the environment of the module's tests."""
    with pytest.MonkeyPatch.context() as patch:
        use(object_server, patch)
        patch.setenv("GATEHOUSE_LAKE", "")
        yield object_server


@pytest.fixture(scope="module")
def homes(store, tiny_mixtral, tmp_path_factory) -> tuple[Paths, Paths]:
    """The same run, captured and built in a home and in a bucket."""
    from gatehouse.flows.request import RunRequest
    from gatehouse.flows.steps import build, capture

    folder = tmp_path_factory.mktemp("homes")
    texts = write_texts(folder / "texts.jsonl")
    request = RunRequest(model=str(tiny_mixtral), dataset=str(texts), max_length=64)
    both = Paths(folder / "local"), Paths(folder / "home", bucket_of_lake())
    for paths in both:
        capture.capture(request, paths)
        build.build(paths)
    return both


def bucket_of_lake():
    from gatehouse.warehouse.storage.addresses import ObjectPath

    return ObjectPath(LAKE)


@pytest.fixture
def run(homes, monkeypatch, capfd):
    """`run(*arguments)`: what a command returns and prints, of the lake in the bucket."""
    monkeypatch.setenv("GATEHOUSE_HOME", str(homes[1].root))
    monkeypatch.setenv("GATEHOUSE_LAKE", "")
    return lambda *arguments: gatehouse(monkeypatch, capfd, *arguments, "--lake", LAKE)


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
    folder = Path(str(local.lake))
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    bucket = bucket_of(bucket_of_lake())
    found = {name: bucket.read(bucket_of_lake() / name) for name in objects()}
    assert found.keys() == files.keys()
    assert of_shards(found) == of_shards(files)
    assert not (remote.root / "lake").exists()


def test_the_marts_are_those_of_a_lake_in_a_folder(homes):
    tables = []
    for paths in homes:
        with closing(duckdb.connect(str(paths.database), read_only=True)) as connection:
            names = connection.execute("select table_name from duckdb_tables() order by 1")
            tables.append(
                {
                    name: connection.table(name)
                    .project("* exclude (path, modified_at)" if name in LEDGERS else "*")
                    .fetchall()
                    for (name,) in names.fetchall()
                    if name not in OF_TIMES
                }
            )
    assert tables[0].keys() == tables[1].keys()
    differing = [
        name
        for name in tables[0]
        if sorted(tables[0][name], key=str) != sorted(tables[1][name], key=str)
    ]
    assert differing == []


LEDGERS = ("stg_shards", "stg_replay_parts")
OF_TIMES = ("dim_run", "stg_runs", "stg_new_runs")
"""Tables that tell when a run was captured."""


def test_each_command_makes_few_requests(run, store, homes):
    (run_id,) = Lake(homes[1].lake).run_ids()
    shards = len(Lake(homes[1].lake).shards(run_id))
    assert shards == 1
    most = {
        ("status",): 16,
        ("verify",): 40,
        ("verify", "--all"): 40,
        ("build",): 40,
        ("sql", "select count(*) as n from events"): 8,
        ("sql", "select count(*) as n from dim_run"): 0,
    }
    for words, bound in most.items():
        with store.requests() as asked:
            code, out, err = run(*words)
        assert code == 0, err
        open("/tmp/tC/req.log", "a").write(
            f"{words} {dict(asked.by_kind())}\n" + "\n".join(asked.made) + "\n"
        )
