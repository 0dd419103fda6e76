"""Prefect's own server for a run lives as long as the run, however that ends."""

import os
import re
import select
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from importlib import metadata
from pathlib import Path

import pytest

from gatehouse.warehouse import cache
from gatehouse.warehouse.paths import PACKAGE
from tests.conftest import without_prefect

PROGRAM = """
import sys, types

class Waiting(types.ModuleType):
    def work_ahead(self, request, paths):
        "Leave the text for the flow."

    def __getattr__(self, name):
        from prefect import flow
        from prefect.settings import get_current_settings

        @flow
        def pipeline(**parameters):
            found = get_current_settings()
            reported = found.server.analytics_enabled, found.cloud.enable_orchestration_telemetry
            print(*reported, found.server.ui.show_promotional_content, end=" ")
            print(found.results.persist_by_default, flush=True)
            sys.stdin.read()
            return "done"

        return pipeline

sys.modules["gatehouse.flows.pipeline"] = Waiting("gatehouse.flows.pipeline")
sys.argv = ["gatehouse", "run"]
from gatehouse.flows.cli.app import main
main()
"""
"""The real command with a flow that prints Prefect's settings and waits instead of capturing."""

SECONDS_TO_END = 60


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGKILL, -9), (signal.SIGTERM, 143)],
    ids=["kill -9", "SIGTERM"],
)
def test_a_run_reports_nothing_and_no_process_outlives_it(number, code, home):
    running = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=without_prefect(),
        cwd=PACKAGE,
    )
    # nothing is reported, no result is kept
    assert running.stdout.readline() == "False False False False\n", running.stderr.read()
    children = children_of(running.pid)
    try:
        assert any(b"prefect_server" in command_line(child) for child in children)
        running.send_signal(number)
        err = running.communicate()[1]
        assert running.returncode == code and "Traceback" not in err, err
        assert not outliving(children)
    finally:
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


NEW_HOMES = """
import os, sys
from pathlib import Path
from prefect.context import refresh_global_settings_context
from gatehouse.flows import prefect_server

for folder in sys.argv[1:]:
    os.environ["PREFECT_HOME"] = folder
    refresh_global_settings_context()
    prefect_server.make_database()

import alembic.script
from prefect.server.database.alembic_commands import alembic_config
from prefect.server.database import provide_database_interface

settings = alembic_config()
settings.set_main_option("version_locations", str(provide_database_interface().orm.versions_dir))
print(alembic.script.ScriptDirectory.from_config(settings).get_current_head())
"""


def schema(folder: Path) -> tuple[list, str]:
    """Return how the tables of Prefect's database are declared, and its version."""
    with closing(sqlite3.connect(folder / "prefect.db")) as connection:
        tables = connection.execute("select type, name, sql from sqlite_master order by name")
        declared = tables.fetchall()
        ((version,),) = connection.execute("select * from alembic_version").fetchall()
    return declared, version


def test_a_new_home_gets_prefects_newest_database_and_an_old_one_stays(tmp_path):
    first, second, old = folders = [tmp_path / name for name in ("first", "second", "old")]
    for folder in folders:
        folder.mkdir()
    (old / "prefect.db").write_text("of an older run")
    ended = subprocess.run(
        [sys.executable, "-c", NEW_HOMES, *map(str, folders)],
        capture_output=True,
        text=True,
        env=without_prefect(),
        cwd=PACKAGE,
    )
    declared, version = schema(first)
    assert schema(second) == (declared, version) and len(declared) > 100
    assert ended.stdout == f"{version}\n", ended.stderr
    assert (old / "prefect.db").read_text() == "of an older run"
    assert {path.name for path in second.iterdir()} == {"prefect.db"}
    assert cache.read("prefect", metadata.version("prefect"))


FAILING = """
from gatehouse.flows import prefect_server
from gatehouse.warehouse.errors import GatehouseError
from prefect.settings import get_current_settings

server = prefect_server.begin()
assert get_current_settings().api.url == server.api_url
try:
    server.wait()
except GatehouseError as error:
    print(get_current_settings().api.url, error)
"""


def test_a_server_that_does_not_start_says_where_the_reason_is_and_is_not_asked_again(tmp_path):
    """In a notebook, the next run has a server of its own."""
    (tmp_path / "prefect.db").write_text("not a database, and longer than its header would be" * 9)
    # the second as in a run
    settings = {"PREFECT_HOME": str(tmp_path), "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
    ended = subprocess.run(
        [sys.executable, "-c", FAILING],
        capture_output=True,
        text=True,
        env=without_prefect() | settings,
        cwd=PACKAGE,
    )
    assert re.fullmatch("None .* does not answer.*\n", ended.stdout) and ended.stderr == "", ended
    assert "file is not a database" in (tmp_path / "server.log").read_text()


def children_of(process: int) -> dict[int, int]:
    """Return child -> a file descriptor that becomes readable when it ends."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return {int(child): os.pidfd_open(int(child)) for child in children}


def command_line(process: int) -> bytes:
    return Path(f"/proc/{process}/cmdline").read_bytes()


def outliving(children: dict[int, int]) -> set[int]:
    """Return the children that have not ended in time."""
    living = {ending: child for child, ending in children.items()}
    while living and (ended := select.select(list(living), [], [], SECONDS_TO_END)[0]):
        for ending in ended:
            del living[ending]
    return set(living.values())
