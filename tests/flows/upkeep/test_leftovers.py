"""What killed processes left behind goes, and what is in use stays."""

from gatehouse.flows.steps.build import lock
from gatehouse.flows.upkeep.verify import verify_runs
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths


def test_a_repair_removes_what_killed_processes_left_and_nothing_that_is_in_use(tmp_path):
    """Also where nothing else is wrong, as after a repair that was killed at its end."""
    paths = Paths(tmp_path / "home")
    left = [
        paths.lake / "locks" / "a-run.lock",
        paths.root / "building.lock",
        paths.root / "building" / "gatehouse.duckdb",
    ]

    def leave() -> None:
        for path in left:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    leave()
    verify_runs(None, paths)
    assert all(path.exists() for path in left)
    verify_runs(None, paths, repair=True)
    assert not any(path.exists() for path in (*left, paths.root / "building"))
    leave()
    with Lake(paths.lake).writing("a-run"), lock(paths):
        verify_runs(None, paths, repair=True)
        assert all(path.exists() for path in left)
