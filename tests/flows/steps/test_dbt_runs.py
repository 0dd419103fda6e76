"""One parse of the dbt project serves every home and process, and none outlives its project."""

import json
import os
import select
import subprocess
import sys
import time
from collections import ChainMap
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gatehouse.flows.steps import dbt_runs
from gatehouse.flows.steps.quick_dbt.templates import Context, Late
from gatehouse.warehouse import cache
from gatehouse.warehouse.paths import DBT_PROJECT, PACKAGE, Paths
from tests.conftest import without_prefect

# dbt as it is installed
BY_ITSELF = """
import sys
from dbt.cli.main import dbtRunner
sys.exit(not dbtRunner().invoke(sys.argv[1:]).success)
"""
SETTINGS = "{name: small, profile: gatehouse, flags: {send_anonymous_usage_stats: false}}"
# whatever parses, fails
ELSEWHERE = """
import sys
from pathlib import Path
from dbt.parser.manifest import ManifestLoader
from gatehouse.flows.steps.dbt_runs import run_dbt

ManifestLoader.get_full_manifest = None
outcome = run_dbt(["compile", "--select", "stg_vocabulary"], Path(sys.argv[1]))
print(outcome.exception or outcome.result.results[0].node.compiled_code)
"""


def live_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("GATEHOUSE_DATABASE", str(home / "gatehouse.duckdb"))
    monkeypatch.setenv("GATEHOUSE_LAKE", str(Paths(home).lake))


@pytest.fixture
def parses(monkeypatch) -> list[str]:
    """A list that gains an entry each time that dbt parses."""
    found = []
    invoke = dbt_runs._invoke

    def counted(arguments, manifest=None):
        if manifest is None:
            found.append(arguments[0])
        return invoke(arguments, manifest)

    monkeypatch.setattr(dbt_runs, "_invoke", counted)
    return found


@pytest.fixture
def small(tmp_path, monkeypatch) -> Path:
    """A project of one model, in a home of its own and with an empty cache."""
    monkeypatch.setenv("GATEHOUSE_CACHE", str(tmp_path / "cache"))
    live_in(tmp_path / "home", monkeypatch)
    project = tmp_path / "project"
    (project / "models").mkdir(parents=True)
    (project / "dbt_project.yml").write_text(SETTINGS)
    (project / "models" / "one.sql").write_text("select 1 as one")
    return project


@pytest.fixture
def run(small, tmp_path) -> Callable:
    """`run(*command)`: what dbt makes of the small project."""
    return lambda *command: dbt_runs.run_dbt(command, tmp_path / "target", small)


@pytest.fixture
def as_in_a_new_process(monkeypatch) -> Callable[[], None]:
    return lambda: monkeypatch.setattr(dbt_runs, "_parsed", {})


def test_a_second_home_in_another_process_does_not_parse(tmp_path, monkeypatch):
    filled = [sys.executable, "-m", "gatehouse.flows.fill_cache"]
    subprocess.run(filled, env=without_prefect(), cwd=PACKAGE, check=True)
    assert cache.read("prefect", version("prefect"))
    second = tmp_path / "it's [another] $home é"
    live_in(second, monkeypatch)
    ended = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(tmp_path / "elsewhere")],
        cwd=PACKAGE,
        capture_output=True,
        text=True,
    )
    assert str(second / "lake").replace("'", "''") in ended.stdout, ended.stderr


def test_another_process_parses_ahead_and_a_command_waits_for_it(run, parses, small, tmp_path):
    dbt_runs.parse_ahead(tmp_path / "target", small)
    assert len(dbt_runs._ahead) == 1
    assert run("ls").result == ["small.one"] and parses == []
    dbt_runs.parse_ahead(tmp_path / "target", small)
    assert dbt_runs._ahead == []


def test_what_parses_ahead_ends_with_the_process_that_asked_for_it(small, tmp_path):
    asking = (
        "import os, sys; from pathlib import Path; from gatehouse.flows.steps import dbt_runs\n"
        "dbt_runs.parse_ahead(*map(Path, sys.argv[1:]))\n"
        "print(dbt_runs._ahead[0].pid, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    words = [sys.executable, "-c", asking, str(tmp_path / "target"), str(small)]
    asked = subprocess.run(words, capture_output=True, text=True)
    parser = Path("/proc") / asked.stdout.strip()
    assert asked.returncode == -9 and parser.name.isdigit()
    deadline = time.monotonic() + 60
    while parser.exists() and time.monotonic() < deadline:
        select.select([], [], [], 0.05)
    assert not parser.exists()
    assert not list((tmp_path / "cache").rglob("*"))


def test_a_changed_project_is_parsed_anew(run, parses, small):
    assert run("ls").result == run("ls").result == ["small.one"]
    assert parses == ["parse"]
    (small / "models" / "two.sql").write_text("select 2 as two")
    assert run("ls").result == ["small.one", "small.two"]
    (small / "models" / "one.sql").write_text("select 3 as one")
    compiled = {node.node.name: node.node.compiled_code for node in run("compile").result.results}
    assert compiled == {"one": "select 3 as one", "two": "select 2 as two"}
    assert len(parses) == 3


def test_a_damaged_cache_is_as_good_as_none(run, parses, tmp_path, as_in_a_new_process):
    assert run("ls").success
    as_in_a_new_process()
    assert run("ls").success and parses == ["parse"]
    (kept,) = (tmp_path / "cache" / "dbt").iterdir()
    whole = kept.read_bytes()
    for number, damaged in enumerate((b"", whole[:-1], b"x" * 99), 2):
        kept.write_bytes(damaged)
        as_in_a_new_process()
        assert run("ls").result == ["small.one"] and len(parses) == number
        # the next process finds it mended
        as_in_a_new_process()
        assert run("ls").success and len(parses) == number


@pytest.mark.parametrize("kind", ["a file", "read-only"])
def test_a_cache_that_cannot_be_written_is_no_error(run, parses, tmp_path, kind):
    cache = tmp_path / "cache"
    if kind == "a file":
        cache.write_text("")
    else:
        cache.mkdir(mode=0o555)
    assert run("ls").result == ["small.one"]
    assert run("ls").success and parses == ["parse"]


def test_a_project_that_does_not_parse_says_why(run, small):
    (small / "models" / "one.sql").write_text("select * from {{ ref('nothing') }}")
    outcome = run("build")
    assert not outcome.success and "nothing" in str(outcome.exception)


def test_the_database_is_let_go_of_after_a_failure_too(run, small):
    table = "{{ config(materialized='table') }} select 'two'::integer as two from {{ ref('one') }}"
    (small / "models" / "two.sql").write_text(table)
    assert not run("build").success
    database = os.environ["GATEHOUSE_DATABASE"]
    # within a process, DuckDB refuses other settings for a file that is open
    with closing(duckdb.connect(database, config={"access_mode": "READ_ONLY"})) as connection:
        assert connection.execute("select * from one").fetchall() == [(1,)]
    assert not Path(f"{database}.wal").exists()


def test_settings_of_the_users_own_dbt_project_do_not_reach_in(run, monkeypatch):
    users = {
        "DBT_TARGET": "prod",
        "DBT_PROFILE": "analytics",
        "DBT_PROFILES_DIR": "/nowhere",
        "DBT_DEFER": "true",
        "DBT_WARN_ERROR": "maybe",
        "DBT_VARS": "no: [yaml",
        "DBT_ENGINE_FULL_REFRESH": "true",
    }
    for name, value in users.items():
        monkeypatch.setenv(name, value)
    assert run("ls").result == ["small.one"]
    assert users.items() <= dict(os.environ).items()


def test_a_quiet_command_makes_no_message_and_a_listener_hears_all(run, small, monkeypatch):
    from dbt.cli.main import dbtRunner
    from dbt_common.events import base_types

    made = []
    parse = base_types.ParseDict

    def counted(content, message):
        made.append(type(message).__name__)
        return parse(content, message)

    monkeypatch.setattr(base_types, "ParseDict", counted)
    assert run("build").success and made == []
    heard = []
    words = ["ls", "--project-dir", str(small), "--profiles-dir", str(DBT_PROJECT), "--quiet"]
    words += ["--target-path", str(small / "target"), "--log-path", str(small / "logs")]
    assert dbtRunner(callbacks=[heard.append]).invoke([*words, "--log-level", "none"]).success
    assert {"MainReportVersion", "CommandCompleted"} <= {each.info.name for each in heard}
    (version,) = [each for each in heard if each.info.name == "MainReportVersion"]
    assert version.data.version in version.info.msg and made


def test_dbt_writes_what_it_writes_by_itself(run, small, tmp_path):
    """Whatever it does not do must not show: SQL, tables, what each node is, how each one ended."""
    write_a_bit_of_everything(small)
    target, database = tmp_path / "target", Path(os.environ["GATEHOUSE_DATABASE"])
    found = []
    for build in (
        lambda: run("build"),
        lambda: by_itself("build", "--target-path", target, project=small),
    ):
        build()
        found.append((written(target), tables(database)))
        target.rename(tmp_path / f"target-{len(found)}")
        database.unlink()
    (quick, quick_tables), (slow, slow_tables) = found
    assert quick.keys() == slow.keys() and quick_tables == slow_tables
    for name, content in quick.items():
        assert content == slow[name], name
    ended = {each["unique_id"].split(".")[2]: each for each in quick["run_results.json"]["results"]}
    assert {name: each["status"] for name, each in ended.items()} == {
        **dict.fromkeys(["one", "two", "three"], "success"),
        **dict.fromkeys(["two_is_two", "one_is_one"], "pass"),
        **dict.fromkeys(["three_is_small", "three_is_less"], "fail"),
        "broken": "error",
    }
    assert "three is what it is" in str(quick_tables)
    assert "an enforced contract that failed" in ended["broken"]["message"]


def write_a_bit_of_everything(project: Path) -> None:
    """Models of each kind, a contract that is broken, a macro in place of dbt's own, tests."""
    for folder in ("macros", "tests"):
        (project / folder).mkdir()
    (project / "dbt_project.yml").write_text(
        SETTINGS[:-1] + ", vars: {limit: 1}, models: {+persist_docs: {relation: true}}}"
    )
    models = {
        "two": "{{ config(materialized='table') }} select one + 1 as two from {{ ref('one') }}",
        "three": "{{ config(materialized='incremental', pre_hook='select 1') }} select two + 1 as "
        "three, {{ modules.re.sub('a', 'b', \"'a'\") }} as b from {{ ref('two') }}",
        "broken": "{{ config(materialized='table') }} select 'one' as one",
    }
    for name, sql in models.items():
        (project / "models" / f"{name}.sql").write_text(sql)
    (project / "models" / "models.yml").write_text("""
version: 2
models:
  - name: two
    data_tests: [{below: {name: two_is_two, arguments: {column: two, most: 3, to: ref('one')}}}]
  - name: three
    description: three is what it is
    data_tests:
      - below: {name: three_is_small, arguments: {column: three, most: "{{ var('limit') }}"}}
      - below: {name: three_is_less, arguments: {column: "3", most: 3, columns: [one, "2", "a b"]}}
  - name: broken
    config: {contract: {enforced: true}}
    columns: [{name: one, data_type: integer}]
""")
    (project / "macros" / "macros.sql").write_text("""
{% test below(model, column, most, columns=[], to=none) %}
select {{ column }}, '{{ columns | join }}{{ to }}' as given
from {{ model }}
where {{ column }} >= {{ most }}
{% endtest %}
{% macro current_timestamp() %}'mine'{% endmacro %}
""")
    (project / "tests" / "one_is_one.sql").write_text(
        "select {{ current_timestamp() }}, {{ dbt.current_timestamp() }} "
        "from {{ ref('one') }} where one <> 1"
    )


def by_itself(*command: str | Path, project: Path) -> None:
    places = ["--project-dir", project, "--profiles-dir", DBT_PROJECT]
    words = [*command, *places, "--log-path", project.parent / "target" / "logs"]
    words += ["--quiet", "--log-level", "none"]
    subprocess.run([sys.executable, "-c", BY_ITSELF, *map(str, words)], check=False)


def written(target: Path) -> dict[str, Any]:
    """Return each file that dbt wrote, without what differs from one call to the next."""
    files = {
        path.relative_to(target).as_posix(): path.read_bytes()
        for path in target.rglob("*")
        # how long the parse took
        if path.suffix in (".sql", ".json") and path.is_file() and path.name != "perf_info.json"
    }
    return {
        name: timeless(json.loads(content)) if name.endswith(".json") else content
        for name, content in files.items()
    }


def timeless(content: Any) -> Any:
    """Return content without times, names of the call and the order of nodes that ran at once."""
    passing = {"metadata", "created_at", "_invocation_id", "timing", "thread_id", "execution_time"}
    passing |= {"elapsed_time", "args", "adapter_response"}
    if isinstance(content, dict):
        return {name: timeless(each) for name, each in content.items() if name not in passing}
    if isinstance(content, list):
        rest = [timeless(each) for each in content]
        is_of_results = all(isinstance(each, dict) and "unique_id" in each for each in rest)
        return sorted(rest, key=lambda each: each["unique_id"]) if is_of_results else rest
    return content


def tables(database: Path) -> list[Any]:
    with closing(duckdb.connect(str(database), read_only=True)) as connection:
        names = connection.execute(
            "select table_name, comment from duckdb_tables() union all "
            "select view_name, comment from duckdb_views() where not internal order by all"
        ).fetchall()
        return [(name, connection.table(name[0]).fetchall()) for name in names]


def test_a_text_is_compiled_once_and_rendered_in_each_context(run, small, monkeypatch):
    from dbt_common.clients.jinja import MacroFuzzEnvironment

    assert run("ls").success
    parsed = []
    parse = MacroFuzzEnvironment._parse
    monkeypatch.setattr(
        MacroFuzzEnvironment,
        "_parse",
        lambda self, source, *rest: parsed.append(source) or parse(self, source, *rest),
    )
    same = "select '{{ this.name }}' as mine"
    for name in ("four", "five"):
        (small / "models" / f"{name}.sql").write_text(same)
    for _ in range(2):
        compiled = {each.node.name: each.node.compiled_code for each in run("compile").result}
        assert compiled["four"] == "select 'four' as mine"
        assert compiled["five"] == "select 'five' as mine"
    assert parsed.count(same) == 1


def test_a_macro_is_made_once_for_a_context_however_often_it_is_called(run, small, monkeypatch):
    from jinja2 import Template

    (small / "macros").mkdir()
    counted = "{% macro down(n) %}{{ n }}{{ down(n - 1) if n }}{{ suffix }}{% endmacro %}"
    (small / "macros" / "down.sql").write_text(counted)
    for name in ("four", "five"):
        text = "select '{{ down(2) }}{{ down(1) }}{{ this.name }}' as mine"
        (small / "models" / f"{name}.sql").write_text(text)
    assert run("ls").success
    made: list[str] = []
    make = Template.make_module

    def noted(template: Any, *arguments: Any, **options: Any) -> Any:
        module = make(template, *arguments, **options)
        made.extend(name for name in vars(module) if name == "dbt_macro__down")
        return module

    monkeypatch.setattr(Template, "make_module", noted)
    compiled = {each.node.name: each.node.compiled_code for each in run("compile").result}
    assert compiled["four"] == "select '21010four' as mine"
    assert compiled["five"] == "select '21010five' as mine"
    assert len(made) == 2


def test_what_a_template_raises_names_its_node(run, small):
    raising = "raise_compiler_error('not ' ~ this.name)"
    for name, text in {"four": raising, "five": raising, "six": "no_such_thing('')"}.items():
        model = f"{{% if execute %}}{{{{ exceptions.{text} }}}}{{% endif %}}"
        (small / "models" / f"{name}.sql").write_text(model)
    said = {
        name: str(run("compile", "--select", name).exception) for name in ("four", "five", "six")
    }
    for name in ("four", "five"):
        assert f"not {name}" in said[name] and f"model {name} (models/{name}.sql)" in said[name]
    assert "no_such_thing" in said["six"]


def test_a_warning_can_still_be_an_error(run):
    assert run("ls", "--select", "nothing").success
    outcome = run("ls", "--select", "nothing", "--warn-error")
    assert not outcome.success and "nothing" in str(outcome.exception)


def test_macros_are_found_in_dbts_own_order(run):
    """Of the same name, a node's package wins, then the project, other packages and dbt."""
    from dbt.context.macros import MacroNamespace

    assert run("ls").success
    found: Any = MacroNamespace(
        global_namespace={"shared": "project", "mine": "project"},
        local_namespace={"shared": "node"},
        global_project_namespace={"shared": "dbt", "mine": "dbt", "theirs": "dbt"},
        packages={"mine": "package", "utils": {"inner": "package"}},
    )
    for name in found:
        assert found[name] == next(each[name] for each in found._search_order() if name in each)
    assert dict(found) == {
        "shared": "node",
        "mine": "project",
        "theirs": "dbt",
        "utils": {"inner": "package"},
        "dbt": found.global_project_namespace,
    }
    assert "inner" not in found and found.get_from_package("utils", "inner") == "package"


def test_a_context_looks_behind_itself_only_for_what_it_lacks():
    made = []
    late = Late({"first": 1, "second": 2}, lambda seed: made.append(seed) or -seed)
    context = Context(first="own")
    context.behind = late
    assert context["first"] == "own" and made == []
    assert "second" in context and "third" not in context and made == []
    assert context.get("third") is None
    with pytest.raises(KeyError):
        context["third"]
    assert context["second"] == context.get("second") == late["second"] == -2
    assert made == [2]
    assert dict(late) == {"first": -1, "second": -2} and made == [2, 1]


def test_what_a_unit_test_overrides_takes_the_place_of_what_would_be_made():
    """In the namespace of dbt, which is a chain of its packages', as dbt itself writes there."""
    made = []
    adapter, shared = (Late(seeds, made.append) for seeds in ({"one": 1}, {"is_incremental": 2}))
    namespace = ChainMap(adapter, shared)
    namespace["is_incremental"] = "overridden"
    assert namespace.get("is_incremental") == adapter["is_incremental"] == "overridden"
    assert list(shared) == ["is_incremental"] and set(adapter) == {"one", "is_incremental"}
    del namespace["is_incremental"]
    assert "is_incremental" not in adapter and made == []


def test_the_types_of_a_query_are_found_as_dbt_finds_them(run):
    from dbt_common.clients import agate_helper

    assert run("ls").success
    rows = [("null", "2.5"), ("", "7.5")]
    for _ in range(2):
        table = agate_helper.table_from_rows(rows, ["text", "number"], text_only_columns=["text"])
        assert list(table.columns["text"]) == ["null", ""]
        assert list(table.columns["number"]) == [Decimal("2.5"), Decimal("7.5")]
        columns = ["number", "text"]
        table = agate_helper.table_from_rows(rows, columns, text_only_columns=columns)
        assert list(table.columns["text"]) == ["2.5", "7.5"]
        assert list(table.columns["number"]) == ["null", ""]
