"""Builds: what readers see while one runs, fails or is killed, and what a build starts from."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import duckdb
import pyarrow.parquet as pq
import pytest

from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps import build, capture, lineage_page
from gatehouse.flows.steps.building import command
from gatehouse.flows.steps.building.checks import checked
from gatehouse.reports.page.sections.lineage import path_address
from gatehouse.reports.results.files import page_of
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import PACKAGE, Paths
from gatehouse.warehouse.replays import OWN, ReplayPolicy
from gatehouse.warehouse.upkeep.health import Health
from tests.dbt_project.random_replays import land_replays
from tests.flows.conftest import build_of

LAYERS = "select count(*) from fct_layer_routing"


@pytest.fixture
def copy(captured, tmp_path) -> Path:
    """The small warehouse, moved to another folder: the lake's files keep their times."""
    return shutil.copytree(captured, tmp_path / "copy")


def rows(home: Path, query: str) -> list[tuple]:
    with closing(connect(Paths(home))) as connection:
        return connection.execute(query).fetchall()


def test_docs_writes_one_static_page_beside_readers(run, captured, tmp_path, monkeypatch):
    before = (captured / "gatehouse.duckdb").stat()
    with closing(connect(Paths(captured))) as reader:
        code, out, _ = run("docs", "--home", captured)
        assert reader.execute(LAYERS).fetchall() == rows(captured, LAYERS)
    after = (captured / "gatehouse.duckdb").stat()
    # opened for writing, the file would be locked, and its header written when it is closed
    assert "GATEHOUSE_ACCESS" not in os.environ and after.st_mtime_ns == before.st_mtime_ns
    page = Path(out.strip()).read_text(encoding="utf-8")
    assert code == 0 and "fct_token_routing" in page
    assert opening(page) == path_address("fct_layer_routing.mean_entropy", of_events=True)
    assert LEGEND in page and "#006f8a" not in page
    manifest, catalog = data_of(page, "manifest"), data_of(page, "catalog")
    assert catalog["nodes"].keys() <= manifest["nodes"].keys()
    # what dbt has left is enough for another page
    monkeypatch.setattr(lineage_page.Dbt, "run", lambda *_: [])
    leads_to_the_latest_report(Paths(shutil.copytree(captured, tmp_path / "copy")))


def leads_to_the_latest_report(paths: Paths) -> None:
    shutil.rmtree(paths.root / "results", ignore_errors=True)
    page = lineage_page.write_lineage_page(paths).read_text(encoding="utf-8")
    assert not any(each["url"] for each in data_of(page, "manifest")["exposures"].values())
    (run_id,) = build.finished_runs(paths)
    report = page_of(run_id, paths)
    report.parent.mkdir(parents=True)
    report.write_text('<p id="load"></p>', encoding="utf-8")
    for name in ("trend-0123", "trend-4567"):
        paths.trend(name.removeprefix("trend-")).touch()
    os.utime(paths.trend("4567"), (0, 0))
    page = lineage_page.write_lineage_page(paths, "dim_token").read_text(encoding="utf-8")
    assert opening(page) == path_address("dim_token", of_events=False)
    manifest = data_of(page, "manifest")
    urls = {name: each["url"] for name, each in manifest["exposures"].items() if each["url"]}
    assert urls.keys() == {"exposure.gatehouse.expert_load", "exposure.gatehouse.trend_page"}
    assert urls["exposure.gatehouse.trend_page"].endswith("/results/trend-0123.html")
    address, _, section = urls["exposure.gatehouse.expert_load"].partition("#")
    assert (paths.lineage_page.parent / unquote(address)).resolve() == report.resolve()
    described = manifest["nodes"]["model.gatehouse.fct_expert_load"]["description"]
    assert section == "load" and f"`load_ratio` in [load]({address}#load)" in described
    parents = manifest["parent_map"]
    assert parents["model.gatehouse.fct_layer_routing"] and parents["exposure.gatehouse.zipf"]
    hidden = [node for node in parents if node.startswith(("test.", "unit_test.", "analysis."))]
    assert len(hidden) > 100 and not any(parents[node] for node in hidden)
    colours = {
        node["docs"]["node_color"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model"
    }
    assert colours < set(lineage_page.KINDS.values()) and len(colours) == 3


def test_a_metric_that_no_mart_has_is_refused(run, captured):
    for metric in ("fct_load", "fct_expert_load.no_such", "stg_events", "../x"):
        code, _, err = run("docs", "--metric", metric, "--home", captured)
        assert code == 2 and f"--metric {metric}: there is no such mart or column" in err
    shown = re.findall(r"`gatehouse sql \"([^`]*)\"`", err)
    assert len(shown) == 2
    for query in shown:
        code, out, _ = run("sql", query, "--home", captured)
        assert code == 0 and ("fct_expert_load" in out or "mean_entropy" in out)


LEGEND = ">figure or page</span>"


def opening(page: str) -> str:
    """Return where a lineage page opens; dbt's script takes the graph's selection from there."""
    assert 'n="g_v&g_i&g_e&g_p&g_n"' in page
    return json.JSONDecoder().raw_decode(page.partition("const opensOn = ")[2])[0]


def data_of(page: str, name: str) -> dict:
    return json.JSONDecoder().raw_decode("{" + page.partition(f"{name}:{{")[2])[0]


def test_a_failing_build_keeps_the_previous_marts(run, copy):
    """One event more than the samples have tokens: dbt's identity fails, readers notice nothing."""
    home = copy
    before = (home / "gatehouse.duckdb").read_bytes()
    shard = next((home / "lake" / "events").rglob("shard-*.parquet"))
    events = pq.read_table(shard, partitioning=None)
    pq.write_table(events.slice(1), shard)
    lake = Lake(home / "lake")
    (run_id,) = lake.runs()
    samples = pq.read_table(lake.shard_file("samples", run_id, 0), partitioning=None)
    lake.shards.record(run_id, 0, samples, events.num_rows - 1)
    code, _, err = run("build", "--home", home)
    assert code == 2 and "dbt build failed: " in err and len(err.strip().splitlines()) == 1
    assert (home / "gatehouse.duckdb").read_bytes() == before
    assert os.listdir(home / "lake" / "events")


def test_a_database_that_lacks_a_mart_is_built_afresh(run, captured, copy, monkeypatch):
    """A copy of it would be given new runs only, and nothing may be new."""
    database = copy / "gatehouse.duckdb"
    with closing(duckdb.connect(str(database))) as connection:
        moved = "update stg_shards set path = replace(path, $before, $after)"
        connection.execute(moved, {"before": str(captured), "after": str(copy)})
    assert run("build", "--home", copy)[1].startswith("nothing new in 1 finished run")
    with closing(duckdb.connect(str(database))) as connection:
        connection.execute("drop table fct_layer_routing")
    begun = []

    def run_dbt(words, target) -> SimpleNamespace:
        begun.append(Path(os.environ["GATEHOUSE_DATABASE"]).exists())
        shutil.copy(captured / "gatehouse.duckdb", os.environ["GATEHOUSE_DATABASE"])
        return SimpleNamespace(success=True, exception=None, result=SimpleNamespace(results=[]))

    monkeypatch.setattr(command, "run_dbt", run_dbt)
    assert run("build", "--home", copy)[0] == 0
    assert begun == [False] and rows(copy, LAYERS) == [(3,)]


def test_a_warehouse_that_has_moved_reads_its_own_lake(captured, copy):
    """Views, too: the lake that they were built over may be gone."""
    shutil.rmtree(copy / "lake" / "events")
    shutil.copytree(captured / "lake" / "events", copy / "lake" / "events")
    (kept,) = rows(copy, "select count(*) from events")
    next((copy / "lake" / "events").rglob("shard-*.parquet")).unlink()
    with pytest.raises(duckdb.IOException, match=str(copy)):
        rows(copy, "select count(*) from events")
    assert kept == rows(captured, "select count(*) from events")[0] > (0,)


def test_a_build_that_is_killed_leaves_what_was_there(run, copy):
    """Killed by SIGKILL when the previous marts have been copied, while somebody reads.

    (`tests/chaos` kills builds between dbt's nodes, and before and after the swap.) The next build
    waits its turn, takes no notice of what is left, and leaves nothing to build.
    """
    before = (copy / "gatehouse.duckdb").read_bytes()
    left = copy / "building" / "gatehouse.duckdb"
    command = [sys.executable, str(PACKAGE / "tests" / "flows" / "kill_at.py")]
    command += ["gatehouse.flows.steps.build._dbt", "1", "build", "--home", str(copy)]
    with closing(connect(Paths(copy))) as reader:
        ended = subprocess.run(command, cwd=PACKAGE, capture_output=True)
        assert ended.returncode == -9, ended.stderr
        assert left.exists() and (copy / "gatehouse.duckdb").read_bytes() == before
        with another_builder(copy):
            code, _, err = run("build", "--home", copy)
            assert code == 2 and "another build is writing" in err and left.exists()
        left.write_bytes(b"half a database")
        code, out, _ = run("build", "--home", copy)
        assert code == 0 and out.startswith("built ") and not left.parent.exists()
        # a reader keeps the file that it opened; the next reader gets the new one
        assert reader.execute(LAYERS).fetchall() == rows(copy, LAYERS) == [(3,)]
    # the warehouse has moved, and its shards have not changed
    assert rows(copy, "select shard, is_new from stg_shards") == [(0, False)]
    assert os.listdir(copy / "lake" / "events")
    # not even dbt starts, and what a killed build left goes
    before = (copy / "gatehouse.duckdb").read_bytes()
    left.parent.mkdir()
    left.write_bytes(b"half a database")
    code, out, _ = run("build", "--home", copy)
    assert code == 0 and out.startswith("nothing new in 1 finished run: ")
    assert not left.parent.exists()
    assert (copy / "gatehouse.duckdb").read_bytes() == before


def test_what_a_killed_build_left_goes_with_the_last_run(tmp_path):
    for build_again in (build.build, build.rebuild):
        (tmp_path / "building").mkdir()
        (tmp_path / "building" / "gatehouse.duckdb").write_bytes(b"half a database")
        with suppress(GatehouseError):  # no run has finished
            build_again(Paths(tmp_path))
        assert os.listdir(tmp_path) == []


@contextmanager
def another_builder(home: Path) -> Iterator[None]:
    """Let a process hold the lock of building, and end it."""
    hold = (
        "import pathlib; from gatehouse.flows.steps.build import lock\n"
        "from gatehouse.warehouse.paths import Paths\n"
        f"with lock(Paths(pathlib.Path({str(home)!r}))):\n"
        "    print()\n"
        "    input()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    other.stdout.readline()
    yield
    other.kill()
    other.wait()


def test_a_database_that_duckdb_could_not_finish_is_not_put_in_place(run, copy, monkeypatch):
    """On a full disk DuckDB closes a file silently and leaves its log."""
    before = (copy / "gatehouse.duckdb").read_bytes()

    def dbt(paths, database, workers):
        Path(f"{database}.wal").write_bytes(b"rows")

    monkeypatch.setattr("gatehouse.flows.steps.build._dbt", dbt)
    code, _, err = run("build", "--home", copy)
    assert code == 2 and "gatehouse.duckdb.wal is left; put that right" in err
    assert (copy / "gatehouse.duckdb").read_bytes() == before and not (copy / "building").exists()


@pytest.mark.parametrize("same", [True, False])
def test_only_what_the_same_project_built_is_added_to(captured, tmp_path, monkeypatch, same):
    started = tmp_path / "started.duckdb"
    if not same:
        monkeypatch.setattr(duckdb, "__version__", "0.0.0")
    build._start_from(captured / "gatehouse.duckdb", started)
    assert started.exists() is same


@pytest.mark.parametrize("content", [b"", b"not a database"])
def test_a_damaged_database_is_not_added_to(tmp_path, content):
    previous = tmp_path / "gatehouse.duckdb"
    previous.write_bytes(content)
    build._start_from(previous, tmp_path / "started.duckdb")
    assert not (tmp_path / "started.duckdb").exists()


def test_a_changed_file_or_another_folder_is_reason_enough_to_build(captured, copy):
    def holds(home: Path) -> bool:
        return build._holds(Paths(home), checked(Lake(home / "lake")))

    assert holds(captured) and not holds(copy)
    shard = next((captured / "lake" / "events").rglob("shard-*.parquet"))
    before = shard.stat()
    os.utime(shard)
    assert not holds(captured)
    os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert holds(captured)


def test_replays_that_land_or_go_are_reason_enough_to_build(run, copy):
    """A damaged part is named before anything is built."""
    lake = Lake(copy / "lake")
    (run_id,) = lake.runs()

    def holds() -> bool:
        return build._holds(Paths(copy), checked(lake))

    land_replays(lake, run_id, {ReplayPolicy(OWN): 1.0})
    (part,) = lake.folder("replays", run_id).iterdir()
    content = part.read_bytes()
    part.write_bytes(content[:-9])
    code, _, err = run("build", "--home", copy)
    assert code == 2 and f"`gatehouse verify {run_id} --repair` mends it; what was built" in err
    assert len(err.strip().splitlines()) == 1
    part.write_bytes(content)
    assert not holds() and run("build", "--home", copy)[0] == 0
    assert holds() and rows(copy, "select kind, delta_nll, coverage from fct_replay") == [
        ("own routing", 0, 1)
    ]
    os.utime(part)
    assert not holds()
    part.unlink()
    assert not holds()


def test_a_lake_that_has_lost_its_events_is_not_as_before(tmp_path):
    with closing(duckdb.connect(str(tmp_path / "gatehouse.duckdb"))) as connection:
        fingerprint = command.fingerprint()
        connection.execute("create table stg_build as select $1 as fingerprint", [fingerprint])
        connection.execute("create table stg_shards (path text, bytes bigint, modified_at text)")
        connection.execute("insert into stg_shards values ('shard-00000.parquet', 1, 'then')")
        connection.execute("create table stg_runs as select 'gone' as run_id")
    gone = Health({"finished_at": "then"}, {}, set(), [])
    assert not build._holds(Paths(tmp_path), {"gone": gone})


def test_a_lake_that_is_out_of_reach_does_not_cost_the_marts(run, tmp_path):
    """As on a machine whose other disk is not mounted: only `runs rm` removes the database."""
    database = tmp_path / "gatehouse.duckdb"
    database.write_bytes(b"marts")
    code, _, err = run("build", "--home", tmp_path)
    assert code == 2 and "no run in" in err and database.read_bytes() == b"marts"


def test_a_home_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "building.lock").mkdir()
    with pytest.raises(GatehouseError, match=r"cannot write .*building\.lock"):
        build.lock(Paths(tmp_path)).__enter__()


def test_one_thread_follows_every_token(home, tiny_mixtral, tmp_path, monkeypatch):
    """Rows are matched by their places; DuckDB reads on in steps of 2,048 rows.

    With one thread, a last step of 1,984 rows or more came late on one of the sides.
    """
    words = ("the router sends every token to two experts of a layer " * 20 + "\n") * 20
    (tmp_path / "texts.txt").write_text(words)
    request = RunRequest(
        model=str(tiny_mixtral), dataset=str(tmp_path / "texts.txt"), lines=True, max_length=100
    )
    paths = Paths(home)
    assert capture.capture(request, paths).tokens == 2_000
    monkeypatch.setenv("GATEHOUSE_THREADS", "1")
    build_of(paths, "fct_expert_transition")
    with closing(connect(paths)) as connection:
        followed = connection.execute(
            "select layer, sum(tokens) from fct_expert_transition group by layer order by layer"
        ).fetchall()
    assert followed == [(0, 2_000), (1, 2_000)]
