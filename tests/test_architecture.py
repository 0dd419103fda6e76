"""The direction of dependencies, the weight of imports, and what may not appear at all."""

import ast
import math
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from tests.tools.layers import layers, modules, rooms

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGES = ("warehouse", "ingest", "models", "reports", "flows")
MAY_IMPORT = {
    "warehouse": {"warehouse"},
    "ingest": {"ingest", "warehouse"},
    "models": {"models", "warehouse"},
    "reports": {"reports", "warehouse"},
    "flows": set(PACKAGES),
}
ROOMS = {
    "reports": {
        "backend": set(),
        "colours": set(),
        "marts": set(),
        "statistics": {"backend"},
        "inference": set(),
        "verdict": {"marts", "statistics"},
        "figures": {"backend", "colours", "inference", "marts", "statistics", "verdict"},
        "page": {"colours", "inference", "marts", "statistics", "verdict"},
        "exports": {"marts"},
        "results": {"figures", "inference", "marts", "page", "statistics", "verdict"},
    },
    "flows": {
        "console": set(),
        "request": set(),
        "process": set(),
        "prefect_settings": set(),
        "prefect_database": set(),
        "prefect_server": {"console", "prefect_database", "prefect_settings", "process"},
        "sql": {"console", "process"},
        "steps": {"console", "process", "request"},
        "sizing": {"console", "request", "steps"},
        "trace": {"console", "request", "steps"},
        "upkeep": {"console", "request", "steps"},
        "watched": {"console", "prefect_settings", "steps"},
        "pipeline": {"console", "request", "steps", "watched"},
        "imports": {"console", "pipeline", "request", "steps"},
        "scheduled": {"console", "pipeline", "request", "steps", "upkeep", "watched"},
        "service": {"console", "prefect_database", "prefect_settings", "process", "watched"},
        "replay": {"console", "pipeline", "request", "steps"},
        "prefect_run": {
            "console",
            "pipeline",
            "prefect_server",
            "prefect_settings",
            "request",
            "steps",
        },
        "fill_cache": {"prefect_database", "prefect_settings", "steps"},
        "cli": {
            "console",
            "prefect_run",
            "process",
            "replay",
            "request",
            "service",
            "sizing",
            "sql",
            "steps",
            "trace",
            "upkeep",
        },
    },
}
"""Each folder or lone file of a package, and what it may import of its package."""

MOST_FILES = 20
"""More in one folder are a drawer, not a room."""

WAREHOUSE_LIBRARIES = {"pyarrow", "duckdb", "platformdirs", "fsspec"}
SOURCES = [path for package in PACKAGES for path in sorted((CHECKOUT / package).rglob("*.py"))]


def imported(path: Path, *, module_level: bool = False) -> set[str]:
    """Return what a file imports: packages of Gatehouse, and top-level names of others."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = set()
    for node in tree.body if module_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("gatehouse.").partition(".")[0] for name in names}


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


PRINTS = {
    "flows/console.py": "answers: escaped",
    "flows/cli/app.py": "the line of an error: escaped",
    "flows/cli/options.py": "the version",
    "flows/sql/shell.py": "errors, which are escaped, and fixed words",
    "models/demo/train.py": "a program of its own",
    "flows/steps/drawing.py": "JSON, to the process that asked",
    "flows/steps/workers/serving.py": "one word, to the process that asked",
}
"""Files that print by themselves. What came from outside goes through `console.answer` or `say`."""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_there_is_one_way_to_print_text_from_outside(path):
    calls = [node.func for node in ast.walk(ast.parse(path.read_bytes())) if hasattr(node, "func")]
    printing = {ast.unparse(call) for call in calls} & {
        "print",
        "typer.echo",
        "sys.stdout.write",
        "sys.stderr.write",
    }
    assert not printing or str(path.relative_to(CHECKOUT)) in PRINTS


def test_the_help_imports_nothing_heavy():
    heavy = {"torch", "transformers", "prefect", "dbt", "pandas", "numpy", "pyarrow", "duckdb"}
    code = f"import gatehouse.flows.cli.app, sys; print(sorted({heavy} & set(sys.modules)))"
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, check=True
    )
    assert printed.stdout.strip() == "[]"


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_import_each_other_one_way(package):
    found = rooms(package)
    assert found.keys() == ROOMS[package].keys()
    for room, imports in found.items():
        assert imports <= ROOMS[package][room], room
    assert layers(found)
    # and no two modules, wherever they are
    assert layers(modules(package))


def told_rooms(package: str) -> dict[str, set[str]]:
    """Each room of a package, and what docs/architecture.md says that it may import."""
    page = (CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8")
    _, _, table = page.partition(f"| room of `{package}/` |")
    found: dict[str, set[str]] = {}
    for row in table.partition("\n\n")[0].splitlines()[2:]:
        rooms_of_row, may_import = row.strip("| ").split(" | ")
        common, _, further = may_import.partition("; ")
        named = set(re.findall(r"`(\w+)`", common))
        for room in re.findall(r"`(\w+)`", rooms_of_row):
            others = ROOMS[package].keys() - {room}
            found[room] = others - named if common.startswith("all but") else set(named)
        for room, *also in [re.findall(r"`(\w+)`", further)] if further else []:
            found[room] |= set(also)
    return found


@pytest.mark.parametrize("package", ROOMS)
def test_the_page_on_architecture_tells_the_same(package):
    assert told_rooms(package) == ROOMS[package]


def test_no_folder_is_a_drawer():
    folders = Counter(path.parent for path in SOURCES)
    assert {folder: count for folder, count in folders.items() if count > MOST_FILES} == {}


def test_every_package_is_installed():
    """The wheel has what the checkout has: setuptools is given the packages by name."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = project["tool"]["setuptools"]["packages"]
    found = {path.parent.relative_to(CHECKOUT).as_posix() for path in SOURCES}
    assert sorted(listed) == sorted(
        {"gatehouse", *("gatehouse." + folder.replace("/", ".") for folder in found)}
    )


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

    from gatehouse.reports.statistics import FREQUENCY_THRESHOLDS, entropy_thresholds

    project = yaml.safe_load((CHECKOUT / "dbt_project" / "dbt_project.yml").read_text())
    assert tuple(project["vars"]["frequency_thresholds"]) == FREQUENCY_THRESHOLDS
    assert tuple(project["vars"]["entropy_thresholds"]) == entropy_thresholds(math.inf)
