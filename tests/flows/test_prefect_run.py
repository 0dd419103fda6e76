"""Prefect's own server for a run lives as long as the run, however that ends."""

import base64
import errno
import http.client
import os
import re
import select
import signal
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import closing, suppress
from importlib import metadata
from pathlib import Path
from urllib.error import URLError

import pytest

from gatehouse.flows import prefect_database, prefect_run, prefect_server
from gatehouse.warehouse import cache
from gatehouse.warehouse.errors import GatehouseError
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
from gatehouse.flows import prefect_database

for folder in sys.argv[1:]:
    os.environ["PREFECT_HOME"] = folder
    refresh_global_settings_context()
    prefect_database.make_database()

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
import urllib.error
import urllib.request
from urllib.error import URLError
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
    (home / "prefect.db").mkdir()
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
    assert re.fullmatch(
        ".* does not answer.*unable to open database file.*server.log.*\n", ended.stdout
    )
    assert ended.stderr == "" and ended.returncode == 0, ended


@pytest.mark.parametrize(
    ("log", "error", "said"),
    [
        ("sqlite3.OperationalError: database or disk is full", ValueError("500"), "make room"),
        ("attempt to write a readonly database", ValueError("500"), "cannot be written"),
        ("", OSError(errno.ENOSPC, "No space left on device"), "make room"),
        (
            "sqlite3.DatabaseError: database disk image is malformed",
            ValueError("500"),
            r"malformed\): delete .*prefect.db, .* and run the same command again",
        ),
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


def test_only_the_run_itself_may_ask_its_server(prefect_server):
    """Neither other users of the machine nor pages of other origins; and nothing shows how."""
    address, password = os.environ["PREFECT_API_URL"], os.environ["PREFECT_API_AUTH_STRING"]
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def asked(url: str, origin: str, **headers: str) -> urllib.request.Request:
        headers |= {"Origin": origin, "Content-Type": "application/json"}
        return urllib.request.Request(url, b"{}", headers, method="POST")

    foreign = "https://evil.example"
    for origin in (foreign, "null", address.removesuffix("/api")):
        with pytest.raises(urllib.error.HTTPError) as refused:
            direct.open(asked(f"{address}/flow_runs/filter", origin))
        assert refused.value.code == 401
    known = f"Basic {base64.b64encode(password.encode()).decode()}"
    with direct.open(asked(f"{address}/flow_runs/filter", foreign, Authorization=known)) as answer:
        assert answer.status == 200 and "access-control-allow-origin" not in answer.headers
    secret = password.partition(":")[2].encode()
    home = Path(os.environ["PREFECT_HOME"])
    assert len(secret) > 40
    assert not any(secret in path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert not any(secret in command_line(child) for child in children_of(os.getpid()))


@pytest.fixture
def sound(tmp_path) -> bytes:
    """An SQLite database of a few pages."""
    with closing(sqlite3.connect(tmp_path / "sound")) as connection:
        connection.execute("create table t as select hex(randomblob(9000)) as a")
        connection.execute("create index i on t (a)")
        connection.commit()
        return connection.serialize()


@pytest.mark.parametrize("damage", ["zeros", "text", "cut", "overwritten in the middle"])
def test_a_damaged_database_of_prefects_is_set_aside_in_one_line(
    damage, sound, tmp_path, monkeypatch, capsys
):
    home = tmp_path / "home"
    home.mkdir()
    damaged = {
        "zeros": bytes(len(sound)),
        "text": b"not a database, and longer than its header would be" * 9,
        "cut": sound[: len(sound) // 2],
        "overwritten in the middle": sound[:4096] + b"\xff" * 4096 + sound[8192:],
    }[damage]
    monkeypatch.setattr(prefect_server, "OwnServer", lambda folder: None)
    monkeypatch.setattr(prefect_server, "_started", [])
    for number in (1, 2):
        (home / "prefect.db").write_bytes(damaged)
        (home / "prefect.db-wal").write_bytes(b"")
        prefect_server.begin(home)
        monkeypatch.setattr(prefect_server, "_started", [])
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1 and f"prefect.db.damaged-{number}" in said[0]
        assert (home / f"prefect.db.damaged-{number}").read_bytes() == damaged
        assert not (home / "prefect.db").exists() and not (home / "prefect.db-wal").exists()


def test_a_database_of_prefects_that_is_sound_or_in_use_stays(sound, tmp_path):
    file = tmp_path / "prefect.db"
    assert prefect_database.set_damaged_aside(file) is None and not file.exists()
    file.write_bytes(sound)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("create table u as select 1 as a")
        connection.execute("begin immediate")
        assert prefect_database.set_damaged_aside(file) is None
        connection.rollback()
        assert connection.execute("select a from u").fetchall() == [(1,)]


ANSWERING = """
import os, socket, sys, threading

threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
listening = socket.socket(fileno=int(sys.argv[1]))
while True:
    connection = listening.accept()[0]
    connection.recv(4096)
    connection.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n")
    connection.close()
"""


class Answering(prefect_server.OwnServer):
    """A server that only answers; Prefect's takes seconds to begin."""

    def _begun(self) -> subprocess.Popen:
        number = self._listening.fileno()
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", ANSWERING, str(number)],
            stdin=subprocess.PIPE,
            pass_fds=[number],
        )


def test_a_server_that_is_killed_begins_again_at_the_same_address(tmp_path, capsys):
    server = Answering(tmp_path)
    server.wait()
    for _ in range(2):
        killed = server._process
        killed.kill()
        # asked while there is none, it answers when there is one again
        server.wait()
        assert server.runs() and server._process is not killed
    said = capsys.readouterr().err.splitlines()
    assert said == ["Prefect's own server was killed: it begins again, and the run goes on"] * 2
    server.stop()
    assert not server.runs()
    with pytest.raises(GatehouseError, match="does not answer"):
        server.wait()


def test_what_a_killed_server_breaks_off_is_asked_again(tmp_path, monkeypatch):
    server = Answering(tmp_path)
    ask, faults = urllib.request.OpenerDirector.open, []

    def broken_off(opener, *words, **options):
        if not faults:
            return ask(opener, *words, **options)
        raise faults.pop()

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", broken_off)
    faults += [http.client.RemoteDisconnected(), URLError(ConnectionResetError())]
    server.wait()
    assert not faults
    faults += [ConnectionResetError() for _ in range(9)]
    with pytest.raises(GatehouseError, match="does not answer"):
        server.wait()
    assert len(faults) == 9 - 1 - prefect_server.SOME_TIMES


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
