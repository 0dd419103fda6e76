"""What is installed is one package; its demo does what the README says, wherever it runs."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from tests.conftest import CHECKOUT

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
MARKER = "swordfish-0123456789"
"""A secret that must not appear anywhere."""

USERS = {
    "reports.py": "MINE = True\n",
    "models/__init__.py": "MINE = True\n",
    "uvicorn.py": "raise ImportError('a module of the user')\n",
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


@dataclass(frozen=True)
class Demo:
    """What the demo of the installed wheel printed, and where it ran."""

    out: str
    said: str
    folder: Path
    home: Path
    environment: dict[str, str]
    installed: Path

    def run(self, *words: str) -> tuple[str, str]:
        """Run a program of the environment in the user's folder; return what it printed."""
        done = subprocess.run(
            [self.installed / "bin" / words[0], *words[1:]],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr


@pytest.fixture(scope="module")
def demo(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """A small demo from the wheel, by itself, with secrets and a dead proxy in the environment."""
    folder = tmp_path_factory.mktemp("user")
    for name, content in USERS.items():
        (folder / "work" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "work" / name).write_text(content)
    of_tests = ("GATEHOUSE_", "PYTHON", "PREFECT", "DO_NOT_TRACK", "TELEMETRY")
    environment = {
        name: value
        for name, value in os.environ.items()
        if not any(word in name for word in of_tests)
    }
    environment |= {"XDG_DATA_HOME": str(folder / "data"), "HOME": str(folder)}
    environment |= {"GATEHOUSE_CACHE": os.environ["GATEHOUSE_CACHE"]}
    # nobody listens there
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    environment |= dict.fromkeys(proxies, "http://127.0.0.1:9")
    environment |= dict.fromkeys(("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "PREFECT_API_KEY"), MARKER)
    home = folder / "data" / "gatehouse"
    before = files_of(installed)
    empty = Demo("", "", folder / "work", home, environment, installed)
    out, said = empty.run("gatehouse", "run", "--num-samples", "60", "--batch-size", "16")
    assert files_of(installed) == before, "the demo wrote into the environment"
    return replace(empty, out=out, said=said)


def test_the_demo_runs_from_the_wheel_beside_modules_of_the_same_names(demo):
    page = Path(demo.out.strip().rpartition("Report: ")[2])
    assert page.is_relative_to(demo.home) and page.name == "report.html"
    assert page.stat().st_size > 0
    assert len(list(page.with_name("figures").glob("*.pdf"))) == 18
    assert demo.run("python", "mine.py")[0] == "1 run\n"
    assert "how_balanced_are_the_experts" in demo.run("gatehouse", "sql", "--examples")[0]
    assert {each.name for each in demo.folder.iterdir()} - {"__pycache__"} == {
        "mine.py",
        "models",
        "reports.py",
        "uvicorn.py",
    }


def test_the_demo_ends_as_the_readme_shows(demo):
    """Figures depend on the Python that carries the text; the lines and their order do not."""
    shown = re.findall(r"```text\n(.*?)```", README, flags=re.S)[0]
    patterns = [
        re.sub(r"[-\d.,]+(e-\d+)?", "NUMBER", line.split(" warehouse/")[0])
        for line in shown.splitlines()
        # how strong the evidence is, of these few samples, depends on the text too
        if line != "..." and not line.startswith(("demo-pydoc", "  The evidence"))
    ]
    printed = re.sub(r"[-\d.,]+(e-\d+)?", "NUMBER", demo.said + demo.out)
    positions = [printed.find(pattern) for pattern in patterns]
    assert -1 not in positions, [p for p, at in zip(patterns, positions) if at == -1]
    assert positions == sorted(positions)


def test_the_demo_prints_its_own_lines_only(demo):
    first, *_, last = demo.out.strip().splitlines()
    assert first == "=" * 60 and last.startswith("Report: ") and last.endswith("report.html")
    # a slow machine also gives signs of life
    lines = [each for each in demo.said.splitlines() if not re.search(r"\d (so far|left)$", each)]
    said = [line.split(":")[0].split(" ")[0] for line in lines]
    (run_id,) = Lake(Paths(demo.home).lake).runs()
    assert said == ["prepared", "weights", run_id, "built"], demo.said


def test_the_demo_keeps_no_secret_and_no_pickle_and_reports_nothing(demo):
    assert MARKER not in demo.out + demo.said
    files = [path for path in demo.home.rglob("*") if path.is_file()]
    assert [path for path in files if MARKER.encode() in path.read_bytes()] == []
    assert [path for path in files if is_pickle(path)] == []
    manifest = json.loads((demo.home / "dbt" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["metadata"]["send_anonymous_usage_stats"] is False


def is_pickle(path: Path) -> bool:
    """Return whether a file is a pickle, or Prefect's record of a result that holds one."""
    content = path.read_bytes()
    binary = content[:1] == b"\x80" and content[1:2] in (b"\2", b"\3", b"\4", b"\5")
    record = content[:1] == b"{" and b'"serializer"' in content and b'"pickle"' in content
    return (binary and content[-1:] == b".") or record or "pickle" in path.suffix


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
