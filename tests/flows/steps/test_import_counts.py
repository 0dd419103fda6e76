"""Counts of experts land as a run without events, exactly once."""

import numpy as np
import pytest

from gatehouse.flows.steps import imported_run as importing
from gatehouse.flows.steps.imported_run import ImportRequest, example_of, layout_of
from gatehouse.flows.steps.importing import import_files
from gatehouse.flows.upkeep import remove, status
from gatehouse.models.checkpoint.described import describe
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.notes.run_names import find_run
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.records import COUNTED, COUNTS
from gatehouse.warehouse.tables import write_table
from gatehouse.warehouse.upkeep.verification import verify
from tests.ingest.traces.test_counts import imatrix


@pytest.fixture(scope="module")
def described(tiny_mixtral):
    return describe(str(tiny_mixtral), None, False)


@pytest.fixture(autouse=True)
def known(monkeypatch, described):
    """The model is looked at once for all tests."""
    monkeypatch.setattr(importing, "describe", lambda *_: described)


@pytest.fixture
def selections(described) -> np.ndarray:
    layout = layout_of(described)
    of_a_layer = np.arange(layout.num_experts[0])
    return np.stack([np.roll(of_a_layer, each) for each in range(len(layout.blocks))])


@pytest.fixture
def request_of_counts(described, selections, tmp_path) -> ImportRequest:
    path = imatrix(tmp_path, selections, blocks=layout_of(described).blocks)
    return ImportRequest("counts", (path,), "the tiny model", name="counted")


def test_counts_land_once_and_are_what_the_engine_counted(
    request_of_counts, selections, tmp_path, capfd
):
    paths = Paths(tmp_path / "home")
    summary = import_files(request_of_counts, paths)
    lake = Lake(paths.lake)
    assert summary.selections == selections.sum() and summary.line.startswith(summary.run_id)
    found = lake.counts(summary.run_id)
    assert found.schema.equals(COUNTS)
    assert found["selections"].to_pylist() == selections.reshape(-1).tolist()
    record = lake.run_record(summary.run_id)
    assert (record["source"], record["shards"]) == (COUNTED, 0) and record["finished_at"]
    assert verify(lake, summary.run_id) == []
    capfd.readouterr()
    assert import_files(request_of_counts, paths) == summary
    assert "is finished: nothing to import" in capfd.readouterr().err
    assert '"state": "finished"' in status.overview(paths, "json")
    remove.remove_run(find_run(paths.lake, "counted"), paths, lambda question: True)
    assert not lake.run_ids()


@pytest.mark.parametrize("damage", ["missing", "other", "unlawful"])
def test_damaged_counts_are_found_and_land_again(request_of_counts, damage, tmp_path):
    paths = Paths(tmp_path / "home")
    summary = import_files(request_of_counts, paths)
    lake = Lake(paths.lake)
    path, whole = lake.file("counts", summary.run_id), lake.counts(summary.run_id)
    if damage == "missing":
        path.unlink()
    elif damage == "other":
        path.write_bytes(path.read_bytes()[::-1])
    else:
        write_table(path, whole.slice(1))
    (problem,) = verify(lake, summary.run_id)
    assert "`gatehouse import counts`" in problem.what
    import_files(request_of_counts, paths)
    assert verify(lake, summary.run_id) == [] and lake.counts(summary.run_id).equals(whole)


def test_a_run_is_unfinished_until_its_counts_are_there(request_of_counts, tmp_path, monkeypatch):
    paths = Paths(tmp_path / "home")
    lake = Lake(paths.lake)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Lake, "land_counts", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        import_files(request_of_counts, paths)
    (run_id,) = lake.runs()
    assert lake.run_record(run_id)["finished_at"] is None and verify(lake, run_id) == []
    assert import_files(request_of_counts, paths).run_id == run_id
    assert lake.run_record(run_id)["finished_at"] and verify(lake, run_id) == []


def test_counts_in_the_folder_of_another_run_are_strangers(request_of_counts, tmp_path):
    paths = Paths(tmp_path / "home")
    run_id = import_files(request_of_counts, paths).run_id
    lake = Lake(paths.lake)
    lake.update_run(run_id, lake.run_record(run_id) | {"source": "capture"})
    assert [problem.path for problem in verify(lake, run_id)] == [lake.file("counts", run_id)]


def test_a_file_that_is_given_twice_is_refused(request_of_counts, tmp_path):
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(request_of_counts.files[0].read_bytes())
    twice = ImportRequest("counts", (*request_of_counts.files, copy), "the tiny model")
    with pytest.raises(GatehouseError, match=r"copy\.gguf holds the same as .*: give it once"):
        import_files(twice, Paths(tmp_path / "home"))
    assert not (tmp_path / "home").exists()


def test_it_is_listed_and_has_an_example():
    assert "\ncounts " in example_of("all") and "llama-imatrix" in example_of("counts")
