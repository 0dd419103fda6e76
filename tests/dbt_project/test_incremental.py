"""A warehouse that grew build by build holds what one built at once holds, row for row."""

import re
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

import duckdb
import pandas as pd
import pytest

from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.replays import parts
from tests.dbt_project.conftest import MARTS
from tests.dbt_project.random_lake import land, random_shard, record
from tests.dbt_project.random_replays import POLICIES, TABLE, land_replays, routing_of
from tests.dbt_project.random_runs import RUNS_TO_LAND
from tests.same_tables import plain

RUNS = {run.run_id: run for run in RUNS_TO_LAND}
UNFINISHED = ("long", "unordered", "ids-only")
LATER = {"unordered", "ids-only"}


def first_lake(lake: Lake) -> None:
    """Four runs have finished, three have landed one of their two shards.

    Of the last two, one has no order and no weights, the other no token ids. One of the finished
    runs was replayed on half of its held-out text.
    """
    for run_id in ("0042", "wide", "flat", "skipping"):
        land(lake, RUNS[run_id])
    for run_id in UNFINISHED:
        land(lake, replace(RUNS[run_id], finished=False))
        (lake.root / "events" / f"run_id={run_id}" / "shard-00001.parquet").unlink()
    land_replays(lake, "wide", POLICIES, half=0)


def a_run_waits(lake: Lake) -> None:
    """No file changes, so three runs are still unfinished."""


def runs_arrive(lake: Lake) -> None:
    """The three finish, another reads an older one's text; one is no longer finished.

    The rest of an older one's replays lands, and a replay of the new one with its routing.
    """
    for run_id in UNFINISHED:
        lake.land_shard(run_id, 1, *random_shard(RUNS[run_id], 1))
        lake.update_run(run_id, record(RUNS[run_id], finished=True))
    land(lake, RUNS["slim"])
    land_replays(lake, "wide", POLICIES, half=1)
    land_replays(lake, "slim", {TABLE: 0.6} | routing_of("wide"))
    land_replays(lake, "long", POLICIES)
    land_replays(lake, "unordered", {TABLE: 0.6})
    lake.update_run("0042", record(RUNS["0042"], finished=False))


def run_reopens(lake: Lake) -> None:
    """The run that was counted shard by shard is unfinished once more."""
    lake.update_run("long", record(RUNS["long"], finished=False))


def runs_change(lake: Lake) -> None:
    """Shards are captured again, with other events and with equal ones; a run is deleted.

    The runs that were unfinished for a while have finished again, with the same shards, and a trace
    of another's text is imported. What was replayed of other events no longer counts; the part of a
    run that has not changed goes.
    """
    lake.update_run("long", record(RUNS["long"], finished=True))
    lake.land_shard("wide", 1, *random_shard(replace(RUNS["wide"], changed=0.3), 1))
    land_replays(lake, "wide", {TABLE: 0.5})
    (part,) = parts(lake, "unordered")
    part.unlink()
    lake.land_shard("flat", 0, *random_shard(RUNS["flat"], 0))
    land(lake, RUNS["traced"])
    for folder in lake.root.glob("*/run_id=skipping"):
        shutil.rmtree(folder)
    lake.update_run("0042", record(RUNS["0042"], finished=True))


def nothing_happens(lake: Lake) -> None:
    """No file changes."""


STEPS: list[Callable[[Lake], None]] = [
    first_lake,
    a_run_waits,
    runs_arrive,
    run_reopens,
    runs_change,
    nothing_happens,
]


@dataclass(frozen=True)
class State:
    """What a database holds after a build: marts, runs, and which shards the build read."""

    marts: dict[str, pd.DataFrame]
    new_shards: set[tuple[str, int]]
    read: dict[str, set[tuple[str, int]]]

    @property
    def runs(self) -> set[str]:
        return set(self.marts["dim_run"]["run_id"])


def state(database) -> State:
    with closing(duckdb.connect(str(database), read_only=True)) as connection:
        names = connection.execute(
            "select table_name from duckdb_tables() where regexp_matches(table_name, '^(fct|dim)_')"
        ).fetchall()
        shards = "select run_id, shard from stg_shards where is_new"
        views = "select view_name, sql from duckdb_views() where not internal"
        return State(
            {name: rows(connection, name) for (name,) in names},
            set(connection.execute(shards).fetchall()),
            {name: files(sql) for name, sql in connection.execute(views).fetchall()},
        )


def rows(connection: duckdb.DuckDBPyConnection, table: str) -> pd.DataFrame:
    """Return a table's rows in an order that does not depend on what was computed in floats."""
    frame = connection.table(table).to_arrow_table().to_pandas()
    frame = frame.map(plain)
    exact = [
        name
        for name in frame
        if frame[name].dtype != "float64" or name in ("entropy_threshold", "threshold", "min_share")
        # a list of structs may hold floats, and is no key
        if not frame[name].map(lambda value: isinstance(value, tuple) and has_dicts(value)).any()
    ]
    return frame.sort_values(exact, ignore_index=True)


def has_dicts(values: tuple[object, ...]) -> bool:
    return any(isinstance(value, dict) for value in values)


def files(view: str) -> set[tuple[str, int]]:
    """Return the shards of events whose files a view's text names."""
    named = re.findall(r"/events/run_id=([^/]+)/shard-(\d+)[.]parquet", view)
    return {(run_id, int(shard)) for run_id, shard in named}


@pytest.fixture(scope="module")
def project(tmp_path_factory, make_project):
    return make_project(tmp_path_factory.mktemp("grown"))


@pytest.fixture(scope="module")
def grown(project) -> dict[str, State]:
    """Step -> what the same database holds after it; `at once`: what a new one holds."""
    states = {}
    for step in STEPS:
        step(project.lake)
        states[step.__name__] = built_state(project)
    project.database.unlink()
    return states | {"at once": built_state(project)}


def built_state(project) -> State:
    outcome = project.dbt("run", "--no-write-json")
    assert outcome.success, [node.message for node in outcome.result or []]
    return state(project.database)


def shards_of(*run_ids: str) -> set[tuple[str, int]]:
    return {(run_id, shard) for run_id in run_ids for shard in range(RUNS[run_id].shards)}


def test_a_grown_warehouse_equals_one_built_at_once(grown):
    found, expected = grown["nothing_happens"].marts, grown["at once"].marts
    assert found.keys() == expected.keys() == MARTS
    for name in expected:
        assert len(expected[name]) > 0, name
        pd.testing.assert_frame_equal(found[name], expected[name], rtol=1e-9, atol=1e-15, obj=name)


def test_runs_come_and_go(grown):
    for step in ("first_lake", "a_run_waits"):
        assert grown[step].runs == {"0042", "wide", "flat", "skipping"}
    assert grown["runs_arrive"].runs == {"wide", "flat", "skipping", "long", "slim"} | LATER
    assert grown["run_reopens"].runs == {"wide", "flat", "skipping", "slim"} | LATER
    assert grown["runs_change"].runs == {"0042", "wide", "flat", "long", "slim", "traced"} | LATER


def test_a_build_reads_new_shards_alone(grown):
    """Partial aggregates read what no build has counted; what needs whole runs reads new runs."""
    arrived = grown["runs_arrive"]
    assert arrived.new_shards == {(run_id, 1) for run_id in UNFINISHED} | shards_of("slim")
    assert arrived.read["stg_new_events"] == arrived.new_shards
    assert arrived.read["stg_new_run_events"] == shards_of(*UNFINISHED, "slim")
    assert arrived.read["stg_new_token_events"] == shards_of("long", "unordered", "slim")
    assert arrived.read["stg_new_tokenless_events"] == shards_of("ids-only")
    assert arrived.read["stg_whole_run_events"] == shards_of("slim")
    assert arrived.read["stg_waiting_events"] == {("long", 1), ("unordered", 1)}
    # the text that both have read ends in the second shard
    assert arrived.read["int_compared_event"] == shards_of("slim") | {("wide", 0), ("wide", 1)}
    assert arrived.read["int_traced_event"] == set()


def test_token_ids_are_read_of_runs_that_an_import_may_share_its_text_with(grown):
    changed = grown["runs_change"]
    assert changed.read["int_traced_event"] == shards_of("traced", "wide", "slim")
    assert changed.read["int_compared_event"] >= shards_of("traced", "slim")


def test_a_finished_run_that_returns_is_counted_at_once(grown):
    """No partial aggregate of it is left, and none is made for shards that have not changed."""
    for step in ("run_reopens", "runs_change"):
        assert grown[step].read["stg_waiting_events"] == set()
    assert grown["run_reopens"].read["stg_whole_run_events"] == set()
    returned = shards_of("long", "0042")
    read = grown["runs_change"].read["stg_whole_run_events"]
    assert read == returned | shards_of("wide", "flat", "traced")
    assert not returned & grown["runs_change"].new_shards


def test_replays_come_after_their_runs_and_go_with_their_events(grown):
    def policies(step: str) -> dict[str, tuple[int, int]]:
        """Run -> how many policies it was replayed under, and most samples of one."""
        found = grown[step].marts["fct_replay"].groupby("run_id")["samples"]
        return dict(zip(found.groups, zip(found.size(), found.max(), strict=True), strict=True))

    every = len(POLICIES)
    assert policies("first_lake") == policies("a_run_waits") == {"wide": (every, 3)}
    arrived = {"wide": (every, 6), "slim": (2, 4), "long": (every, 2), "unordered": (1, 2)}
    assert policies("runs_arrive") == arrived
    reopened = {name: arrived[name] for name in arrived if name != "long"}
    assert policies("run_reopens") == reopened
    changed = {"wide": (1, 6), "slim": (1, 4), "long": arrived["long"]}
    assert policies("runs_change") == changed
    for name in ("fct_replay_sample", "fct_replay_layer"):
        assert set(grown["runs_change"].marts[name]["run_id"]) == set(changed)


def test_a_shard_that_is_captured_anew_is_counted_anew(grown):
    """So are its run's other shards and its comparisons; equal events leave equal numbers."""
    before, after = grown["runs_arrive"], grown["runs_change"]
    assert after.new_shards == shards_of("wide", "flat", "traced")
    for name in ("fct_token_routing", "fct_run_comparison", "fct_run_flip", "fct_run_mismatch"):
        assert not of_run(before, name, "wide").equals(of_run(after, name, "wide"))
    # a run that "flat" was compared with is gone
    for name in before.marts.keys() - {"fct_run_trend"}:
        pd.testing.assert_frame_equal(
            of_run(before, name, "flat"),
            of_run(after, name, "flat"),
            # a run that was not replayed has no rows to tell the types of
            check_dtype=False,
            rtol=1e-9,
            atol=1e-15,
        )


def of_run(state: State, name: str, run_id: str) -> pd.DataFrame:
    table = state.marts[name]
    of_it = table["run_id"] == run_id
    if "other_run_id" in table:
        of_it |= table["other_run_id"] == run_id
    return table[of_it].reset_index(drop=True)


def test_a_build_with_nothing_new_reads_and_changes_nothing(grown):
    before, after = grown["runs_change"], grown["nothing_happens"]
    assert after.new_shards == set()
    assert set().union(*after.read.values()) == set()
    for name, table in before.marts.items():
        pd.testing.assert_frame_equal(table, after.marts[name], check_exact=True, obj=name)
