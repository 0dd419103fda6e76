"""Prefect's own server for a run lives as long as the run, however that ends."""

import errno
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

from gatehouse.flows import prefect_run, prefect_server
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

OF_THE_USERS = {
    "PREFECT_PROFILE": "cloud",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql+asyncpg://u:p@127.0.0.1:9/prefect",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_SERVER_API_BASE_PATH": "/prefect/api",
    "PREFECT_SERVER_API_AUTH_STRING": "admin:pass",
    "PREFECT_API_AUTH_STRING": "admin:other",
    "PREFECT_TESTING_TEST_MODE": "true",
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "localhost",
    "SSL_CERT_FILE": "/nonexistent/ca.pem",
}
"""What a user's own Prefect server and a company's network leave in the environment."""


def python_path() -> str:
    """Return where a process that starts in another folder finds Gatehouse and the tests."""
    return os.pathsep.join(filter(None, sys.path))


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
        env=without_prefect() | OF_THE_USERS,
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


ALONE = """
import sys
from contextlib import suppress
from pathlib import Path
from gatehouse.flows import prefect_server, prefect_settings
from gatehouse.warehouse.errors import GatehouseError

home = Path(sys.argv[1])
server = prefect_server.begin(home)
with prefect_settings.own(home, server.access):
    from prefect import context, get_client
    from prefect.settings import get_current_settings

    found = get_current_settings()
    assert found.api.url == server.access["PREFECT_API_URL"] and found.home == home, found.api
    password = found.api.auth_string.get_secret_value()
    assert password == server.access["PREFECT_API_AUTH_STRING"] != "admin:other"
    assert not (found.api.key or found.testing.test_mode)
    get_client(sync_client=True), get_client()
    try:
        server.wait()
    except GatehouseError as error:
        print(error)
users = context.GLOBAL_SETTINGS_CONTEXT
assert users.settings.api.url == "http://127.0.0.1:9/api" and users.settings.api.key
with suppress(GatehouseError), prefect_settings.own(
    home, {"PREFECT_API_URL": "http://127.0.0.1:1/api"}
):
    assert get_current_settings().api.url == "http://127.0.0.1:1/api"
    raise GatehouseError("a run that fails")
assert context.GLOBAL_SETTINGS_CONTEXT is users
assert prefect_server.begin(home) is not server, "it has ended"
"""


def test_prefect_has_gatehouses_settings_in_a_run_and_the_users_after_it(tmp_path):
    """And a server that does not start says where the reason is, and is not asked again."""
    home, folder = tmp_path / "home", tmp_path / "folder"
    for each in (home, folder):
        each.mkdir()
    (home / "prefect.db").write_text("not a database, and longer than its header would be" * 9)
    (folder / "prefect.toml").write_text('[api]\nurl = "http://127.0.0.1:9/api"\n')
    (folder / ".env").write_text("PREFECT_API_KEY=the-users\n")
    # what is wrong with them is for whoever uses them to hear
    (folder / "profiles.toml").write_text("[[")
    users = OF_THE_USERS | {"PREFECT_PROFILES_PATH": str(folder / "profiles.toml")}
    ended = subprocess.run(
        [sys.executable, "-c", ALONE, str(home)],
        capture_output=True,
        text=True,
        env=without_prefect() | users | {"PYTHONPATH": python_path()},
        cwd=folder,
    )
    assert re.fullmatch(".* does not answer.*file is not a database.*server.log.*\n", ended.stdout)
    assert ended.stderr == "" and ended.returncode == 0, ended


@pytest.mark.parametrize(
    ("log", "error", "said"),
    [
        ("sqlite3.OperationalError: database or disk is full", ValueError("500"), "make room"),
        ("attempt to write a readonly database", ValueError("500"), "cannot be written"),
        ("", OSError(errno.ENOSPC, "No space left on device"), "make room"),
        ("KeyError: 'a'", ValueError("500"), r"\(500\) \(KeyError: 'a'; more in .*server.log\)"),
    ],
)
def test_what_stopped_prefect_is_what_was_seen(tmp_path, log, error, said):
    class Server:
        folder, log = tmp_path, tmp_path / "server.log"
        runs = staticmethod(lambda: True)
        last_words = prefect_server.OwnServer.last_words

    Server.log.write_text(log)
    message = prefect_run._what_stopped(error, Server())
    assert re.search(said, message) and "without Prefect" in message
    assert ("room" in message) == (said == "make room"), message


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
