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
KEYS = {"columns": ["number", "letter"]}
REFERENCES = KEYS | {"to": "ref('unique_pairs')"}
FEW = {"columns": ["letter", "number"], "few": "number"}
POSITIVE = {"expressions": ["number > 0", "letter in ('a', 'b')"]}
AT_MOST_ONE = {"expressions": ["number > 0", "number < 2"]}

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
    for name, values in PAIRS.items():
        query = f"select * from (values {values}) as pairs(number, letter)"  # noqa: S608
        (folder / "models" / f"{name}.sql").write_text(query)
    models = [{"name": name, "data_tests": []} for name in PAIRS]
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
