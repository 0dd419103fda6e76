"""What `gatehouse sql` refuses, as a user sees it, and what `--external-access` opens."""

import hashlib
import io
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gatehouse.flows.cli import app
from gatehouse.warehouse.paths import Paths


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A folder with a home that has quotes, brackets and stars in its name, and with files."""
    folder = tmp_path_factory.mktemp("world")
    paths = Paths(folder / "it's [a] *home é")
    (paths.lake / "events").mkdir(parents=True)
    pq.write_table(pa.table({"token_id": [3, 4]}), paths.lake / "events" / "shard-0.parquet")
    (folder / "secret.csv").write_text("word\nswordfish\n")
    pq.write_table(pa.table({"word": ["swordfish"]}), folder / "secret.parquet")
    (paths.lake / "link.csv").symlink_to(folder / "secret.csv")
    (paths.lake / "folder").symlink_to(folder)
    (paths.lake / "runs" / "run_id=run-a").mkdir(parents=True)
    (folder / "link.csv").symlink_to(paths.lake / "made.csv")
    (folder / "linked").symlink_to(paths.lake / "events")
    with duckdb.connect(str(folder / "other.duckdb")) as writer:
        writer.execute("create table words as select 'swordfish' as word")
    with duckdb.connect(str(paths.database)) as writer:
        writer.execute("create table dim_run as select 'a' as run_id")
    return folder


@pytest.fixture
def ask(world, monkeypatch, capfd):
    """`ask(*arguments, stdin)`: (exit code, output, error) of `gatehouse sql` in the folder."""
    monkeypatch.chdir(world)
    monkeypatch.setenv("GATEHOUSE_HOME", str(world / "it's [a] *home é"))

    def ask(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gatehouse", "sql", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            app.main()
        return int(ended.value.code or 0), *capfd.readouterr()

    return ask


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


WRITING = """
    copy (select 1) to 'out.csv'
    copy dim_run from 'secret.csv'
    /* a */ copy (select 1) to 'out.csv' /* b */
    with w as (copy (select 1) to 'out.csv') from w
    select 1; copy (select 1) to 'out.csv'
    select 1) ; copy (select 1) to 'out.csv'; select (1
    select 1) to 'out.csv' --
    from (copy (select 1) to 'out.csv')
    from query('copy (select 1) to ''out.csv''')
    explain copy (select 1) to 'out.csv'
    explain analyze copy (select 1) to 'out.csv'
    prepare p as copy (select 1) to 'out.csv'
    execute p
    export database 'exported'
    import database 'exported'
    attach 'other.duckdb'
    attach ':memory:' as scratch
    detach gatehouse
    use memory
    install httpfs
    load httpfs
    load './library.so'
    pragma database_list
    pragma enable_logging
    set enable_external_access = true
    set temp_directory = '.'
    set variable gatehouse_home = '/'
    reset variable gatehouse_home
    call enable_logging()
    from enable_logging('QueryLog', storage = 'file', storage_config = {'path': 'logs'})
    from enable_profiling(save_location = 'profile.json')
    create table made as select 1
    create temp table made as select 1
    create macro made(a) as a
    create secret made (type http)
    create persistent secret made (type http)
    insert into dim_run values ('b')
    with w as (delete from dim_run returning *) from w
    update dim_run set run_id = 'b'
    delete from dim_run
    truncate dim_run
    merge into dim_run using dim_run as other on true when matched then delete
    drop table dim_run
    alter table dim_run rename to other
    comment on table dim_run is 'x'
    checkpoint
    vacuum
    analyze
    begin
    rollback
""".strip().splitlines()

READING = """
    from read_csv('secret.csv')
    from read_csv('/etc/passwd')
    from read_text('/proc/self/environ')
    from read_blob('secret.csv')
    from read_json('secret.csv')
    from read_parquet('secret.parquet')
    from read_duckdb('other.duckdb', table_name = 'words')
    from sniff_csv('secret.csv')
    from parquet_metadata('secret.parquet')
    from parquet_schema('secret.parquet')
    from parquet_kv_metadata('secret.parquet')
    from glob('*')
    from glob('LAKE/../*')
    from glob('LAKE/folder/*')
    from read_csv('LAKE/../../secret.csv')
    from glob('PATTERN/../*')
    from read_csv('PATTERN/../../secret.csv')
    from read_csv('PATTERN/folder/*.csv')
    from read_csv('LAKE/link.csv')
    from read_csv('LAKE/folder/secret.csv')
    from 'secret.csv'
    from 'file:secret.csv'
    from query_table('secret.csv')
    from read_csv('https://example.org/secret.csv')
    from read_parquet('s3://bucket/secret.parquet')
    from sqlite_scan('other.db', 'words')
    from json_execute_serialized_sql(json_serialize_sql('from read_csv(''secret.csv'')'))
    from duckdb_secrets()
    select getenv('HOME')
    select load_extension('httpfs')
""".strip().splitlines()


@pytest.mark.parametrize("text", [text.strip() for text in WRITING + READING])
def test_a_refused_statement_is_one_line_and_changes_nothing(ask, world, text):
    lake = str(world / "it''s [a] *home é" / "lake")
    pattern = lake.replace("[", "[[]").replace("*", "[*]")
    text = text.replace("LAKE", lake).replace("PATTERN", pattern)
    before = contents(world)
    for arguments, stdin in (([text], ""), ([], text)):
        code, out, err = ask(*arguments, stdin=stdin)
        assert code == 2
        assert "swordfish" not in out + err and "root:" not in out + err
        assert err.startswith("gatehouse: ") and len(err.splitlines()) == 1
    assert contents(world) == before


def test_the_lake_may_be_a_link_to_another_disk(ask, world, monkeypatch, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "lake").symlink_to(world / "it's [a] *home é" / "lake")
    (home / "gatehouse.duckdb").write_bytes(
        (world / "it's [a] *home é" / "gatehouse.duckdb").read_bytes()
    )
    monkeypatch.setenv("GATEHOUSE_HOME", str(home))
    text = f"from read_parquet('{home}/lake/events/shard-0.parquet') select sum(token_id) as s"
    assert ask(text, "--format", "csv") == (0, '"s"\n7\n', "")
    assert ask(f"from read_csv('{home}/lake/link.csv')")[0] == 2


def test_a_folder_of_the_lake_may_be_on_another_disk_which_stays_closed_around(
    ask, world, monkeypatch, tmp_path
):
    home, disk = tmp_path / "home", tmp_path / "disk"
    lake = home / "lake"
    (disk / "events" / "run_id=a").mkdir(parents=True)
    shard = world / "it's [a] *home é" / "lake" / "events" / "shard-0.parquet"
    (disk / "events" / "run_id=a" / "shard-0.parquet").write_bytes(shard.read_bytes())
    for place in (disk, disk / "samples"):
        place.mkdir(exist_ok=True)
        (place / "private.csv").write_text("word\nswordfish\n")
    (lake / "samples").mkdir(parents=True)
    (lake / "events").symlink_to(disk / "events")
    (lake / "more").symlink_to(disk / "events")
    (disk / "samples" / "run_id=a").mkdir()
    (lake / "samples" / "run_id=a").symlink_to(disk / "samples" / "run_id=a")
    (home / "gatehouse.duckdb").write_bytes(
        (world / "it's [a] *home é" / "gatehouse.duckdb").read_bytes()
    )
    monkeypatch.setenv("GATEHOUSE_HOME", str(home))
    text = f"from read_parquet('{lake}/events/*/*.parquet') select sum(token_id) as s"
    assert ask(text, "--format", "csv") == (0, '"s"\n7\n', "")
    assert ask("select '..' as a, '/../' as b", "--format", "csv")[0] == 0
    for refused in (
        f"from read_text('{lake}/events/../private.csv')",
        f"from read_text('{lake}/more/../private.csv')",
        f"from read_text('file:{lake}/more/../private.csv')",
        f"from read_text('{lake}/more/' || '../private.csv')",
        f"from read_text('{lake}/more/.' || './samples/private.csv')",
        f"from read_text('{lake}/samples/run_id=a/../private.csv')",
        f"from read_text('{lake}/samples/run_id=a/.' || './private.csv')",
        f"from read_text(['{lake}/samples/run_id=a/.' || './private.csv'])",
        f"from query('from read_text(''{lake}/samples/run_id=a/.'' || ''./private.csv'')')",
        f"from '{lake}/samples/run_id=a/../private.csv'",
        f'from "{lake}/samples/run_id=a/../private.csv"',
        f"from read_text('{disk}/private.csv')",
        f"from glob('{disk}/*')",
    ):
        code, out, err = ask(refused, "--format", "csv")
        assert code == 2 and "swordfish" not in out + err and len(err.splitlines()) == 1, refused


def test_what_is_no_target_may_be_any_text(ask):
    text = "copy (select '/' as a, '..' as b) to 'd.csv' (delimiter '/', nullstr '.')"
    assert ask("--external-access", "--format", "csv", text) == (0, '"Count"\n1\n', "")
    text = "copy (select 1 as a, 2 as b) to 'parts' (format parquet, partition_by (a), overwrite)"
    for _ in range(2):
        assert ask("--external-access", "--format", "csv", text)[0] == 0


def test_external_access_reads_and_writes_files_one_statement_each(ask, world):
    code, out, err = ask("--external-access", "--format", "csv", "copy (select 7 as n) to 'x.csv'")
    assert (code, out, err) == (0, '"Count"\n1\n', "")
    assert (world / "x.csv").read_text() == "n\n7\n"
    assert ask("--external-access", "--format", "csv", "from 'x.csv'") == (0, '"n"\n7\n', "")
    # and it is not remembered
    assert ask("from read_csv('x.csv')")[0] == 2


def test_what_is_copied_may_come_from_the_lakes_own_files(ask, world):
    file = world / "it''s [[]a] [*]home é" / "lake" / "events" / "shard-0.parquet"
    text = f"copy /* ( */ (select max(token_id) as n, '(' from read_parquet('{file}')) to 'y.csv'"  # noqa: S608
    assert ask("--external-access", "--format", "csv", text)[0] == 0
    assert (world / "y.csv").read_text().splitlines()[1] == "4,("


def test_external_access_holds_for_a_pipe(ask):
    stdin = "attach 'other.duckdb' (read_only); select word from other.words"
    code, out, _ = ask("--external-access", "--format", "csv", stdin=stdin)
    assert code == 0 and out.endswith('"word"\n"swordfish"\n')


EMPTYING = "(format parquet, partition_by (a), overwrite)"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("insert into dim_run values ('b')", "read-only mode"),
        ("create table gatehouse.made as select 1", "read-only mode"),
        ("attach 'HOME/gatehouse.duckdb' as again", "belongs to the warehouse"),
        ("attach ('HOME/' || 'gatehouse.duckdb') as again", "already attached"),
        ("use memory; detach gatehouse", "gatehouse stays attached"),
        ("copy (select 1) to 'HOME/gatehouse.duckdb'", "belongs to the warehouse"),
        ("copy (select 1) to 'HOME/lake/events/made.parquet'", "belongs to the warehouse"),
        ("copy (select ')') to $a$HOME/lake/events/made.parquet$a$", "belongs to the warehouse"),
        ('copy (select 1) to "HOME/lake/events/made.parquet"', "belongs to the warehouse"),
        ("copy (select 1) to 'file://HOME/lake/events/made.parquet'", "belongs to the warehouse"),
        (
            "copy (with w as (copy (select 1) to 'HOME/lake/x.csv') from w) to 'made.csv'",
            "belongs to the warehouse",
        ),
        ("with w as (copy (select 1) to 'out.csv') from w", "read-only"),
        (f"copy (select 1 as a, 2 as b) to 'HOME' {EMPTYING}", "the warehouse lies in"),
        (f"copy (select 1 as a, 2 as b) to 'HOME/results/..' {EMPTYING}", "the warehouse lies in"),
        (f"copy (select 1 as a, 2 as b) to '.' {EMPTYING}", "the warehouse lies in"),
        (f"copy (select 1 as a, 2 as b) to 'HOME/results' {EMPTYING}", "the warehouse lies in"),
        (
            f"copy (select 1 as a, 2 as b) to ('HOME/x' || '/..') {EMPTYING}",
            "the warehouse lies in",
        ),
        (
            f"copy (select 1 as a, 2 as b) to e'HOME'\n'/lake' {EMPTYING}",
            "belongs to the warehouse",
        ),
        (f"explain analyze copy (select 1 as a, 2 as b) to 'HOME' {EMPTYING}", "lies in"),
        (f"prepare p as copy (select 1 as a, 2 as b) to $1 {EMPTYING}", "not certain what $"),
        ("copy (select 1) to 'file:/HOME/lake/x.csv'", "belongs to the warehouse"),
        ("copy (select 1) to link.csv", "belongs to the warehouse"),
        ("copy (select 1) to linked (format csv)", "belongs to the warehouse"),
        ("copy (select 1) to 'HOME/prepared/text/train.parquet'", "belongs to the warehouse"),
        ("copy (select 1) to 'HOME/results/run-a/report.html'", "belongs to the warehouse"),
        ("set home_directory = 'HOME'; copy (select 1) to '~/lake/x.csv'", "belongs to the"),
        ("export database memory to 'HOME'", "the warehouse lies in"),
        ("use memory; export database 'HOME'", "the warehouse lies in"),
        ("attach 'HOME/lake/new.duckdb' as new", "belongs to the warehouse"),
        ("set temp_directory = 'HOME/lake/spill'", "belongs to the warehouse"),
        ("pragma profile_output = 'HOME/lake/profile.json'", "belongs to the warehouse"),
        ("call enable_logging(storage_path = 'HOME/lake')", "belongs to the warehouse"),
        (
            "from enable_logging('QueryLog', storage_config = {'path': 'HOME/lake'})",
            "belongs to the warehouse",
        ),
    ],
)
def test_external_access_does_not_open_the_warehouse(ask, world, text, says):
    before = contents(world)
    quoted = text.replace("'HOME", "'" + str(world / "it''s [a] *home é"))
    quoted = quoted.replace("file:/HOME", "file:" + str(world / "it''s [a] *home é"))
    quoted = quoted.replace("//HOME", "//" + str(world / "it''s [a] *home é"))
    code, _, err = ask(
        "--external-access", stdin=quoted.replace("HOME", str(world / "it's [a] *home é"))
    )
    assert code == 2 and says in err and len(err.splitlines()) == 1
    assert contents(world) == before


def test_examples_need_no_external_access(ask):
    code, _, err = ask("--examples", "all", "--external-access")
    assert code == 2 and "leave --external-access out" in err
