"""One parse of the dbt project serves every home and process, and none outlives its project."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import duckdb
import pytest

from gatehouse.flows.steps import dbt_runs
from gatehouse.warehouse import cache
from gatehouse.warehouse.paths import PACKAGE
from tests.conftest import without_prefect
from tests.flows.steps.dbt.small_project import live_in

# whatever parses, fails
ELSEWHERE = """
import sys
from pathlib import Path
from dbt.parser.manifest import ManifestLoader
from gatehouse.flows.steps.dbt_runs import run_dbt

ManifestLoader.get_full_manifest = None
outcome = run_dbt(["compile", "--select", "stg_vocabulary"], Path(sys.argv[1]))
print(outcome.exception or outcome.result.results[0].node.compiled_code)
"""


@pytest.fixture
def parses(monkeypatch) -> list[str]:
    """A list that gains an entry each time that dbt parses."""
    found = []
    invoke = dbt_runs._invoke

    def counted(arguments, manifest=None):
        if manifest is None:
            found.append(arguments[0])
        return invoke(arguments, manifest)

    monkeypatch.setattr(dbt_runs, "_invoke", counted)
    return found


@pytest.fixture
def as_in_a_new_process(monkeypatch) -> Callable[[], None]:
    return lambda: monkeypatch.setattr(dbt_runs, "_parsed", {})


def test_a_second_home_in_another_process_does_not_parse(tmp_path, monkeypatch):
    filled = [sys.executable, "-m", "gatehouse.flows.fill_cache"]
    subprocess.run(filled, env=without_prefect(), cwd=PACKAGE, check=True)
    assert cache.read("prefect", version("prefect"))
    second = tmp_path / "it's [another] $home é"
    live_in(second, monkeypatch)
    ended = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(tmp_path / "elsewhere")],
        cwd=PACKAGE,
        capture_output=True,
        text=True,
    )
    assert str(second / "lake").replace("'", "''") in ended.stdout, ended.stderr


def test_another_process_parses_ahead_and_a_command_waits_for_it(run, parses, small, tmp_path):
    dbt_runs.parse_ahead(tmp_path / "target", small)
    assert len(dbt_runs._ahead) == 1
    assert run("ls").result == ["small.one"] and parses == []
    dbt_runs.parse_ahead(tmp_path / "target", small)
    assert dbt_runs._ahead == []


def test_what_parses_ahead_ends_with_the_process_that_asked_for_it(small, tmp_path):
    asking = (
        "import os, sys; from pathlib import Path; from gatehouse.flows.steps import dbt_runs\n"
        "dbt_runs.parse_ahead(*map(Path, sys.argv[1:]))\n"
        "print(dbt_runs._ahead[0].pid, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    words = [sys.executable, "-c", asking, str(tmp_path / "target"), str(small)]
    asked = subprocess.run(words, capture_output=True, text=True)
    parser = Path("/proc") / asked.stdout.strip()
    assert asked.returncode == -9 and parser.name.isdigit()
    deadline = time.monotonic() + 60
    while parser.exists() and time.monotonic() < deadline:
        select.select([], [], [], 0.05)
    assert not parser.exists()
    assert not list((tmp_path / "cache").rglob("*"))


def test_a_changed_project_is_parsed_anew(run, parses, small):
    assert run("ls").result == run("ls").result == ["small.one"]
    assert parses == ["parse"]
    (small / "models" / "two.sql").write_text("select 2 as two")
    assert run("ls").result == ["small.one", "small.two"]
    (small / "models" / "one.sql").write_text("select 3 as one")
    compiled = {node.node.name: node.node.compiled_code for node in run("compile").result.results}
    assert compiled == {"one": "select 3 as one", "two": "select 2 as two"}
    assert len(parses) == 3


def test_a_damaged_cache_is_as_good_as_none(run, parses, tmp_path, as_in_a_new_process):
    assert run("ls").success
    as_in_a_new_process()
    assert run("ls").success and parses == ["parse"]
    (kept,) = (tmp_path / "cache" / "dbt").iterdir()
    whole = kept.read_bytes()
    for number, damaged in enumerate((b"", whole[:-1], b"x" * 99), 2):
        kept.write_bytes(damaged)
        as_in_a_new_process()
        assert run("ls").result == ["small.one"] and len(parses) == number
        # the next process finds it mended
        as_in_a_new_process()
        assert run("ls").success and len(parses) == number


@pytest.mark.parametrize("kind", ["a file", "read-only"])
def test_a_cache_that_cannot_be_written_is_no_error(run, parses, tmp_path, kind):
    cache = tmp_path / "cache"
    if kind == "a file":
        cache.write_text("")
    else:
        cache.mkdir(mode=0o555)
    assert run("ls").result == ["small.one"]
    assert run("ls").success and parses == ["parse"]


def test_a_project_that_does_not_parse_says_why(run, small):
    (small / "models" / "one.sql").write_text("select * from {{ ref('nothing') }}")
    outcome = run("build")
    assert not outcome.success and "nothing" in str(outcome.exception)


def test_the_database_is_let_go_of_after_a_failure_too(run, small):
    table = "{{ config(materialized='table') }} select 'two'::integer as two from {{ ref('one') }}"
    (small / "models" / "two.sql").write_text(table)
    assert not run("build").success
    database = os.environ["GATEHOUSE_DATABASE"]
    # within a process, DuckDB refuses other settings for a file that is open
    with closing(duckdb.connect(database, config={"access_mode": "READ_ONLY"})) as connection:
        assert connection.execute("select * from one").fetchall() == [(1,)]
    assert not Path(f"{database}.wal").exists()


def test_settings_of_the_users_own_dbt_project_do_not_reach_in(run, monkeypatch):
    users = {
        "DBT_TARGET": "prod",
        "DBT_PROFILE": "analytics",
        "DBT_PROFILES_DIR": "/nowhere",
        "DBT_DEFER": "true",
        "DBT_WARN_ERROR": "maybe",
        "DBT_VARS": "no: [yaml",
        "DBT_ENGINE_FULL_REFRESH": "true",
    }
    for name, value in users.items():
        monkeypatch.setenv(name, value)
    assert run("ls").result == ["small.one"]
    assert users.items() <= dict(os.environ).items()
