"""The project as a whole: what it shows, what it documents, that its SQL examples hold."""

import json
import re
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from gatehouse.reports.figures.gallery import FIGURES, RUN_FIGURES
from gatehouse.reports.page.charts import GROUPS
from gatehouse.reports.page.sections.lineage import COLUMNS
from gatehouse.warehouse.paths import DBT_PROJECT, Paths
from tests.dbt_project.conftest import COUNTED, FINISHED, MARTS


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
def marts(artifacts) -> list[str]:
    """Unique ids of the marts."""
    return [
        node["unique_id"]
        for node in artifacts["manifest"]["nodes"].values()
        if node["resource_type"] == "model" and "marts" in node["fqn"]
    ]


def test_whatever_computes_has_a_unit_test(artifacts):
    """The build that these tests start from fails if a unit test does."""
    tested = {test["model"] for test in artifacts["manifest"]["unit_tests"].values()}
    models = {node.split(".")[-1] for node in artifacts["catalog"]["nodes"]}
    computing = {name for name in models if name.startswith(("int_", "fct_"))}
    assert computing - {"int_compared_event", "int_traced_event"} == tested


def test_what_reads_events_is_layered_so_that_workers_can_share_it(artifacts):
    """Whatever is not would be left to one process, however many workers there are."""
    nodes = artifacts["manifest"]["nodes"].values()
    reading = {
        node["name"]: node["config"]["materialized"]
        for node in nodes
        if node["resource_type"] == "model"
        and any(each.endswith(("_event", "_events")) for each in node["depends_on"]["nodes"])
    }
    layered = {name for name, kind in reading.items() if kind == "layered"}
    page = (DBT_PROJECT.parent / "docs" / "scaling.md").read_text(encoding="utf-8")
    assert re.findall(r"the (\d+) tables that are computed layer by layer", page) == [
        str(len(layered))
    ]
    assert reading.keys() - layered == {
        # of one layer, which all layers need
        "int_bigram_position",
        "int_traced_sample",
        # of some thousands of tokens of all layers
        "int_shared_cache_use",
        # of what two runs route differently
        "fct_run_mismatch",
    }


def test_the_documentation_is_one_page_that_names_every_mart(built, marts):
    page = (built.target / "static_index.html").read_text()
    assert "Gatehouse is an analytics warehouse" in page
    assert {mart.split(".")[-1] for mart in marts} == MARTS
    assert all(mart.split(".")[-1] in page for mart in marts)


def test_every_column_of_every_relation_is_documented(artifacts):
    nodes = artifacts["catalog"]["nodes"]
    assert len(nodes) >= 40
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


def test_every_mart_is_contracted_and_has_a_primary_key(artifacts, marts):
    nodes = artifacts["manifest"]["nodes"]
    tests = [node for node in nodes.values() if node["resource_type"] == "test"]
    for mart in marts:
        assert nodes[mart]["contract"]["enforced"], mart
        names = [
            test["test_metadata"]["name"] for test in tests if test.get("attached_node") == mart
        ]
        assert "primary_key" in names, mart


def test_every_figure_has_its_lineage(artifacts):
    exposures = {
        exposure["name"]: exposure["depends_on"]["nodes"]
        for exposure in artifacts["manifest"]["exposures"].values()
    }
    assert set(exposures) == {
        *FIGURES,
        *RUN_FIGURES,
        "validation_report",
        "cache_command",
        "replay_command",
        "placement_command",
        "report_page",
        "comparison_page",
        "trend_page",
    }
    for name in (*FIGURES, "validation_report", "report_page"):
        assert "model.gatehouse.fct_token_routing" in exposures[name]
    for name in RUN_FIGURES:
        # captions count layers and tokens
        assert "model.gatehouse.fct_layer_routing" in exposures[name]
        assert "model.gatehouse.fct_frequency_rank" in exposures[name]


def test_pages_and_lineage_link_to_what_is_there(artifacts):
    """Every column that the report names, and every section that an exposure does."""
    nodes = artifacts["catalog"]["nodes"]
    for names in COLUMNS.values():
        for table, column in (name.split(".") for name in names):
            assert column in nodes[f"model.gatehouse.{table}"]["columns"], (table, column)
    exposures = artifacts["manifest"]["exposures"].values()
    sections = {each["name"]: each["meta"].get("section") for each in exposures}
    of_several = {each["name"]: each["meta"].get("page") for each in exposures}
    paths = Paths(Path("/home"))
    pages = {
        "comparison_page": [paths.comparison(["a", "b"]), paths.comparison(["a", "b", "c"])],
        "trend_page": [paths.trend("0123")],
    }
    for name, section in sections.items():
        assert bool(section) != bool(of_several[name]), name
    for name, written in pages.items():
        assert all(page.match(of_several[name]) for page in written)
        others = [page for each in pages if each != name for page in pages[each]]
        assert not any(page.match(of_several[name]) for page in others)
    charts = {chart.stem for group in GROUPS for chart in group.charts}
    of_figures = {sections[name] for name in (*FIGURES, *RUN_FIGURES)}
    assert of_figures <= charts | {"replay-cost"}
    assert set(sections.values()) - of_figures == {None, "verdict", "main"}


def test_a_build_in_one_process_lets_go_of_the_database(built):
    """The file can be opened with other settings at once: dbt keeps no connection."""
    with closing(duckdb.connect(str(built.database), config={"access_mode": "READ_ONLY"})) as one:
        assert one.execute("select count(*) from dim_run").fetchall() == [
            (len(FINISHED + COUNTED),)
        ]


def test_a_run_that_finishes_during_a_build_waits_for_the_next(built):
    """Views and tables agree on the runs: the list is fixed when a build starts."""
    record = built.lake.run_record("unfinished")
    built.lake.update_run("unfinished", record | {"finished_at": record["started_at"]})
    try:
        with closing(duckdb.connect(str(built.database), read_only=True)) as connection:
            query = "select distinct run_id from samples order by run_id"
            found = [run_id for (run_id,) in connection.execute(query).fetchall()]
        assert found == FINISHED
    finally:
        built.lake.update_run("unfinished", record)
