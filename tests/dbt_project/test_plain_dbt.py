"""dbt by itself, without what `gatehouse build` tells it: where it works, and what it says."""

import jinja2
import pytest
import yaml

from gatehouse.flows.steps.dbt_runs import project_files, run_dbt
from gatehouse.warehouse.paths import DBT_PROJECT, default_home

PROFILE = yaml.safe_load((DBT_PROJECT / "profiles.yml").read_text(encoding="utf-8"))
DATABASE = PROFILE["gatehouse"]["outputs"]["duckdb"]["path"]


def database(**environment: str) -> str:
    return jinja2.Template(DATABASE).render(env_var=environment.get)


def test_the_database_is_that_of_the_home():
    default = (DBT_PROJECT / database()).resolve()
    assert default == default_home() / "gatehouse.duckdb"
    assert default.parent.is_dir(), "DuckDB makes a file and no folder"
    assert database(GATEHOUSE_HOME="/h") == "/h/gatehouse.duckdb"
    assert database(GATEHOUSE_HOME="/h", GATEHOUSE_DATABASE="/b/x.duckdb") == "/b/x.duckdb"


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """A home of which dbt knows the database only."""
    monkeypatch.delenv("GATEHOUSE_LAKE", raising=False)
    monkeypatch.setenv("GATEHOUSE_DATABASE", str(tmp_path / "it's [a] home" / "gatehouse.duckdb"))
    (tmp_path / "it's [a] home").mkdir()
    return tmp_path


def test_without_a_run_it_says_what_makes_one(alone):
    outcome = run_dbt(["build", "--select", "stg_build"], alone / "target")
    assert not outcome.success
    message = str(outcome.exception)
    assert (
        f"there is no run in {alone}/it's [a] home/lake" in message and "gatehouse run" in message
    )


def test_the_lake_is_beside_the_database(alone):
    record = alone / "it's [a] home" / "lake" / "runs" / "run_id=a" / "runs.parquet"
    record.parent.mkdir(parents=True)
    events = record.parents[2] / "events" / "run_id=a" / "shard-00000.parquet"
    events.parent.mkdir(parents=True)
    for path in (record, events):
        path.write_bytes(b"only its name is looked at")
    assert run_dbt(["build", "--select", "stg_build"], alone / "target").success
    outcome = run_dbt(["compile", "--select", "stg_events"], alone / "target")
    assert "it''s [a] home/lake'" in outcome.result.results[0].node.compiled_code


def test_what_dbt_writes_into_the_project_is_not_part_of_it(tmp_path):
    for name in ("models/one.sql", "target/compiled/one.sql", "logs/x.yml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("select 1")
    # dbt names folders of compiled tests after the file that declares them
    (tmp_path / "target" / "compiled" / "one.yml").mkdir()
    assert project_files(tmp_path) == [tmp_path / "models" / "one.sql"]
