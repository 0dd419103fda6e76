"""A run captured by many processes is that of one, byte for byte, whoever is killed."""

import os
import re
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps import capture
from gatehouse.flows.steps.workers import cluster, connection, settings, work
from gatehouse.flows.steps.workers.local import local_cluster
from gatehouse.flows.steps.workers.part import Part
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.release import gatehouse_version
from tests.chaos.processes import Call, start, wait
from tests.conftest import CHECKOUT, without_prefect
from tests.flows.steps.test_resume import contents

SHARDS = 4


@pytest.fixture(scope="module")
def request_(tmp_path_factory, tiny_mixtral) -> RunRequest:
    """1,600 short texts: shards of 512, 512, 512 and 64 samples, each of seconds."""
    corpus = tmp_path_factory.mktemp("corpus") / "texts.txt"
    words = ["router", "expert", "the", "token"]
    corpus.write_text("".join(f"{words[n % 4]} {words[n // 4 % 4]} {n}\n" for n in range(1_600)))
    return RunRequest(
        model=str(tiny_mixtral), dataset=str(corpus), lines=True, batch_size=2, max_length=32
    )


@pytest.fixture(scope="module")
def alone(request_, tmp_path_factory) -> Paths:
    """The home of one process."""
    paths = Paths(tmp_path_factory.mktemp("alone"))
    capture.capture(request_, paths)
    return paths


def is_that_of(alone: Paths, paths: Paths) -> None:
    """Check that a lake has the same rows in all files, and in those of shards the same bytes."""
    assert contents(paths) == contents(alone)
    shards = {"samples", "events"}
    for path in alone.lake.rglob("shard-*.parquet"):
        name = path.relative_to(alone.lake)
        if name.parts[0] in shards:
            assert (paths.lake / name).read_bytes() == path.read_bytes(), name
    assert not list(paths.root.rglob("*.tmp")) and not list(paths.root.rglob("*.lock"))
    (record,) = Lake(paths.lake).runs().values()
    assert record["finished_at"] is not None


def processes_of_workers() -> list[psutil.Process]:
    """Return the processes of workers that this process, or a command of its, has started."""
    found = []
    for each in psutil.Process().children(recursive=True):
        try:
            if "workers.serving" in " ".join(each.cmdline()):
                found.append(each)
        except psutil.NoSuchProcess:
            continue
    return found


def wait_until(holds: Callable[[], object], seconds: float = 120.0) -> None:
    for _ in range(int(seconds * 100)):
        if holds():
            return
        select.select([], [], [], 0.01)
    raise AssertionError("it never came to this")


def landed(paths: Paths) -> list[Path]:
    return list((paths.lake / "shards").rglob("shard-*.parquet"))


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[None]:
    """Do something in a thread beside the block, and raise what it raised."""
    failures = []

    def watched() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=watched)
    thread.start()
    yield
    thread.join()
    assert not failures, failures


def test_a_killed_worker_is_replaced_and_its_shard_captured_again(
    request_, alone, tmp_path, monkeypatch, capfd
):
    """Nothing of the user's Dask steers it, and nothing of Dask's is left."""
    paths = Paths(tmp_path / "home")
    monkeypatch.setenv("DASK_LOGGING__DISTRIBUTED", "debug")
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__DEFAULT_SCHEME", "nonsense")
    monkeypatch.chdir(tmp_path)
    killed = []

    def kill_one() -> None:
        wait_until(lambda: landed(paths))
        *_, last = processes_of_workers()
        last.kill()
        killed.append(last.pid)

    with meanwhile(kill_one):
        summary = capture.capture(replace(request_, workers=2), paths)
    assert killed and summary.samples == 1_600
    is_that_of(alone, paths)
    assert not processes_of_workers()
    said = capfd.readouterr()
    assert said.out == "" and "distributed" not in said.err and "Traceback" not in said.err
    # both load the same model, and say so once
    assert len(re.findall("weights: ", said.err)) == 1, said.err
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert os.environ["DASK_LOGGING__DISTRIBUTED"] == "debug"


def test_ctrl_c_ends_the_workers_and_ranks_go_on_from_there(request_, alone, tmp_path):
    """Two ranks after one another: the first says what is left, the last closes the run."""
    paths = Paths(tmp_path)
    words = ["--model", request_.model, "--dataset", request_.dataset, "--lines"]
    words += ["--batch-size", "2", "--max-length", "32", "--workers", "1", "--home", str(tmp_path)]
    running = subprocess.Popen(
        [sys.executable, "-m", "gatehouse.flows.cli", "capture", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=without_prefect(),
        cwd=CHECKOUT,
        start_new_session=True,
    )
    wait_until(lambda: landed(paths) or running.poll() is not None)
    workers = processes_of_workers()
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (130, ""), err
    assert err.splitlines()[-1].startswith("gatehouse: interrupted; what has landed stays")
    assert "Traceback" not in err and "Error" not in err, err
    psutil.wait_procs(workers, timeout=10)
    assert len(workers) == 1 and not workers[0].is_running()
    assert not list(paths.lake.rglob("*.tmp"))
    first = capture.capture_part(request_, paths, Part(0, 2))
    if isinstance(first, capture.PartSummary):
        assert re.search(r"rank 0 of 2 has landed; \d of 4 shards are left to the", first.line)
    assert capture.capture_part(request_, paths, Part(1, 2)).samples == 1_600
    is_that_of(alone, paths)


def test_two_ranks_at_once_one_killed_and_started_again(request_, alone, tmp_path):
    paths = Paths(tmp_path / "home")

    def rank(number: int) -> Callable[[Callable[[str], None]], None]:
        def inside(mark: Callable[[str], None]) -> None:
            import torch

            torch.set_num_threads(1)
            capture.capture_part(request_, paths, Part(number, 2))

        return inside

    log = tmp_path / "log"
    at_its_second_shard = Call("write", "gatehouse.warehouse.runs.shards.Shards.record", 2)
    first, second = wait(
        start(rank(0), log, at_its_second_shard),
        start(rank(1), log),
    )
    assert first.killed and second.code == 0, log.read_text()
    (again,) = wait(start(rank(0), log))
    assert again.code == 0, log.read_text()
    is_that_of(alone, paths)


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a Dask cluster of two workers, as a user has it."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=0
    ) as cluster:
        yield cluster.scheduler_address


def test_the_workers_of_a_cluster_capture(request_, alone, scheduler, tmp_path):
    paths = Paths(tmp_path)
    capture.capture(replace(request_, scheduler=scheduler), paths)
    is_that_of(alone, paths)


def test_an_error_of_a_worker_is_the_line_of_one_process(request_, scheduler, tmp_path, capfd):
    """The home is a file: a worker cannot land what it has captured."""
    # in place of the lake's folder of events
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "events").write_text("")
    refusals = []
    for request in (request_, replace(request_, scheduler=scheduler)):
        with pytest.raises(GatehouseError) as refused:
            capture.capture(request, Paths(tmp_path))
        refusals.append(str(refused.value))
    assert refusals[0] == refusals[1] and "move away what is in its place" in refusals[0]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("home", None, ""),
        ("versions", "gatehouse 9.9, ", r"has gatehouse .*, and this command gatehouse 9.9, : in"),
        (
            "versions",
            f"gatehouse {gatehouse_version()}, torch 0",
            r"torch 2.*this command.*torch 0",
        ),
        ("dtype", "bfloat16", "would capture another run: dtype float32 there and bfloat16 here"),
        ("path", "/nowhere/samples.parquet", "does not see /nowhere/samples.parquet: put the home"),
    ],
)
def test_workers_that_do_not_fit_are_refused(
    name, value, said, request_, scheduler, tmp_path, monkeypatch
):
    import json

    whole = work.packed

    def packed(run) -> str:
        made = json.loads(whole(run))
        if name == "home":
            # another folder of the same name, on another machine
            made["home"] = str(tmp_path / "elsewhere")
        for part in (made, made["spec"], made["prepared"]):
            if name in part and name != "home":
                part[name] = value
        return json.dumps(made)

    monkeypatch.setattr(work, "packed", packed)
    monkeypatch.setattr(cluster, "SECONDS_UNTIL_SEEN", 0)
    expected = said or "a worker has landed shard 0, and .* does not have it: put the home"
    with pytest.raises(GatehouseError, match=expected):
        capture.capture(replace(request_, scheduler=scheduler), Paths(tmp_path / "home"))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense", "foo://127.0.0.1:9"])
def test_nobody_at_the_address_is_one_line(address, request_, tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "SECONDS_TO_ANSWER", 0.2)
    with pytest.raises(GatehouseError, match=f"--scheduler {address}: no Dask scheduler answers"):
        capture.capture(replace(request_, scheduler=address), Paths(tmp_path))


def test_a_worker_that_cannot_start_says_why(request_, tmp_path, monkeypatch):
    from gatehouse.flows.steps.workers import local

    monkeypatch.setattr(local, "WORKER", "raise SystemExit('no such thing')")
    with pytest.raises(GatehouseError, match=r"worker \d cannot start \(no such thing\)"):
        capture.capture(replace(request_, workers=1), Paths(tmp_path))


def test_without_workers_it_waits_and_without_a_scheduler_it_ends(request_, tmp_path, capfd):
    from distributed import LocalCluster

    cluster = LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0")
    said = f"no worker at {cluster.scheduler_address} yet: waiting for one"
    heard = []

    def end_it() -> None:
        wait_until(lambda: heard.append(capfd.readouterr().err) or said in "".join(heard))
        cluster.close()

    with meanwhile(end_it), pytest.raises(GatehouseError, match="the Dask scheduler has gone"):
        capture.capture(
            replace(request_, scheduler=cluster.scheduler_address), Paths(tmp_path / "home")
        )


def test_settings_of_dask_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "broken.yaml").write_text("distributed: [")
    code = "from gatehouse.flows.steps.workers.settings import dask\nwith dask(own=False): pass"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"DASK_CONFIG": str(tmp_path)},
        cwd=CHECKOUT,
    )
    line = ended.stderr.splitlines()[-1]
    assert "GatehouseError: Dask's settings cannot be read" in line
    assert line.endswith(f"correct them in {tmp_path}")


def test_nobody_without_the_key_reaches_the_workers():
    from distributed import Client
    from distributed.security import Security

    before = listening()
    with settings.dask(own=True), local_cluster([]) as (client, _):
        (scheduler,) = listening() - before
        address = client.scheduler.address
        assert scheduler.ip == "127.0.0.1" and address == f"tls://127.0.0.1:{scheduler.port}"
        for other, security in (
            (address.replace("tls", "tcp"), None),
            (address, Security.temporary()),
        ):
            with pytest.raises(OSError):
                Client(other, security=security, timeout=0.5, set_as_default=False)


def listening() -> set[Any]:
    """Return the addresses at which this process listens."""
    sockets = psutil.Process().net_connections()
    return {each.laddr for each in sockets if each.status == psutil.CONN_LISTEN}


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask", None)
    named = r"pip install 'gatehouse\[cluster\]'"
    with pytest.raises(GatehouseError, match=named), settings.dask(own=True):
        pass


def test_workers_and_a_scheduler_exclude_each_other():
    with pytest.raises(GatehouseError, match="leave one of them out"):
        RunRequest(workers=2, scheduler="tcp://127.0.0.1:8786")
    with pytest.raises(GatehouseError, match="--workers must be 1 or more"):
        RunRequest(workers=0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "--rank", "0"), "only a capture can be split by ranks"),
        (("capture", "--rank", "0", "--of", "2", "--workers", "2"), "leave out one or the other"),
    ],
)
def test_ranks_are_of_a_capture_alone(words, said, run):
    code, out, err = run(*words)
    assert (code, out) == (2, "") and said in err and len(err.splitlines()) == 1
