"""How much of a machine a build uses: made-up control groups, sizes as users write them."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from gatehouse.flows.steps import machine
from gatehouse.flows.steps.building import command
from gatehouse.flows.steps.machine import Share, checked_memory, checked_threads, share_of_machine
from gatehouse.warehouse.errors import GatehouseError

GIB = 2**30
JOB = "system.slice/slurmstepd.scope/job_7"


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch):
    """A machine of 16 cores and 64 GiB, whatever this one has, and nothing said of either."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)), raising=False)
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 64 * GIB // 4096}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    for name in (machine.THREADS, machine.MEMORY_LIMIT):
        monkeypatch.delenv(name, raising=False)


def group(root: Path, of: str, place: str, **files: str) -> Path:
    """Write what Linux shows of a control group, and of the one around it; return the root."""
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    with (root / "proc/self/cgroup").open("a") as listed:
        listed.write(f"{of}:/{place}\n")
    return limited(root, f"{of.split(':')[1].split(',')[0]}/{place}", **files)


def limited(root: Path, folder: str, **files: str) -> Path:
    path = root / "sys/fs/cgroup" / folder.strip("/")
    path.mkdir(parents=True, exist_ok=True)
    for name, words in files.items():
        (path / name.replace("__", ".")).write_text(f"{words}\n")
    return root


def test_without_limits_it_is_all_cores_and_most_of_the_memory(tmp_path):
    assert share_of_machine(tmp_path) == Share(16, int(64 * GIB * 0.6))


def test_a_container_of_v2_is_its_own_root(tmp_path):
    group(tmp_path, "0:", "", memory__max=str(10 * GIB), cpu__max="400000 100000")
    assert share_of_machine(tmp_path) == Share(4, 6 * GIB)


def test_groups_without_a_limit_do_not_limit(tmp_path):
    group(tmp_path, "0:", "", memory__max="max", cpu__max="max 100000")
    assert share_of_machine(tmp_path) == Share(16, int(64 * GIB * 0.6))


def test_a_job_has_the_smallest_limit_of_the_groups_around_it(tmp_path):
    group(tmp_path, "0:", f"{JOB}/step_0", memory__max="max", cpu__max="250000 100000")
    limited(tmp_path, JOB, memory__max=str(20 * GIB), cpu__max="max 100000")
    limited(tmp_path, "system.slice", memory__max=str(30 * GIB), cpu__max="800000 100000")
    # part of a core is worth a thread
    assert share_of_machine(tmp_path) == Share(3, 12 * GIB)


def test_groups_of_v1_limit_too(tmp_path):
    group(tmp_path, "4:memory", JOB, memory__limit_in_bytes=str(5 * GIB))
    limited(tmp_path, "memory", memory__limit_in_bytes="9223372036854771712")
    quota = {"cpu__cfs_quota_us": "200000", "cpu__cfs_period_us": "100000"}
    group(tmp_path, "3:cpu,cpuacct", JOB, **quota)
    limited(tmp_path, "cpu", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    assert share_of_machine(tmp_path) == Share(2, 3 * GIB)


def test_a_container_of_v1_does_not_see_its_place_outside(tmp_path):
    group(tmp_path, "4:memory", "")
    with (tmp_path / "proc/self/cgroup").open("w") as listed:
        listed.write("4:memory:/docker/0123\n")
    limited(tmp_path, "memory", memory__limit_in_bytes=str(10 * GIB))
    assert share_of_machine(tmp_path).memory == 6 * GIB


def test_the_smallest_group_still_has_what_a_build_needs(tmp_path):
    group(tmp_path, "0:", "", memory__max=str(2**20), cpu__max="1000 100000")
    share = share_of_machine(tmp_path)
    assert share.threads == 1 and share.memory >= machine.LEAST_MEMORY


def test_jobs_of_one_machine_share_nothing_and_workers_of_one_job_all(monkeypatch, tmp_path):
    shared, free = tmp_path / "first", {"memory__max": "max", "cpu__max": "max 100000"}
    group(shared, "0:", f"{JOB}/step_0", **free)
    limited(shared, JOB, memory__max=str(20 * GIB), cpu__max="400000 100000")
    other = group(tmp_path / "second", "0:", JOB.replace("7", "8"), memory__max=str(20 * GIB))
    sessions = [group(tmp_path / name, "0:", f"user/{name}.scope", **free) for name in "ab"]
    rooms = {root.name: machine.rooms(root) for root in (shared, other, *sessions)}
    names = {name: tuple(room.replace(name, "") for room in rooms[name]) for name in rooms}
    assert names["a"] == names["b"]
    assert not {*names["first"], *names["a"]} & {names["second"][1]}
    assert names["first"][1] != names["a"][1]
    # of the second job only cores that it is bound to tell that they are not everybody's
    assert names["second"][0] == names["a"][0]
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {4, 5})
    assert machine.rooms(other)[0] != rooms["second"][0]
    assert Share(16, 20 * GIB).divided(2, 1) == Share(8, 20 * GIB)


def test_what_the_environment_says_is_in_place_of_the_machine(monkeypatch, tmp_path):
    monkeypatch.setenv(machine.THREADS, "64")
    monkeypatch.setenv(machine.MEMORY_LIMIT, "200GB")
    assert share_of_machine(tmp_path) == Share(64, 200 * 10**9)
    monkeypatch.setenv(machine.THREADS, "many")
    with pytest.raises(GatehouseError, match=r"GATEHOUSE_THREADS many: give a number of threads"):
        share_of_machine(tmp_path)


@pytest.mark.parametrize(
    ("words", "size"),
    [
        ("8GB", 8 * 10**9),
        ("1.5 gib", 3 * GIB // 2),
        ("512MiB", 512 * 2**20),
        (f"{GIB}B", GIB),
        ("300000kb", 300_000_000),
        ("1TB", 10**12),
    ],
)
def test_sizes_are_read_as_they_are_written(words, size):
    assert checked_memory(words, "--memory-limit") == size


@pytest.mark.parametrize("words", ["", "8", "much", "-8GB", "0GB", "255MiB", "8 parsecs", "nanGB"])
def test_other_sizes_are_refused(words):
    with pytest.raises(GatehouseError, match=r"--memory-limit .*: give a size"):
        checked_memory(words, "--memory-limit")


@pytest.mark.parametrize("words", ["0", "-1", "two", "1.5", "", "1025", "9" * 30])
def test_other_numbers_of_threads_are_refused(words):
    with pytest.raises(GatehouseError, match=r"--threads .*: give a number"):
        checked_threads(words, "--threads")


def test_dbt_and_duckdb_get_what_a_build_may_use(monkeypatch, tmp_path):
    """The variables are those that the profile reads, and are gone after the build."""
    seen = {}

    def run_dbt(words, target):
        seen.update(command=words, threads=os.environ[machine.THREADS])
        seen["memory"] = os.environ[machine.MEMORY_LIMIT]
        return SimpleNamespace(success=True, result=None)

    monkeypatch.setattr(command, "run_dbt", run_dbt)
    share = share_of_machine()
    command.Dbt(tmp_path / "lake", tmp_path / "gatehouse.duckdb", tmp_path, share).run("build")
    assert seen["command"] == ("build", "--threads", "4")
    assert seen["threads"] == "16" and seen["memory"].endswith("B")
    assert machine.THREADS not in os.environ
