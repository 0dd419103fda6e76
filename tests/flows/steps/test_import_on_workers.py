"""A trace that many processes import is what one lands, byte for byte, whoever is killed."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gatehouse.flows.request import Workers
from gatehouse.flows.steps.importing import imported_run, on_workers
from gatehouse.flows.steps.importing.any_format import import_files
from gatehouse.flows.steps.importing.import_trace import import_trace
from gatehouse.flows.steps.importing.imported_run import ImportRequest
from gatehouse.flows.steps.workers.cluster import at_most
from gatehouse.flows.steps.workers.part import Part, PartSummary
from gatehouse.ingest.traces import landing, pieces
from gatehouse.ingest.traces.sequence import Piece
from gatehouse.models.checkpoint.described import describe
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from tests.flows.steps.test_workers import (
    is_that_of,
    landed,
    meanwhile,
    processes_of_workers,
    wait_until,
)

FILES, SEQUENCES = 12, 3


@pytest.fixture(scope="module", autouse=True)
def small_shards(tiny_mixtral) -> Iterator[None]:
    """Of two sequences, so that some begin in one file and end in the next; a worker is told."""
    described = describe(str(tiny_mixtral), None, False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(landing, "SHARD_SAMPLES", 2)
        patch.setattr(imported_run, "describe", lambda *_: described)
        yield


@pytest.fixture(scope="module")
def trace(tmp_path_factory) -> Path:
    """A folder of files of the plain format, of random sequences."""
    folder = tmp_path_factory.mktemp("trace")
    generator = np.random.default_rng(1)
    for number in range(FILES):
        with open(folder / f"{number:02}.jsonl", "w") as file:
            for _ in range(SEQUENCES):
                tokens = int(generator.integers(3, 40))
                experts = np.argsort(generator.random((tokens, 3, 4)), axis=2)[..., :2]
                row = {"experts": experts.tolist(), "domain": f"{number % 3}"}
                file.write(json.dumps(row) + "\n")
    return folder


def request(trace: Path, workers: Workers | None = None) -> ImportRequest:
    return ImportRequest("jsonl", (trace,), "the tiny model", asked_workers=workers)


@pytest.fixture(scope="module")
def alone(trace, tmp_path_factory) -> Paths:
    """The home of one process."""
    paths = Paths(tmp_path_factory.mktemp("alone"))
    assert import_trace(request(trace), paths).sequences == FILES * SEQUENCES
    return paths


def test_a_killed_worker_is_replaced_and_its_shards_land_again(trace, alone, tmp_path, capfd):
    paths = Paths(tmp_path / "home")
    killed = []

    def kill_one() -> None:
        wait_until(lambda: landed(paths))
        *_, last = processes_of_workers()
        last.kill()
        killed.append(last.pid)

    with meanwhile(kill_one):
        summary = import_trace(request(trace, Workers(2)), paths)
    assert killed and summary == import_trace(request(trace), alone)
    is_that_of(alone, paths)
    assert not processes_of_workers() and "Traceback" not in capfd.readouterr().err


def test_nothing_lands_of_a_trace_that_a_worker_refuses_in_the_same_line(trace, tmp_path):
    folder = tmp_path / "broken"
    folder.mkdir()
    for path in trace.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    row = json.loads((folder / "07.jsonl").read_text().splitlines()[0])
    row["experts"][0][0] = [1, 1]
    (folder / "07.jsonl").write_text(json.dumps(row))
    said = []
    for workers in (None, Workers(1)):
        with pytest.raises(GatehouseError, match=r"07\.jsonl:1 has an expert twice") as refused:
            import_trace(request(folder, workers), Paths(tmp_path / "home"))
        said.append(str(refused.value))
    assert said[0] == said[1]
    assert not list((tmp_path / "home").rglob("*.parquet"))


def test_ranks_land_what_one_process_does(trace, alone, tmp_path):
    """The last one closes the run, which one process then finds finished."""
    paths = Paths(tmp_path / "home")
    first = import_trace(request(trace), paths, Part(1, 2))
    assert isinstance(first, PartSummary) and 0 < first.left < first.shards
    assert "rank 1 of 2 has landed" in first.line
    again = import_trace(request(trace), paths, Part(1, 2))
    assert again == first
    assert import_trace(request(trace), paths, Part(0, 2)) == import_trace(request(trace), alone)
    is_that_of(alone, paths)


def test_ranks_share_one_long_file(trace, tmp_path, monkeypatch):
    """It is cut between lines, and lands as one process lands it whole."""
    one = tmp_path / "one.jsonl"
    one.write_bytes(b"".join(path.read_bytes() for path in sorted(trace.iterdir())))
    alone, shared = Paths(tmp_path / "alone"), Paths(tmp_path / "shared")
    whole = import_trace(request(one), alone)
    monkeypatch.setattr(pieces, "SMALLEST_PIECE", one.stat().st_size // 7)
    first = import_trace(request(one), shared, Part(0, 2))
    assert isinstance(first, PartSummary) and 0 < first.left < first.shards
    assert import_trace(request(one), shared, Part(1, 2)) == whole
    is_that_of(alone, shared)


def test_a_run_that_one_process_began_is_finished_without_what_has_landed(
    trace, alone, tmp_path, monkeypatch
):
    paths = Paths(tmp_path / "home")
    land_shard = Lake.land_shard

    def dies(self, run_id, shard, *arguments, **options):
        if shard == 4:
            raise KeyboardInterrupt
        land_shard(self, run_id, shard, *arguments, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Lake, "land_shard", dies)
        import_trace(request(trace), paths)
    before = {path: path.stat().st_mtime_ns for path in landed(paths)}
    import_trace(request(trace), paths, Part(0, 1))
    assert (
        len(before) == 4
        and before.items() <= {path: path.stat().st_mtime_ns for path in landed(paths)}.items()
    )
    is_that_of(alone, paths)


def test_what_can_only_be_read_in_order_keeps_no_workers_waiting(trace, tmp_path, capfd):
    paths = Paths(tmp_path / "home")
    import_trace(request(trace / "00.jsonl", Workers(2)), paths)
    assert at_most(Workers(3), 2) == Workers(2) and at_most(Workers(2), 2) == Workers(2)
    assert at_most(Workers(scheduler="tcp://host:1"), 1) == Workers(scheduler="tcp://host:1")
    said = capfd.readouterr().err
    assert "this trace of jsonl is one piece, as it is short" in said
    assert "2 of 3 workers: there is no work for more" in said
    assert len(landed(paths)) == 2 and not processes_of_workers()


def test_counts_are_not_cut(trace, tmp_path):
    counts = replace(request(trace, Workers(2)), format="counts")
    with pytest.raises(GatehouseError, match="leave out --workers, --scheduler and --rank"):
        import_files(counts, Paths(tmp_path / "home"))


def test_while_one_process_imports_alone_others_are_refused(trace, alone):
    (run_id,) = Lake(alone.lake).run_ids()
    with (
        Lake(alone.lake).locks.writing(run_id),
        pytest.raises(GatehouseError, match="is being written by process"),
    ):
        import_trace(request(trace), alone, Part(0, 2))


def test_a_worker_that_does_not_see_the_trace_says_so(tmp_path):
    work = {"home": str(tmp_path), "bucket": None, "versions": "gatehouse 9.9", "trace": {}}
    with (
        pytest.raises(GatehouseError, match=r"and this command gatehouse 9\.9: install the same"),
        on_workers.open_import(json.dumps(work)),
    ):
        pass
    with pytest.raises(GatehouseError, match=r"does not see /nowhere/a\.jsonl: put the home"):
        on_workers._see([Piece((Path("/nowhere/a.jsonl"),))])
