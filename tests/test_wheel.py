"""What is installed is one package, and it works beside a user's modules of the same names."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT

USERS = {
    "reports.py": "MINE = True\n",
    "models/__init__.py": "MINE = True\n",
    "mine.py": "import gatehouse, models, reports\n"
    "assert models.MINE and reports.MINE\n"
    "print(gatehouse.connect().sql('select count(*) from dim_run').fetchall()[0][0], 'run')\n",
}
"""A user's own modules, in the folder where the commands run."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment elsewhere that holds the wheel; its dependencies are those of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in tracked:
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, folder / "source" / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    built = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*pip, *built, str(folder / "source")], check=True)
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    (packages,) = (environment / "lib").glob("python*/site-packages")
    # a folder on the path brings its packages, but not what its .pth files say: no checkout
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (wheel,) = folder.glob("*.whl")
    into = ["--python", str(environment / "bin" / "python"), "install", "--no-deps", str(wheel)]
    subprocess.run([*pip, *into], check=True)
    shutil.rmtree(folder / "source")
    return environment


def test_the_demo_runs_from_the_wheel_beside_modules_of_the_same_names(installed, tmp_path):
    for name, content in USERS.items():
        (tmp_path / "work" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "work" / name).write_text(content)
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GATEHOUSE_", "PYTHON", "PREFECT_"))
    }
    environment |= {"XDG_DATA_HOME": str(tmp_path / "data"), "HOME": str(tmp_path)}
    environment |= {"GATEHOUSE_CACHE": os.environ["GATEHOUSE_CACHE"]}
    before = files_of(installed)

    def run(*words: str) -> str:
        done = subprocess.run(
            [installed / "bin" / words[0], *words[1:]],
            cwd=tmp_path / "work",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    printed = run("gatehouse", "run", "--num-samples", "60", "--batch-size", "16")
    home = tmp_path / "data" / "gatehouse"
    page = Path(printed.strip().rpartition("Report: ")[2])
    assert page.is_relative_to(home) and page.name == "report.html" and page.stat().st_size > 0
    assert len(list(page.with_name("figures").glob("*.pdf"))) == 14
    assert run("python", "mine.py") == "1 run\n"
    assert "how_balanced_are_the_experts" in run("gatehouse", "sql", "--examples")
    assert files_of(installed) == before
    assert {each.name for each in (tmp_path / "work").iterdir()} - {"__pycache__"} == {
        "mine.py",
        "models",
        "reports.py",
    }


def test_the_wheel_brings_no_module_of_another_name(installed):
    (packages,) = (installed / "lib").glob("python*/site-packages")
    names = {each.name for each in packages.iterdir()}
    assert {name for name in names if not name.startswith("gatehouse-")} == {
        "gatehouse",
        "dependencies.pth",
    }
    lacking = {"tests", "docs", "pyproject.toml", "Makefile"}
    assert not lacking & {each.name for each in (packages / "gatehouse").iterdir()}


def files_of(folder: Path) -> dict[str, int]:
    """Return the size of every file under a folder by its path, but for bytecode."""
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
