"""The project as a whole: what it shows, what it documents, that its SQL examples hold."""

import json
from contextlib import closing

import duckdb
import pytest


@pytest.fixture(scope="module")
def artifacts(built) -> dict[str, dict]:
    """dbt's manifest and catalog, as `docs generate --static` leaves them."""
    outcome = built.dbt("docs", "generate", "--static")
    assert outcome.success, outcome.exception
    return {
        name: json.loads((built.target / f"{name}.json").read_text())
        for name in ("manifest", "catalog")
    }


@pytest.fixture(scope="module")
def unit_tests(built) -> dict[str, str]:
    """Unit test -> its status, over the built relations."""
    outcome = built.dbt("test", "--select", "test_type:unit")
    return {node.node.name: node.status for node in outcome.result}


def test_unit_tests_pass(unit_tests):
    assert len(unit_tests) >= 5
    assert set(unit_tests.values()) == {"pass"}


def test_the_documentation_is_one_page_that_names_every_mart(built, artifacts):
    page = (built.target / "static_index.html").read_text()
    assert "Gatehouse is an analytics warehouse" in page
    marts = [name for name in artifacts["catalog"]["nodes"] if ".fct_" in name or ".dim_" in name]
    assert len(marts) == 8
    assert all(name in page for name in marts)


def test_every_column_of_every_relation_is_documented(artifacts):
    nodes = artifacts["catalog"]["nodes"]
    assert len(nodes) >= 14
    for name, found in nodes.items():
        model = artifacts["manifest"]["nodes"][name]
        assert model["description"].startswith("One row per"), name
        assert set(model["columns"]) == set(found["columns"]), name
        assert all(column["description"].strip() for column in model["columns"].values()), name


def test_descriptions_are_in_the_database(built):
    query = "select comment from duckdb_columns() where table_name = $1 and column_name = $2"
    with closing(duckdb.connect(str(built.database), read_only=True)) as connection:
        found = connection.execute(query, ["fct_token_routing", "mean_entropy"]).fetchall()
    assert "nats" in found[0][0]


def test_every_mart_is_contracted_and_has_a_primary_key(artifacts):
    manifest = artifacts["manifest"]["nodes"].values()
    tests = [node for node in manifest if node["resource_type"] == "test"]
    marts = [
        node["unique_id"]
        for node in manifest
        if node["resource_type"] == "model" and "marts" in node["fqn"]
    ]
    assert len(marts) == 8
    for mart in marts:
        assert artifacts["manifest"]["nodes"][mart]["contract"]["enforced"], mart
        names = [
            test["test_metadata"]["name"] for test in tests if test.get("attached_node") == mart
        ]
        assert "primary_key" in names, mart


def test_every_figure_has_its_lineage(artifacts):
    exposures = {
        exposure["name"]: exposure["depends_on"]["nodes"]
        for exposure in artifacts["manifest"]["exposures"].values()
    }
    figures = {
        "frequency_vs_entropy",
        "entropy_distribution",
        "routing_consistency",
        "fastpath_coverage",
    }
    assert set(exposures) == figures | {"validation_report", "report_page"}
    for nodes in exposures.values():
        assert "model.gatehouse.fct_token_routing" in nodes


def test_a_build_in_one_process_lets_go_of_the_database(built):
    """The file can be opened with other settings at once: dbt keeps no connection."""
    with closing(duckdb.connect(str(built.database), config={"access_mode": "READ_ONLY"})) as one:
        assert one.execute("select count(*) from dim_run").fetchall() == [(3,)]


def test_a_run_that_finishes_during_a_build_waits_for_the_next(built):
    """Views and tables agree on the runs: the list is fixed when a build starts."""
    record = built.lake.run_record("unfinished")
    built.lake.update_run("unfinished", record | {"finished_at": record["started_at"]})
    try:
        with closing(duckdb.connect(str(built.database), read_only=True)) as connection:
            query = "select distinct run_id from stg_samples order by run_id"
            assert connection.execute(query).fetchall() == [("0042",), ("flat",), ("wide",)]
    finally:
        built.lake.update_run("unfinished", record)
