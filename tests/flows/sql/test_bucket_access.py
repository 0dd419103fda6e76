"""What `gatehouse sql` reads of a lake in a bucket, and what it refuses there."""

import io
import sys
from pathlib import Path

import duckdb
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gatehouse.flows.cli import app
from gatehouse.warehouse.notebook import connect
from tests.object_store import use

LAKE = "s3://bucket/home/lake"


def parquet(**columns: list) -> bytes:
    """The content of a Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def world(object_server, tmp_path_factory):
    """A home whose lake is in a bucket, beside other objects, another bucket and files."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "secret.parquet").write_bytes(parquet(word=["swordfish"]))
    (folder / "home").mkdir()
    with duckdb.connect(str(folder / "home" / "gatehouse.duckdb")) as writer:
        writer.execute("create table dim_run as select 'a' as run_id")
    with pytest.MonkeyPatch.context() as patch:
        use(object_server, patch, "other-bucket")
        use(object_server, patch)
        patch.setenv("GATEHOUSE_HOME", str(folder / "home"))
        patch.setenv("GATEHOUSE_LAKE", LAKE)
        files = fsspec.filesystem("s3", skip_instance_cache=True)
        for run in ("a", "b"):
            files.pipe(
                f"bucket/home/lake/events/run_id={run}/shard-00000.parquet",
                parquet(token_id=[1, 2, 3]),
            )
        for place in ("bucket/home/x.parquet", "bucket/home/lakeside/x.parquet", "other-bucket/x"):
            files.pipe(place, parquet(word=["swordfish"]))
        patch.chdir(folder)
        yield folder


@pytest.fixture
def ask(world, monkeypatch, capfd):
    """`ask(*arguments)`: (exit code, output, error) of `gatehouse sql`."""

    def ask(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gatehouse", "sql", *arguments])
        with pytest.raises(SystemExit) as ended:
            app.main()
        return int(ended.value.code or 0), *capfd.readouterr()

    return ask


EVENTS = "'s3://bucket/home/lake/events/run_id=*/shard-*.parquet'"
ROWS = f"read_parquet({EVENTS})"


def test_the_lake_is_read_by_few_requests(ask, object_server):
    query = f"from {ROWS} select run_id, sum(token_id) as n group by all order by 1"
    code, out, err = ask(query, "--format", "csv")
    assert (code, out.split()) == (0, ['"run_id","n"', '"a",6', '"b",6']), err
    with object_server.requests() as asked:
        one = f"from {ROWS} select count(*) as n where run_id = 'b' and token_id > 1"
        assert ask(one, "--format", "csv")[1].split() == ['"n"', "2"]
    # bound twice; the first file has the columns, the run's own the rows
    assert asked.by_kind() == {"LIST": 2, "GET": 2}
    with object_server.requests() as asked:
        listing = f"from read_blob({EVENTS}) select count(*) as n, min(size) > 0 as s"
        assert ask(listing, "--format", "csv")[1].split() == ['"n","s"', "2,true"]
    assert asked.by_kind() == {"LIST": 2}


OUTSIDE = [
    "from read_parquet('s3://bucket/home/x.parquet')",
    "from read_parquet('s3://bucket/home/*.parquet')",
    "from read_parquet('s3://bucket/home/lakeside/x.parquet')",
    "from read_parquet('s3://bucket/home/lake/../x.parquet')",
    "from read_parquet('s3://bucket/home/lake/./../x.parquet')",
    "from read_parquet('s3://bucket/home/lake/events/../../x.parquet')",
    "from read_parquet('s3://other-bucket/x')",
    "from read_parquet('s3a://bucket/home/x.parquet')",
    "from read_parquet('secret.parquet')",
    "from read_text('/etc/hostname')",
    "from glob('s3://bucket/*')",
    "from glob('s3://bucket/home/lake*/*')",
    "from 's3://bucket/home/x.parquet'",
]


@pytest.mark.parametrize("query", OUTSIDE)
def test_what_is_not_the_lake_is_refused(ask, query):
    code, out, err = ask(query)
    assert code == 2 and "swordfish" not in out + err and out == ""
    assert len(err.splitlines()) == 1 and "Traceback" not in err


WRITING = [
    f"copy (select 1) to '{LAKE}/x.csv'",
    f"copy (select 1) to '{LAKE}/events/run_id=a/shard-00000.parquet' (format parquet)",
    f"copy (select 1 as a, 2 as b) to '{LAKE}' (format parquet, partition_by (a), overwrite true)",
    "copy (select 1 as a, 2 as b) to 's3://bucket/home' (format parquet, partition_by (a))",
    f"export database '{LAKE}'",
    "copy (select 1) to 's3://bucket/elsewhere.csv'",
]


@pytest.mark.parametrize("access", [[], ["--external-access"]], ids=["confined", "external"])
@pytest.mark.parametrize("statement", WRITING)
def test_nothing_is_written_into_a_bucket(ask, statement, access):
    files = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
    before = files.find("bucket", detail=True)
    code, _, err = ask(statement, *access)
    assert code == 2 and len(err.splitlines()) == 1 and "Traceback" not in err
    after = files.find("bucket", detail=True)
    assert {key: each["ETag"] for key, each in after.items()} == {
        key: each["ETag"] for key, each in before.items()
    }


def test_external_access_reads_other_objects_and_files(ask, world):
    for name in ("s3://bucket/home/x.parquet", "s3://other-bucket/x", "secret.parquet"):
        assert "swordfish" in ask(f"from read_parquet('{name}')", "--external-access")[1]
    made = Path(world / "made.csv")
    assert ask(f"copy (from {ROWS}) to '{made}'", "--external-access")[0] == 0
    assert len(made.read_text().splitlines()) == 7


def test_a_notebook_reads_the_lake(world):
    with connect(external_access=False) as connection:
        rows = connection.execute(f"from {ROWS} select count(*)").fetchall()
        assert rows == [(6,)]
        assert connection.execute("select getvariable('gatehouse_lake')").fetchall() == [(LAKE,)]


def test_a_bucket_that_denies_is_one_line_in_sql(ask, object_server):
    with object_server.denying():
        code, _, err = ask(f"from {ROWS} select count(*)")
    assert code == 2 and "s3://bucket denies access" in err and len(err.splitlines()) == 1


def test_a_bucket_that_is_not_there_is_one_line_in_sql(ask):
    lake = "s3://no-such-bucket/lake"
    query = f"from read_parquet('{lake}/events/run_id=*/shard-*.parquet')"
    code, _, err = ask(query, "--lake", lake)
    assert code == 2 and len(err.splitlines()) == 1
    assert "there is no bucket s3://no-such-bucket: make it" in err
