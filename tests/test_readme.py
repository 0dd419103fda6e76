"""The README's commands are true, and the pages' links and paths lead somewhere."""

import re
import shlex
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, flags=re.S)
PAGES = [
    CHECKOUT / "README.md",
    CHECKOUT / "CONTRIBUTING.md",
    *sorted((CHECKOUT / "docs").glob("*.md")),
]
LINES = [line.partition("  #")[0].strip() for block in BLOCKS for line in block.splitlines()]


def parameters_of(command: str) -> set[str]:
    import typer

    from gatehouse.flows.cli.app import app

    options = typer.main.get_group(app).commands[command].params
    return {spelling for option in options for spelling in option.opts + option.secondary_opts}


def test_the_blocks_are_found():
    commands = {next(word for word in line.split() if "=" not in word) for line in LINES}
    assert commands == {"make", "gatehouse", "export", "prefect", "pip", "sbatch"}


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("gatehouse ")])
def test_every_gatehouse_command_exists_with_its_options(line):
    _, command, *words = shlex.split(line)
    assert {word for word in words if word.startswith("--")} <= parameters_of(command)


def test_every_command_is_in_the_table():
    import typer

    from gatehouse.flows.cli.app import app

    table = set(re.findall(r"^\| `gatehouse (\w+)` \|", README, flags=re.M))
    assert table == set(typer.main.get_group(app).commands)


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("make ")])
def test_every_make_target_exists(line):
    makefile = (CHECKOUT / "Makefile").read_text()
    assert re.search(rf"^{line.split()[1]}:", makefile, flags=re.M)


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("pip ")])
def test_every_extra_exists(line):
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (extras,) = re.findall(r"gatehouse\[([\w,]+)\]", line)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("sbatch ")])
def test_every_job_exists(line):
    assert (CHECKOUT / shlex.split(line)[1]).is_file()


def test_as_many_queries_are_ready_as_it_says():
    from gatehouse.flows.sql.examples import library

    (number,) = re.findall(r"^(\d+) ready-made queries", README, flags=re.M)
    assert int(number) == len(library())


def test_the_deployment_that_is_run_is_deployed():
    import yaml

    (name,) = [shlex.split(line)[3] for line in LINES if line.startswith("prefect deployment run")]
    deployments = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["deployments"]
    entrypoints = [each["entrypoint"].replace("/", ".").split(".py:") for each in deployments]
    flows = {
        (getattr(import_module(f"gatehouse.{module}"), name), each["name"])
        for (module, name), each in zip(entrypoints, deployments, strict=True)
    }
    assert name in {f"{flow.name}/{deployment}" for flow, deployment in flows}
    for flow, _ in flows:
        given = next(
            d["parameters"] for d in deployments if d["entrypoint"].endswith(flow.fn.__name__)
        )
        assert set(given) <= set(flow.parameters.properties)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_a_server_that_a_page_starts_sends_nothing_to_its_makers(page):
    found = re.findall(r"^.*prefect server start.*$", page.read_text(encoding="utf-8"), flags=re.M)
    assert [line for line in found if "PREFECT_SERVER_ANALYTICS_ENABLED=false" not in line] == []
    assert found or page.name != "README.md"


def test_prefect_reads_that_setting(monkeypatch):
    """As its server does when it starts: without it, analytics are on."""
    from prefect.settings import Settings

    monkeypatch.delenv("PREFECT_SERVER_ANALYTICS_ENABLED", raising=False)
    assert Settings().server.analytics_enabled
    (start,) = [line for line in LINES if line.endswith("prefect server start")]
    monkeypatch.setenv(*start.split()[0].split("="))
    assert not Settings().server.analytics_enabled


def test_a_worker_takes_one_run_at_a_time_and_no_limit_outlives_it():
    """The server counts a run that died with its machine as running, and never ends it."""
    import yaml

    (worker,) = [line for line in LINES if "prefect worker start" in line]
    assert "--limit 1" in worker
    assert not any("set-concurrency-limit" in line for line in LINES)
    deployments = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["deployments"]
    assert not any("concurrency_limit" in str(each) for each in deployments)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_linked_file_exists(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)", text) + re.findall(r'src="([^"]+)"', text)
    files = [link for link in links if "://" not in link]
    assert [link for link in files if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_every_path_that_developers_are_given_exists(page):
    folders = "dbt_project|docs|flows|ingest|models|reports|tests|warehouse"
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    paths = re.findall(rf"`((?:{folders})/[^`{{ ]*)`", text)
    assert len(paths) > 30
    made_up = ("TOPIC", "fct_x")
    assert [
        path
        for path in paths
        if not (any(name in path for name in made_up) or (CHECKOUT / path).exists())
    ] == []
    makefile = (CHECKOUT / "Makefile").read_text()
    targets = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, flags=re.M))
    assert {target for target in targets if not re.search(rf"^{target}:", makefile, re.M)} == set()
