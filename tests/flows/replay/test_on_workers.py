"""A replay by many processes is that of one, file for file, whoever is killed."""

import json

import pyarrow as pa
import pytest

from gatehouse.flows.replay import on_workers, planned
from gatehouse.flows.replay.answer import replay_parts
from gatehouse.flows.replay.parts import PartReplay
from gatehouse.flows.replay.planned import PlannedReplay
from gatehouse.flows.replay.request import ReplayRequest
from gatehouse.flows.replay.session import ReplaySession
from gatehouse.flows.steps.workers.part import Part
from gatehouse.flows.upkeep.status import overview
from gatehouse.warehouse import replays
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.tables import read_table
from tests.flows.replay.test_session import copied, run_of
from tests.flows.steps.test_workers import meanwhile, processes_of_workers, wait_until

POLICIES = {"drop_below": (0.4,), "mask": ("load:1",)}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch) -> None:
    """A worker is told which samples a part has."""
    monkeypatch.setattr(planned, "SAMPLES_AT_ONCE", 2)


@pytest.fixture(scope="module")
def alone(captured, tmp_path_factory) -> dict[str, pa.Table]:
    """What one process lands."""
    paths = copied(captured, tmp_path_factory.mktemp("alone"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planned, "SAMPLES_AT_ONCE", 2)
        measured(paths)
    return landed(paths)


def measured(paths: Paths, rank: Part | None = None, **options) -> int:
    """Replay, and return how many samples are left."""
    request = ReplayRequest(**POLICIES, **options)
    with ReplaySession(run_of(paths), request, paths, rank) as session:
        replay_parts(session)
        return session.left()


def landed(paths: Paths) -> dict[str, pa.Table]:
    """Return the parts that have landed by their names, without the times."""
    files = replays.parts(Lake(paths.lake), run_of(paths))
    return {
        path.name: read_table(path, replays.REPLAYS).drop_columns(["landed_at"]) for path in files
    }


def test_a_killed_worker_is_replaced_and_its_part_measured_again(captured, alone, tmp_path, capfd):
    paths = copied(captured, tmp_path)
    killed = []

    def kill_one() -> None:
        wait_until(lambda: replays.parts(Lake(paths.lake), run_of(paths)))
        *_, last = processes_of_workers()
        last.kill()
        killed.append(last.pid)

    with meanwhile(kill_one):
        assert measured(paths, workers=2) == 0
    assert killed and len(alone) > 3 and landed(paths) == alone
    assert not processes_of_workers() and "Traceback" not in capfd.readouterr().err
    assert not list(paths.lake.rglob("*.tmp")) and not list(paths.lake.rglob("*.lock"))


def test_ranks_replay_what_one_process_does(captured, alone, tmp_path):
    """One of them is begun again; what others do at the same time is not landed twice."""
    paths = copied(captured, tmp_path)
    left = measured(paths, Part(1, 2))
    assert 0 < left < sum(len(part.sample_ids) for part in pending(paths, Part(0, 1))) + left
    with ReplaySession(run_of(paths), ReplayRequest(**POLICIES), paths, Part(0, 2)) as session:
        mine = session.pending
        total = len(set(pa.concat_tables(alone.values())["sample_id"].to_pylist()))
        begun = seen(paths)
        assert begun["replay"] == {
            "samples": total,
            "replayed_samples": total - left,
            "seconds_left": None,
        }
        assert begun["state"] == "being written"
        session.measure(mine[0])
        replay = seen(paths)["replay"]
        assert replay["replayed_samples"] == total - left + len(mine[0].sample_ids)
        assert replay["seconds_left"] > 0
        words = f"{replay['replayed_samples']} of {total} samples, 0:00:"
        assert words in overview(paths)
        assert measured(paths, Part(0, 2)) == 0
        before = {path: path.stat().st_mtime_ns for path in paths.lake.rglob("part-*")}
        for part in mine:
            session.measure(part)
    assert {path: path.stat().st_mtime_ns for path in paths.lake.rglob("part-*")} == before
    assert landed(paths) == alone
    assert seen(paths)["replay"] is None and not list((paths.lake / "replaying").iterdir())


def seen(paths: Paths) -> dict:
    """What `gatehouse status` tells programs of the run."""
    (run,) = json.loads(overview(paths, "json"))["runs"]
    return run


def pending(paths: Paths, rank: Part) -> list[planned.Part]:
    with ReplaySession(run_of(paths), ReplayRequest(**POLICIES), paths, rank) as session:
        return session.pending


def test_of_two_replays_at_once_the_controls_land_once(captured, tmp_path):
    """Each of them has them, and began when none had landed."""
    paths = copied(captured, tmp_path)
    asked = [ReplayRequest(num_samples=2, drop_below=(each,)) for each in (0.2, 0.4)]
    sessions = [ReplaySession(run_of(paths), each, paths, Part(0, 1)) for each in asked]
    with sessions[0] as first, sessions[1] as second:
        replay_parts(first)
        # as if it had looked before the first one landed
        second._replay.landed.have = lambda keys: False
        replay_parts(second)
    rows = pa.concat_tables(landed(paths).values())
    keys = list(zip(rows["policy_id"].to_pylist(), rows["sample_id"].to_pylist(), strict=True))
    assert len(set(keys)) == len(keys) == 2 * 6


def test_while_one_process_replays_alone_others_are_refused(captured, tmp_path):
    paths = copied(captured, tmp_path)
    with (
        Lake(paths.lake).locks.writing(run_of(paths)),
        pytest.raises(GatehouseError, match="is being written by process"),
    ):
        measured(paths, Part(0, 2))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("database", "/nowhere/gatehouse.duckdb", "does not see /nowhere/gatehouse.duckdb: put"),
        ("versions", "gatehouse 9.9", "has gatehouse .*, and this command gatehouse 9.9: install"),
    ],
)
def test_a_worker_that_does_not_fit_says_so(name, value, said, captured):
    paths = Paths(captured)
    with PlannedReplay(run_of(paths), ReplayRequest(**POLICIES), paths) as replay:
        packed = json.loads(on_workers._packed(replay, PartReplay(replay)))
    work = json.dumps(packed | {name: value})
    with pytest.raises(GatehouseError, match=said), on_workers.open_replay(work):
        pass
