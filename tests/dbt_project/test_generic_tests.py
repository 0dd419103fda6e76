"""The project's generic tests, over literal tables in a project of their own."""

import json
import shutil

import pytest

from gatehouse.warehouse.paths import DBT_PROJECT

PAIRS = {
    "unique_pairs": "(1, 'a'), (1, 'b'), (2, 'a')",
    "repeated_pair": "(1, 'a'), (1, 'a'), (1, 'a'), (2, 'a')",
    "null_in_pair": "(1, 'a'), (1, null), (null, 'b'), (2, 'b')",
    "distant_pairs": "(0, 'a'), (63, 'a'), (64, 'a'), (127, 'a'), (127, 'b')",
    "repeated_distant_pair": "(0, 'a'), (64, 'a'), (64, 'a'), (127, 'b'), (null, 'b')",
    "stray_pair": "(1, 'a'), (2, 'b'), (2, 'b')",
    "no_pairs": "(1, 'a') limit 0",
}
FACTS = {
    "told_layers": "('a', 0, true), ('a', 1, false)",
    "right_or_null": "('a', 0, 1), ('a', 0, 2), ('a', 1, null)",
    "guessed_value": "('a', 0, 1), ('a', 1, null), ('a', 1, 0)",
    "lost_value": "('a', 0, 1), ('a', 0, null), ('a', 1, null)",
}
KEYS = {"columns": ["number", "letter"]}
REFERENCES = KEYS | {"to": "ref('unique_pairs')"}
FEW = {"columns": ["letter", "number"], "few": "number"}
POSITIVE = {"expressions": ["number > 0", "letter in ('a', 'b')"]}
AT_MOST_ONE = {"expressions": ["number > 0", "number < 2"]}
UNKNOWN = {"layers": "ref('told_layers')", "known": [["is_told", ["value"]]]}
LOSING = UNKNOWN | {"or_null": ["value"]}

# (generic test, table, arguments): number of failing rows
CASES = {
    ("primary_key", "unique_pairs", json.dumps(KEYS)): 0,
    ("primary_key", "no_pairs", json.dumps(KEYS)): 0,
    ("primary_key", "repeated_pair", json.dumps(KEYS)): 1,
    ("primary_key", "null_in_pair", json.dumps(KEYS)): 2,
    ("primary_key", "unique_pairs", json.dumps({"columns": ["number"]})): 1,
    ("primary_key", "unique_pairs", json.dumps(FEW)): 0,
    ("primary_key", "no_pairs", json.dumps(FEW)): 0,
    ("primary_key", "repeated_pair", json.dumps(FEW)): 1,
    ("primary_key", "null_in_pair", json.dumps(FEW)): 2,
    ("primary_key", "distant_pairs", json.dumps(FEW)): 0,
    ("primary_key", "repeated_distant_pair", json.dumps(FEW)): 2,
    ("foreign_key", "repeated_pair", json.dumps(REFERENCES)): 0,
    ("foreign_key", "no_pairs", json.dumps(REFERENCES)): 0,
    ("foreign_key", "stray_pair", json.dumps(REFERENCES)): 1,
    ("foreign_key", "null_in_pair", json.dumps(REFERENCES)): 3,
    ("holds", "unique_pairs", json.dumps(POSITIVE)): 0,
    ("holds", "no_pairs", json.dumps(AT_MOST_ONE)): 0,
    ("holds", "unique_pairs", json.dumps(AT_MOST_ONE)): 1,
    ("holds", "null_in_pair", json.dumps(POSITIVE)): 2,
    ("null_where_unknown", "right_or_null", json.dumps(UNKNOWN)): 0,
    ("null_where_unknown", "guessed_value", json.dumps(UNKNOWN)): 1,
    ("null_where_unknown", "lost_value", json.dumps(UNKNOWN)): 1,
    ("null_where_unknown", "lost_value", json.dumps(LOSING)): 0,
}


@pytest.fixture(scope="module")
def failures(tmp_path_factory, make_project) -> dict[str, int]:
    """Name of a case -> number of rows that fail its test."""
    folder = tmp_path_factory.mktemp("generic")
    shutil.copytree(DBT_PROJECT / "tests" / "generic", folder / "tests" / "generic")
    (folder / "models").mkdir()
    (folder / "dbt_project.yml").write_text(
        "{name: generic, profile: gatehouse, flags: {send_anonymous_usage_stats: false}}"
    )
    columns = dict.fromkeys(PAIRS, "number, letter") | dict.fromkeys(FACTS, "run_id, layer, value")
    columns["told_layers"] = "run_id, layer, is_told"
    for name, values in (PAIRS | FACTS).items():
        query = f"select * from (values {values}) as literal({columns[name]})"  # noqa: S608
        (folder / "models" / f"{name}.sql").write_text(query)
    models = [{"name": name, "data_tests": []} for name in columns]
    for number, (test, table, arguments) in enumerate(CASES):
        called = {"name": f"case_{number}", "arguments": json.loads(arguments)}
        next(model for model in models if model["name"] == table)["data_tests"].append(
            {test: called}
        )
    (folder / "models" / "models.yml").write_text(json.dumps({"version": 2, "models": models}))
    project = make_project(folder, folder)
    outcome = project.dbt("build")
    return {node.node.name: node.failures for node in outcome.result}


@pytest.mark.parametrize("number", range(len(CASES)))
def test_failing_rows_are_counted(failures, number):
    assert failures[f"case_{number}"] == list(CASES.values())[number]
