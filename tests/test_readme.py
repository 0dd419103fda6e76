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
COMMANDS_PAGE = (CHECKOUT / "docs" / "commands.md").read_text(encoding="utf-8")
LINES = [line.partition("  #")[0].strip() for block in BLOCKS for line in block.splitlines()]


def all_parameters() -> dict[str, set[str]]:
    """Return each command and how its options are spelled in full."""
    import typer

    from gatehouse.flows.cli.app import app

    commands = dict(typer.main.get_group(app).commands)
    commands |= {f"runs {name}": found for name, found in commands["runs"].commands.items()}
    return {
        name: {
            each
            for option in found.params
            for each in option.opts + option.secondary_opts
            if each.startswith("--")
        }
        for name, found in commands.items()
    }


def parameters_of(command: str) -> set[str]:
    return all_parameters()[command]


def lines_of(page: Path) -> list[str]:
    """Lines of the shell on a page, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S)
    return [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]


def slug(heading: str) -> str:
    """Return a heading's anchor, as GitHub makes it."""
    shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", shown).replace(" ", "-")


def prose_of(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def test_the_blocks_are_found():
    commands = {next(word for word in line.split() if "=" not in word) for line in LINES}
    assert commands == {"make", "gatehouse", "export", "prefect", "pip", "sbatch"}


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("gatehouse ")])
def test_every_gatehouse_command_exists_with_its_options(line):
    _, command, *words = shlex.split(line)
    assert {word for word in words if word.startswith("--")} <= parameters_of(command)


def test_every_gatehouse_command_of_the_other_pages_exists_with_its_options():
    spelled = all_parameters()
    wrong = []
    for page in PAGES[1:]:
        for line in lines_of(page):
            if not line.startswith("gatehouse "):
                continue
            # a pipe, a redirection or a quotation begins what is not the command's own
            _, command, *words = re.split(r"[|<>\"']", line)[0].split()
            command += " rm" if words[:1] == ["rm"] else ""
            options = {word.partition("=")[0] for word in words if word.startswith("--")}
            if command not in spelled or not options <= spelled[command]:
                wrong.append(f"{page.name}: {line}")
    assert wrong == []


SECTIONS = {
    "Options of a run": ("run", "capture", "prepare", "fetch", "trace"),
    "Options of a replay": ("replay",),
    "Options of an import": ("import",),
}
"""Sections of docs/commands.md, and the commands whose options they have."""


def section(heading: str) -> str:
    _, found, text = COMMANDS_PAGE.partition(f"## {heading}\n")
    assert found, heading
    return text.partition("\n## ")[0]


def test_every_option_is_on_the_page_of_commands():
    """In the section of its command, or in a row that names the command."""
    spelled = all_parameters()
    option = re.compile(r"--[a-z][\w-]*")
    told = {name: set() for name in spelled}
    for heading, names in SECTIONS.items():
        for name in names:
            told[name] |= set(option.findall(section(heading)))
    for row in re.findall(r"^\| (`-.*)", section("Options of other commands"), flags=re.M):
        options, commands = row.split(" | ")[:2]
        named = {each.partition(" --")[0] for each in re.findall(r"`([^`]+)`", commands)}
        for name in spelled.keys() - named if commands.startswith("all but") else named:
            told[name] |= set(option.findall(options))
    assert {name: found for name in spelled if (found := spelled[name] - told[name])} == {}


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


def test_as_many_models_are_built_as_it_says():
    (number,) = re.findall(r"^built (\d+) models", README, flags=re.M)
    assert int(number) == len(list((CHECKOUT / "dbt_project" / "models").rglob("*.sql")))


def test_every_mart_has_a_row_on_the_page_of_the_warehouse_and_counts_in_the_changelog():
    marts = {path.stem for path in (CHECKOUT / "dbt_project/models/marts").rglob("*.sql")}
    page = (CHECKOUT / "docs" / "warehouse.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`(?:fct|dim)_[^|]*) \|", page, flags=re.M)
    assert set(re.findall(r"`((?:fct|dim)_\w+)`", " ".join(rows))) == marts
    changelog = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")
    facts = [mart for mart in marts if mart.startswith("fct_")]
    assert f"The warehouse: {len(facts)} marts and four dimensions" in changelog
    assert len(marts) - len(facts) == 4


def test_every_format_of_traces_has_a_row_and_counts():
    from gatehouse.ingest.traces.formats import FORMATS

    page = (CHECKOUT / "docs" / "traces.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \|", page.partition("## The plain format")[0], flags=re.M)
    assert sorted(rows) == sorted([*FORMATS, "counts"])
    words = {10: "ten", 11: "eleven", 12: "twelve"}
    assert f"([{words[len(rows)]} formats](docs/traces.md))" in README


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_link_into_a_page_leads_to_a_heading(page):
    links = re.findall(r"\]\(([^)\s:]*)#([^)\s]+)\)", prose_of(page))
    lost = []
    for name, anchor in links:
        headings = re.findall(r"^#+ (.*)$", prose_of(page.parent / name if name else page), re.M)
        if anchor not in map(slug, headings):
            lost.append(f"{name}#{anchor}")
    assert lost == []


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
    names = re.findall(rf"`([\w.]+)`\sin\s`((?:{folders})/[\w/]+\.\w+)`", text)
    assert len(names) > 10
    assert [
        (name, path)
        for name, path in names
        if name.rpartition(".")[2] not in (CHECKOUT / path).read_text(encoding="utf-8")
    ] == []
    makefile = (CHECKOUT / "Makefile").read_text()
    targets = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, flags=re.M))
    assert {target for target in targets if not re.search(rf"^{target}:", makefile, re.M)} == set()
