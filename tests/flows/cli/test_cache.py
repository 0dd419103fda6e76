"""`gatehouse cache`: what it prints follows from the marts, and what they hold can be changed."""

import re
import shutil
from contextlib import closing

import duckdb
import pytest

from gatehouse.reports.results.cache_text import POLICIES, cache_text
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths

MORE_DOCUMENTS = """
    insert into fct_expert_cache_sample
    select caches.run_id, samples.sample_id, caches.* exclude (run_id, sample_id)
    from fct_expert_cache_sample as caches
    inner join dim_sample as samples on caches.run_id = samples.run_id and samples.split = 'train'
    where caches.sample_id = (select min(sample_id) from fct_expert_cache_sample)
"""
"""The documents that are held out are too few for an interval."""


@pytest.fixture(scope="module")
def paths(captured) -> Paths:
    return Paths(captured)


@pytest.fixture
def altered(paths, tmp_path):
    """`altered(statement, ...)`: the paths of a copy whose database has been altered."""

    def altered(*statements: str) -> Paths:
        copy = Paths(tmp_path / "copy")
        copy.root.mkdir()
        shutil.copytree(paths.lake, copy.lake)
        shutil.copyfile(paths.database, copy.database)
        with closing(duckdb.connect(str(copy.database))) as connection:
            for statement in statements:
                connection.execute(statement)
        return copy

    return altered


def test_the_table_is_the_mart(paths):
    with connect(paths) as connection:
        rows = connection.sql(
            "select policy, slots, sum(hits) / sum(accesses) from fct_expert_cache group by all"
        ).fetchall()
    rates = {(policy, str(slots)): f"{rate:.1%}" for policy, slots, rate in rows}
    lines = [line.split() for line in cache_text(None, paths).splitlines()]
    (header,) = (line for line in lines if line[:2] == ["slots", "a"])
    policies = header[4:-1]
    assert set(policies) == set(POLICIES) - {"static_prompt"}
    found = {
        (policy, line[0]): rate
        for line in lines
        if re.fullmatch(r"\d+", "".join(line[:1])) and len(line) == len(policies) + 4
        for policy, rate in zip(policies, line[3:-1])
    }
    assert found == rates


def test_memory_is_that_of_the_experts(paths):
    with connect(paths) as connection:
        ((all_bytes,),) = connection.sql(
            "select sum(expert_bytes * num_experts) from dim_layer"
        ).fetchall()
    whole = all_bytes / 1e9
    half = cache_text(None, paths, gigabytes=whole / 2)
    assert half == cache_text(None, paths, slots=2)
    for more in (10 * whole, 1e308):
        assert cache_text(None, paths, gigabytes=more) == cache_text(None, paths, slots=4)
    assert "every expert is loaded, and a cache has nothing to choose" in cache_text(
        None, paths, slots=4
    )


def test_one_policy_is_shown_alone(paths):
    text = cache_text(None, paths, policy="lfu")
    (header,) = (line for line in text.splitlines() if line.endswith("chance"))
    assert header.split()[-2:] == ["lfu", "chance"]
    assert "belady" not in header


def test_where_nothing_beats_chance_there_is_no_hot_set(altered):
    home = altered("update fct_expert_cache_sample set hits = accesses * slots // 5")
    text = cache_text(None, home, slots=2)
    assert "No exploitable hot set at 2 slots a layer" in text
    assert "a cache filled at random 50.0%" in text


def test_what_beats_chance_is_named_with_its_interval(altered):
    home = altered(
        MORE_DOCUMENTS,
        "update fct_expert_cache_sample set hits = accesses * slots // 5",
        "update fct_expert_cache_sample set hits = accesses * 8 // 10 "
        "where policy = 'lfu' and slots = 2",
    )
    text = cache_text(None, home)
    assert re.search(
        r"At 2 slots a layer \(.* MB\) take least often used \(lfu\): it finds (79|80)\..% "
        r"\(95% (79|80)\..% to (79|80)\..%\)",
        text,
    )
    assert "Within the interval as good" not in text


def test_policies_that_are_as_good_are_named(altered):
    home = altered(
        MORE_DOCUMENTS,
        "update fct_expert_cache_sample set hits = accesses * 8 // 10 "
        "where policy in ('lfu', 'lru') and slots = 2",
    )
    assert "Within the interval as good: l" in cache_text(None, home)


def test_the_working_set_is_where_lru_begins_to_hit(altered):
    home = altered(
        "update fct_shared_expert_cache set hits = 0, hit_rate = 0 where slots < 7",
        "update fct_shared_expert_cache set hits = accesses * 3 // 4, hit_rate = 0.75 "
        "where slots between 7 and 8",
    )
    text = cache_text(None, home)
    assert "needs 7 of 12 slots" in text
    never = "update fct_shared_expert_cache set hits = 0, hit_rate = 0"
    with closing(duckdb.connect(str(home.database))) as connection:
        connection.execute(never)
    assert "finds less than one filled at random at every size" in cache_text(None, home)


@pytest.mark.parametrize(
    ("options", "statement", "line"),
    [
        ({"slots": 1, "gigabytes": 1.0}, None, "give --gb or --slots, not both"),
        ({"policy": "fifo"}, None, r"no policy is called 'fifo': name one of lru, lfu, "),
        ({"slots": 5}, None, r"a layer of \S+ has 4 experts: give --slots 1 to 4"),
        ({"policy": "static_prompt"}, None, r"\S+ has no generated text, which is what"),
        ({"gigabytes": float("nan")}, None, "--gb nan: give a number of gigabytes, such as 8"),
        ({"gigabytes": float("inf")}, None, "--gb inf: give a number of gigabytes, such as 8"),
        ({"gigabytes": -1.0}, None, "--gb -1.0: give a number of gigabytes, such as 8"),
        (
            {"policy": "static_train"},
            "delete from fct_expert_cache_sample where policy = 'static_train'",
            r"\S+ has no train split beside other text, .*: name another policy",
        ),
        ({"gigabytes": 1e-9}, None, r"1e-09 GB hold less than one expert .* give --gb \S+ or more"),
        (
            {"gigabytes": 1.0},
            "update dim_layer set expert_bytes = null",
            r"\S+ does not tell how large its experts are: give --slots, up to 4 a layer",
        ),
        ({}, "delete from fct_expert_cache_sample", r"\S+ has no events, only counts of experts: "),
    ],
)
def test_what_cannot_be_answered_is_one_line_with_a_way_out(
    paths, altered, options, statement, line
):
    home = altered(statement) if statement else paths
    with pytest.raises(GatehouseError, match=line) as refused:
        cache_text(None, home, **options)
    if found := re.search(r"--gb (\S+) or more", str(refused.value)):
        assert cache_text(None, home, gigabytes=float(found[1]) * 1.01)


def test_without_its_experts_bytes_a_run_has_its_curve(altered):
    text = cache_text(None, altered("update dim_layer set expert_bytes = null"))
    assert "how large an expert is, the run does not tell" in text
    assert " MB" not in text and "a token then loads" in text


def test_a_run_is_named_by_its_id(paths):
    (run_id,) = Lake(paths.lake).runs()
    assert cache_text(run_id, paths) == cache_text(None, paths)
