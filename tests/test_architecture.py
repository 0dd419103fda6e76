"""The direction of dependencies, the weight of imports, and what may not appear at all."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGES = ("warehouse", "ingest", "models", "reports", "flows")
MAY_IMPORT = {
    "warehouse": {"warehouse"},
    "ingest": {"ingest", "warehouse"},
    "models": {"models", "warehouse"},
    "reports": {"reports", "warehouse"},
    "flows": set(PACKAGES),
}
WAREHOUSE_LIBRARIES = {"pyarrow", "duckdb"}
SOURCES = [path for package in PACKAGES for path in sorted((CHECKOUT / package).rglob("*.py"))]


def imported(path: Path, *, module_level: bool = False) -> set[str]:
    """Return the top-level names of the modules that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if module_level else ast.walk(tree)
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names.add((node.module or "").partition(".")[0])
    return names


def test_the_sources_are_found():
    assert {path.relative_to(CHECKOUT).parts[0] for path in SOURCES} == set(PACKAGES)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_imports_follow_the_design(path):
    package = path.relative_to(CHECKOUT).parts[0]
    assert imported(path) & set(PACKAGES) <= MAY_IMPORT[package]
    if package == "warehouse":
        foreign = imported(path) - sys.stdlib_module_names - set(PACKAGES)
        assert foreign <= WAREHOUSE_LIBRARIES
    if package != "models":
        assert not imported(path, module_level=True) & {"torch", "transformers"}
    assert not imported(path) & {"pickle", "joblib", "dill"}


def test_the_help_imports_nothing_heavy():
    heavy = {"torch", "transformers", "prefect", "dbt", "pandas", "numpy", "pyarrow", "duckdb"}
    code = f"import gatehouse.flows.cli.app, sys; print(sorted({heavy} & set(sys.modules)))"
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, check=True
    )
    assert printed.stdout.strip() == "[]"


def test_the_dbt_project_has_no_python():
    assert not list((CHECKOUT / "dbt_project").rglob("*.py"))


def test_the_top_level_is_the_agreed_one():
    tracked = subprocess.run(
        ["git", "ls-files"], capture_output=True, text=True, cwd=CHECKOUT, check=True
    ).stdout.splitlines()
    folders = {name.partition("/")[0] for name in tracked if "/" in name}
    assert folders <= {*PACKAGES, "dbt_project", "tests", "docs", ".ci"}


def test_the_coverage_grid_is_the_same_in_sql_and_python():
    import yaml

    from gatehouse.reports.statistics import ENTROPY_THRESHOLDS, FREQUENCY_THRESHOLDS

    project = yaml.safe_load((CHECKOUT / "dbt_project" / "dbt_project.yml").read_text())
    assert tuple(project["vars"]["frequency_thresholds"]) == FREQUENCY_THRESHOLDS
    assert tuple(project["vars"]["entropy_thresholds"]) == ENTROPY_THRESHOLDS
