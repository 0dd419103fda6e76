"""Builds on many workers hold what a build in one process holds, whatever happens meanwhile."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from gatehouse.flows.request import Workers
from gatehouse.flows.steps import build
from gatehouse.flows.steps.building import layers, on_workers
from gatehouse.flows.steps.building.command import Dbt
from gatehouse.flows.steps.building.on_workers import shares
from gatehouse.flows.steps.machine import share_of_machine
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import DBT_PROJECT, Paths
from tests.dbt_project.random_lake import land, random_shard, record
from tests.dbt_project.random_replays import TABLE, land_replays
from tests.dbt_project.random_runs import RUNS_TO_LAND
from tests.same_tables import difference, differences, tables_of

pytest.importorskip("distributed", reason="without the extra `cluster`")

RUNS = {run.run_id: run for run in RUNS_TO_LAND}
WAITING = ("long", "ids-only")
BUILT = f"built {sum(1 for _ in (DBT_PROJECT / 'models').rglob('*.sql'))} models"


def first(lake: Lake) -> None:
    """Runs of other layers each; two of them have landed one of two shards."""
    for run_id in ("0042", "wide", "skipping"):
        land(lake, RUNS[run_id])
    for run_id in WAITING:
        land(lake, replace(RUNS[run_id], finished=False))
        (lake.root / "events" / f"run_id={run_id}" / "shard-00001.parquet").unlink()
    land_replays(lake, "wide", {TABLE: 0.6})


def then(lake: Lake) -> None:
    """These two grow and finish, a run of the same text arrives, and one of counts.

    Of an older run a shard is captured again, and another is removed.
    """
    for run_id in WAITING:
        lake.land_shard(run_id, 1, *random_shard(RUNS[run_id], 1))
        lake.update_run(run_id, record(RUNS[run_id], finished=True))
    land(lake, RUNS["slim"])
    land(lake, RUNS["counted"])
    land_replays(lake, "slim", {TABLE: 0.6})
    lake.land_shard("wide", 1, *random_shard(replace(RUNS["wide"], changed=0.3), 1))
    for folder in lake.root.glob("*/run_id=skipping"):
        shutil.rmtree(folder)


def killed_once(order: layers.Order) -> tuple[tuple[int, int], str]:
    """Build a share; the first worker that has made one is killed before it has its name."""
    try:
        (Path(order.partials).parent / "killed").touch(exist_ok=False)
    except FileExistsError:
        return layers.build_layers(order)
    layers._put_in_place = lambda made, place: os.kill(os.getpid(), signal.SIGKILL)
    return layers.build_layers(order)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a Dask scheduler with two workers, which start again when they are killed."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=None,
        worker_dashboard_address=None,
        silence_logs=100,
    ) as started:
        yield started.scheduler_address


@pytest.fixture(scope="module")
def steps(tmp_path_factory, cluster) -> dict[str, dict[str, Path]]:
    """Step -> the database of each kind of build after it: `one` process, `many` workers."""
    # glob characters and quotes are taken literally
    paths = Paths(tmp_path_factory.mktemp("grown") / "it's [a] *home")
    paths.root.mkdir()
    lake, kept = Lake(paths.lake), {}
    ways: dict[str, Workers | None] = {"one": None, "many": Workers(scheduler=cluster)}
    for step in (first, then):
        step(lake)
        kept[step.__name__] = {}
        for way, workers in ways.items():
            grown(paths, way, workers, kill=step is then)
            kept[step.__name__][way] = shutil.copyfile(
                paths.database, paths.root / f"{step.__name__}-{way}.duckdb"
            )
            os.replace(paths.database, paths.root / f"{way}.duckdb")
    return kept


def grown(paths: Paths, way: str, workers: Workers | None, *, kill: bool) -> None:
    """Add to the database of earlier steps; both ways build it under the same name."""
    previous = paths.root / f"{way}.duckdb"
    if previous.exists():
        os.replace(previous, paths.database)
    with pytest.MonkeyPatch.context() as patch:
        if kill:
            patch.setattr(on_workers, "build_layers", killed_once)
        if workers is None:
            patch.setattr(build, "_dbt", every_table)
        assert build.build(paths, workers=workers).startswith(f"{BUILT} over ")
    assert not (paths.root / "building").exists()


def every_table(paths: Paths, database: Path, workers: None) -> list[Any]:
    """Build without dbt's tests: those of the tables that equal these are run."""
    return Dbt(paths.lake, database, paths.dbt_target, share_of_machine()).run("run")


@pytest.mark.parametrize("step", ["first", "then"])
def test_every_table_is_that_of_one_process(steps, step):
    """Full, and added to: runs that grow and finish, a repaired shard, a removed run, a kill."""
    assert differences(steps[step]["many"], steps[step]["one"]) == {}
    empty = {name for name, table in tables_of(steps["then"]["one"]).items() if table.empty}
    assert not {name for name in empty if name.startswith("fct_")}


def test_the_comparison_sees_a_row_a_digit_and_a_type(steps):
    table = tables_of(steps["first"]["one"])["fct_expert_load"]
    assert difference(table, table.sample(frac=1, random_state=1)) == ""
    assert "rows" in difference(table, table[1:])
    assert difference(table, table.assign(load=table["load"] + 1))
    assert difference(table, table.assign(load_share=table["load_share"] * (1 + 1e-7)))
    assert difference(table, table.assign(load_share=table["load_share"] * (1 + 1e-12))) == ""
    assert "columns" in difference(table, table.assign(load=table["load"].astype(float)))


def test_what_parquet_does_not_keep_is_in_no_table(steps):
    """Integers of 128 bits would come back as floats."""
    with closing(duckdb.connect(str(steps["then"]["one"]), read_only=True)) as connection:
        query = """
            select table_name, column_name from duckdb_columns()
            semi join duckdb_tables() using (table_name)
            where data_type like '%HUGEINT%'
        """
        assert connection.execute(query).fetchall() == []


def test_layers_are_divided_in_their_order_and_all_go_somewhere():
    assert shares([0, 1, 2, 3, 5], 2) == [(0, 1), (2, 5)]
    assert shares([7], 4) == [(7, 7)]
    for number in range(1, 40):
        divided = shares(range(32), number)
        assert len(divided) == min(number, 32)
        assert [layer for a, b in divided for layer in range(a, b + 1)] == list(range(32))
        sizes = [last - first for first, last in divided]
        assert max(sizes) - min(sizes) <= 1


def test_one_layer_is_built_by_one_worker_and_its_fault_is_named(run, home, cluster):
    lake = Lake(home / "lake")
    land(lake, RUNS["flat"])
    code, out, err = run("build", "--workers", 2)
    assert code == 0 and out.startswith(f"{BUILT} over 1 finished run, ")
    assert "1 of 2 workers: 1 MoE layer to build" in err
    assert sorted(os.listdir(home)) == ["dbt", "gatehouse.duckdb", "lake"]
    before = (home / "gatehouse.duckdb").read_bytes()
    # one event less than the samples have tokens
    shard = next((lake.root / "events").rglob("shard-*.parquet"))
    events = pq.read_table(shard, partitioning=None)
    pq.write_table(events.slice(1), shard)
    samples = pq.read_table(lake.shard_file("samples", "flat", 0), partitioning=None)
    lake.shards.record("flat", 0, samples, events.num_rows - 1)
    code, _, err = run("build", "--scheduler", cluster)
    # progress has lines of its own
    last = err.strip().splitlines()[-1]
    failed = "gatehouse: dbt build failed: events_are_complete_and_in_range: Got "
    assert code == 2 and last.startswith(failed)
    assert (home / "gatehouse.duckdb").read_bytes() == before
    assert not (home / "building").exists()


def test_counts_alone_need_no_worker(home, monkeypatch):
    land(Lake(home / "lake"), RUNS["counted"])
    monkeypatch.setattr(on_workers, "connected", None)
    assert build.build(Paths(home), workers=Workers(3)).startswith(f"{BUILT} over 1 ")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--workers", 0], "--workers 0: give a number of processes, 1 or more"),
        (["--workers", 2, "--scheduler", "tcp://127.0.0.1:1"], "leave one of them out"),
        (["--workers", 2], "no run in "),
    ],
)
def test_bad_input_is_one_line(run, home, options, line):
    code, _, err = run("build", *options)
    assert code == 2 and line in err and len(err.strip().splitlines()) == 1


def order(tmp_path: Path) -> layers.Order:
    (tmp_path / "lake").mkdir()
    (tmp_path / "gatehouse.duckdb").touch()
    return layers.Order(
        lake=str(tmp_path / "lake"),
        base=str(tmp_path / "gatehouse.duckdb"),
        partials=str(tmp_path / "partials"),
        layers=(0, 3),
        given=(),
        kept=(),
        fingerprint="of another version",
        neighbours={},
    )


def test_a_worker_that_does_not_see_the_home_or_is_of_another_version_says_so(tmp_path):
    asked = order(tmp_path)
    share, said = layers.build_layers(asked)
    assert share == (0, 3) and "has another version of gatehouse or DuckDB" in said
    _, said = layers.build_layers(replace(asked, base="/elsewhere/gatehouse.duckdb"))
    assert "does not see /elsewhere/gatehouse.duckdb: put the home" in said
    assert not list(tmp_path.glob("layers-*"))


def test_a_share_that_is_made_is_not_made_again(tmp_path):
    """A scheduler gives work that was done to another worker if the first one dies."""
    asked = order(tmp_path)
    (tmp_path / "partials" / "0-3").mkdir(parents=True)
    assert layers.build_layers(asked) == ((0, 3), "")
