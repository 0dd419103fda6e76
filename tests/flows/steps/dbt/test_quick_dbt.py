"""dbt is made quick without a difference that shows."""

import json
import os
import subprocess
import sys
from collections import ChainMap
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gatehouse.flows.steps import dbt_runs
from gatehouse.flows.steps.quick_dbt.templates import Context, Late
from gatehouse.warehouse.paths import DBT_PROJECT
from tests.flows.steps.dbt.small_project import SETTINGS, write_small

# dbt as it is installed
BY_ITSELF = """
import sys
from dbt.cli.main import dbtRunner
sys.exit(not dbtRunner().invoke(sys.argv[1:]).success)
"""
RAISING = {
    **dict.fromkeys(["raising", "raising_too"], "raise_compiler_error('not ' ~ this.name)"),
    "unknown": "no_such_thing('')",
}
COUNTING = "{% macro down(n) %}{{ n }}{{ down(n - 1) if n }}{{ suffix }}{% endmacro %}"
COUNTED = "select '{{ down(2) }}{{ down(1) }}{{ this.name }}' as mine"


@pytest.fixture(scope="module")
def templates(tmp_path_factory) -> Path:
    """A project of templates that count or raise, parsed once for all tests of them."""
    project = write_small(tmp_path_factory.mktemp("templates") / "project")
    (project / "macros").mkdir()
    (project / "macros" / "down.sql").write_text(COUNTING)
    models = {
        **dict.fromkeys(["counted", "counted_too"], COUNTED),
        **{
            name: f"{{% if execute %}}{{{{ exceptions.{call} }}}}{{% endif %}}"
            for name, call in RAISING.items()
        },
    }
    for name, text in models.items():
        (project / "models" / f"{name}.sql").write_text(text)
    return project


@pytest.fixture
def render(templates, home, tmp_path) -> Callable:
    """`render(*command)`: what dbt makes of that project."""

    def run(*command: str) -> Any:
        return dbt_runs.run_dbt(command, tmp_path / "target", templates)

    assert run("ls").success
    return run


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


def test_a_text_is_compiled_once_and_rendered_in_each_context(render, run, small, monkeypatch):
    from dbt_common.clients.jinja import MacroFuzzEnvironment

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


def test_a_macro_is_made_once_for_a_context_however_often_it_is_called(render, monkeypatch):
    from jinja2 import Template

    made: list[str] = []
    make = Template.make_module

    def noted(template: Any, *arguments: Any, **options: Any) -> Any:
        module = make(template, *arguments, **options)
        made.extend(name for name in vars(module) if name == "dbt_macro__down")
        return module

    monkeypatch.setattr(Template, "make_module", noted)
    names = ["counted", "counted_too"]
    nodes = [each.node for each in render("compile", "--select", *names).result]
    assert {node.name: node.compiled_code for node in nodes} == {
        name: f"select '21010{name}' as mine" for name in names
    }
    assert len(made) == 2


def test_what_a_template_raises_names_its_node(render):
    said = {name: str(render("compile", "--select", name).exception) for name in RAISING}
    for name in ("raising", "raising_too"):
        assert f"not {name}" in said[name] and f"model {name} (models/{name}.sql)" in said[name]
    assert "no_such_thing" in said["unknown"]


def test_a_warning_can_still_be_an_error(render):
    assert render("ls", "--select", "nothing").success
    outcome = render("ls", "--select", "nothing", "--warn-error")
    assert not outcome.success and "nothing" in str(outcome.exception)


def test_macros_are_found_in_dbts_own_order(render):
    """Of the same name, a node's package wins, then the project, other packages and dbt."""
    from dbt.context.macros import MacroNamespace

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


def test_the_types_of_a_query_are_found_as_dbt_finds_them(render):
    from dbt_common.clients import agate_helper

    rows = [("null", "2.5"), ("", "7.5")]
    for _ in range(2):
        table = agate_helper.table_from_rows(rows, ["text", "number"], text_only_columns=["text"])
        assert list(table.columns["text"]) == ["null", ""]
        assert list(table.columns["number"]) == [Decimal("2.5"), Decimal("7.5")]
        columns = ["number", "text"]
        table = agate_helper.table_from_rows(rows, columns, text_only_columns=columns)
        assert list(table.columns["text"]) == ["2.5", "7.5"]
        assert list(table.columns["number"]) == ["null", ""]
