"""`gatehouse up` and `down`: processes by their id, ports, and deployments on a real server."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from subprocess import PIPE
from uuid import UUID, uuid4

import psutil
import pytest
import yaml

from gatehouse.flows.service import answer, server
from gatehouse.flows.service.answer import Service, down
from gatehouse.flows.service.flow_runs import FLOW_RUN, HOME, close_all_but, processes_of
from gatehouse.flows.service.processes import Background, exported, write_secret
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import PACKAGE, Paths
from gatehouse.warehouse.reserved import Reserved

WAITS = "import sys, time; print('at work', flush=True); time.sleep(600)"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {WAITS!r}])"


@pytest.fixture
def background(tmp_path):
    started = Background(tmp_path, "server")
    yield started
    started.end()


def test_a_process_is_found_again_and_ended_with_those_that_it_started(background, tmp_path):
    background.start(["-c", PARENT], dict(os.environ))
    found = Background(tmp_path, "server").process
    assert found and os.getsid(found.pid) == found.pid != os.getsid(0)
    while not (children := found.children()):
        assert found.is_running()
    assert background.end()
    assert not psutil.pid_exists(children[0].pid) or children[0].status() == psutil.STATUS_ZOMBIE
    assert not (background.process or background.was_started or background.end())


def test_a_process_that_was_killed_has_ended_by_itself(background):
    background.start(["-c", WAITS], dict(os.environ))
    number = background.process.pid
    os.kill(number, signal.SIGKILL)
    os.waitid(os.P_PID, number, os.WEXITED | os.WNOWAIT)
    assert background.was_started and background.process is None


def test_another_program_that_has_the_id_by_now_is_left_alone(background, tmp_path):
    """The record of a process that ended long ago: its id is another's now."""
    other = subprocess.Popen(["sleep", "600"])
    try:
        told = {"process": other.pid, "began": psutil.Process(other.pid).create_time() - 100}
        background.record.write_text(json.dumps(told))
        assert background.process is None
        assert not background.end() and other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("record", ["", "{}", "[]", '{"process": "one", "began": 0}', "\0"])
def test_a_damaged_record_is_no_process(background, record):
    background.record.write_text(record)
    assert background.process is None


def test_down_says_what_it_ended_and_what_had_ended_before(tmp_path):
    paths = Paths(tmp_path)
    assert down(paths) == f"nothing is up in {tmp_path}"
    assert not paths.service.exists()
    service = Service(paths.service)
    paths.service.mkdir()
    service.worker.start(["-c", WAITS], dict(os.environ))
    service.server.record.write_text("{}")
    assert down(paths) == f"worker of {tmp_path} ended; the server had ended by itself before"
    assert down(paths) == f"nothing is up in {tmp_path}"


def test_down_ends_the_run_that_a_killed_worker_left(tmp_path):
    """Its process has a session of its own, and no parent any more."""
    paths = Paths(tmp_path)
    service = Service(paths.service)
    paths.service.mkdir()
    of_a_run = {HOME: str(service.folder), FLOW_RUN: str(uuid4())}
    others = {HOME: str(tmp_path / "another"), FLOW_RUN: str(uuid4())}
    started = [
        subprocess.Popen([sys.executable, "-c", WAITS], env=os.environ | told, stdout=PIPE)
        for told in (of_a_run, others)
    ]
    try:
        for each in started:
            assert each.stdout.readline()
        assert list(processes_of(service.folder)) == [UUID(of_a_run[FLOW_RUN])]
        service.worker.record.write_text("{}")
        service.server.record.write_text("{}")
        down(paths)
        assert not processes_of(service.folder) and started[1].poll() is None
    finally:
        for each in started:
            each.kill()
            each.communicate()


def test_a_run_whose_process_is_gone_is_cancelled(prefect_server, capfd):
    from prefect.client.orchestration import get_client
    from prefect.states import Running

    from gatehouse.flows.service.deployments import CAPTURES, deploy

    deploy()
    with get_client(sync_client=True) as client:
        client.delete_global_concurrency_limit_by_name(CAPTURES)
        nightly = client.read_deployment_by_name("gatehouse-nightly/nightly")
        runs = [client.create_flow_run_from_deployment(nightly.id).id for _ in range(3)]
        for run in runs[:2]:
            client.set_flow_run_state(run, Running(), force=True)
        close_all_but({runs[0]}, "why it ended")
        states = [client.read_flow_run(run).state for run in runs]
        # other tests count the server's runs
        for run in runs:
            client.delete_flow_run(run)
    assert [each.type.value for each in states] == ["RUNNING", "CANCELLED", "SCHEDULED"]
    assert states[1].message == "why it ended"
    assert capfd.readouterr().err == "1 flow run under way: why it ended\n"


def test_a_port_that_is_taken_is_one_line_with_the_way_out():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(GatehouseError, match=f"port {port} is taken .* with --port"):
            server.listen(port)
    with server.listen(port) as free:
        assert free.getsockname() == ("127.0.0.1", port)


def test_two_at_once_are_refused_and_so_is_another_port(run, home):
    """The command, with a process that stands for the server."""
    service = Service(Paths(home).service)
    service.folder.mkdir(parents=True)
    write_secret(service.environment, exported(server.access_of(4300, service.environment)))
    service.server.start(["-c", WAITS], dict(os.environ))
    try:
        with answer._alone(service.folder):
            code, out, err = run("up", "--port", "4300", "--home", home)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "is at `gatehouse up` or `down` here: wait for it" in err
        code, out, err = run("up", "--port", "4301", "--home", home)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "it is up at http://127.0.0.1:4300: run `gatehouse down` first" in err
        code, out, _ = run("down", "--home", home)
        assert (code, out.startswith(f"server of {home} ended")) == (0, True)
    finally:
        service.server.end()


def test_a_server_that_does_not_answer_is_one_line_with_the_way_out(run, home, monkeypatch):
    """One that hangs: another port listens, and nobody serves it."""
    monkeypatch.setattr(server, "wait", lambda access, runs: False)
    service = Service(Paths(home).service)
    service.folder.mkdir(parents=True)
    write_secret(service.environment, exported(server.access_of(4300, service.environment)))
    service.server.start(["-c", WAITS], dict(os.environ))
    try:
        code, out, err = run("up", "--port", "4300", "--home", home)
        assert (code, out) == (2, "")
        assert "the server does not answer" in err and "run `gatehouse down`" in err
        # what was up before stays for `down` to end
        assert service.server.process and not service.worker.process
    finally:
        service.server.end()


def test_the_password_is_kept_for_the_next_time_and_for_no_other_user(tmp_path):
    kept = tmp_path / "environment"
    first = server.access_of(4200, kept)
    assert server.access_of(4200, kept) != first
    write_secret(kept, exported(first))
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert server.access_of(4200, kept) == first == server.kept_access(kept)
    other = server.access_of(4201, kept)
    assert other["PREFECT_API_AUTH_STRING"] == first["PREFECT_API_AUTH_STRING"]
    shell = ["sh", "-c", f". {kept}; echo $PREFECT_API_URL $PREFECT_API_AUTH_STRING"]
    said = subprocess.run(shell, capture_output=True, text=True, check=True).stdout.split()
    assert said == list(first.values())


def test_the_server_is_closed_and_silent(tmp_path):
    settings = server.settings_of(tmp_path, server.access_of(4200, tmp_path / "none"))
    assert settings["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert settings["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == "http://127.0.0.1:4200"
    assert settings["PREFECT_SERVER_API_AUTH_STRING"].startswith("gatehouse:")
    assert Reserved(Paths(tmp_path)).has(Paths(tmp_path).service / "prefect.db")


def test_what_somebody_changed_of_a_deployment_stays_when_it_is_deployed_again(prefect_server):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentUpdate
    from prefect.flows import load_flow_from_entrypoint

    from gatehouse.flows.service.deployments import CAPTURES, POOL, deploy

    declared = yaml.safe_load((PACKAGE / "prefect.yaml").read_text())["deployments"]
    names = deploy()
    with get_client(sync_client=True) as client:
        nightly = client.read_deployment_by_name("gatehouse-nightly/nightly")
        client.update_deployment(
            nightly.id,
            DeploymentUpdate(parameters=nightly.parameters | {"num_samples": 7}, schedules=[]),
        )
        assert deploy() == names
        found = {name.partition("/")[2]: client.read_deployment_by_name(name) for name in names}
        # else the flows of other tests would wait for each other
        client.delete_global_concurrency_limit_by_name(CAPTURES)
    assert list(found) == [each["name"] for each in declared]
    assert found["nightly"].parameters["num_samples"] == 7 and not found["nightly"].schedules
    for each in declared:
        there = found[each["name"]]
        assert (there.work_pool_name, there.description) == (POOL, each["description"])
        crons = [schedule["cron"] for schedule in each.get("schedules", [])]
        if each["name"] != "nightly":
            assert [schedule.schedule.cron for schedule in there.schedules] == crons
        flow = load_flow_from_entrypoint(there.entrypoint)
        assert f"{flow.name}/{each['name']}" in names
