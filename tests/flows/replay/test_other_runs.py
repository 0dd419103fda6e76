"""The routing of another run, and runs that cannot be replayed."""

import hashlib
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from gatehouse.flows.replay.answer import replay, replay_parts
from gatehouse.flows.replay.request import ReplayRequest
from gatehouse.flows.replay.session import ReplaySession
from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps import capture
from gatehouse.ingest.numbering import split_of
from gatehouse.warehouse import replays
from gatehouse.warehouse.errors import BrokenLaw, GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.records import document_hash
from tests.conftest import save_tiny_mixtral
from tests.flows.conftest import build_of

SPLITS = {"train": "no text in the splits", "test": "no text in the train split"}
FEW = ReplayRequest(num_samples=2, drop_below=(0.4,))


@pytest.fixture
def paths(unmoved) -> Paths:
    return unmoved


@pytest.fixture
def run_id(paths) -> str:
    (found,) = Lake(paths.lake).run_ids()
    return found


def again(paths: Paths, run_id: str, **changes) -> str:
    """Capture the run's text again, with other options."""
    record = Lake(paths.lake).run_record(run_id)
    options = {"model": record["model"], "dataset": record["dataset"], "max_length": 128}
    return capture.capture(RunRequest(**options | changes), paths).run_id


@pytest.fixture(scope="module")
def companions(captured, tmp_path_factory) -> tuple[Paths, str, dict[str, str]]:
    """A home, its run, and what differs -> the id of another run there; all built at once."""
    folder = tmp_path_factory.mktemp("companions")
    paths = Paths(Path(shutil.copytree(captured, folder / "home")))
    (run_id,) = Lake(paths.lake).run_ids()
    corpus = Path(Lake(paths.lake).run_record(run_id)["dataset"])
    lines = corpus.read_text().splitlines(keepends=True)
    texts = {
        "text": [
            json.dumps({"text": f"another text number {number} of this corpus"}) + "\n"
            for number in range(60)
        ],
        **{split: [line for line in lines if split_of_line(line) == split] for split in SPLITS},
    }
    others = {}
    for name, chosen in texts.items():
        (folder / f"{name}.jsonl").write_text("".join(chosen))
        others[name] = again(paths, run_id, dataset=str(folder / f"{name}.jsonl"))
    model = save_tiny_mixtral(folder / "eight", num_local_experts=8)
    others["model"] = again(paths, run_id, model=str(model))
    others["precision"] = again(paths, run_id, dtype="bfloat16", name="half")
    build_of(paths, "stg_events", "stg_samples", "dim_run", "dim_layer", "int_fast_path_table")
    return paths, run_id, others


def split_of_line(line: str) -> str:
    text = hashlib.sha256(json.loads(line)["text"].encode()).hexdigest()
    return split_of(document_hash(None, text))


def landed_routing(paths: Paths, run_id: str) -> list[dict]:
    """Return the rows of what was replayed with landed routing."""
    rows = [
        row
        for path in replays.parts(Lake(paths.lake), run_id)
        for row in replays.read_part(path).to_pylist()
    ]
    return [row for row in rows if row["kind"] == replays.ROUTING_OF]


def refused(paths: Paths, run_id: str, said: str, request: ReplayRequest = FEW) -> None:
    with pytest.raises(GatehouseError, match=said), ReplaySession(run_id, request, paths):
        pass
    assert not replays.parts(Lake(paths.lake), run_id)


def test_the_routing_of_another_precision_is_replayed(companions):
    paths, run_id, others = companions
    for ids_only in (False, True):
        request = ReplayRequest(num_samples=2, routing_of=("half",), ids_only=ids_only)
        with ReplaySession(run_id, request, paths) as entered:
            replay_parts(entered)
        rows = landed_routing(paths, run_id)
        found = [row for row in rows if row["ids_only"] is (ids_only or None)]
        assert {row["routing_of"] for row in found} == {others["precision"]}
        for row in found:
            assert row["covered"] == [row["rows"]] * 3
            # most tokens keep their experts in another precision; others move the loss
            assert 0.8 * row["rows"] < sum(row["agreed"]) / 3 <= row["rows"]
            assert row["nll"] != row["untouched_nll"]
    # the other tests of this home find no replays there
    shutil.rmtree(Lake(paths.lake).folder("replays", run_id))


def test_its_own_landed_routing_costs_what_rounding_to_16_bits_costs(paths, run_id):
    """Replayed as the command does, which builds the marts of it."""
    replay(run_id, ReplayRequest(num_samples=2, routing_of=(run_id,)), paths)
    for row in landed_routing(paths, run_id):
        assert row["agreed"] == row["covered"] == [row["rows"]] * 3
        assert abs(row["nll"] - row["untouched_nll"]) < 1e-3 * row["tokens"]


@pytest.mark.parametrize(
    ("other", "said"),
    [("text", "not a run of the same text"), ("model", "is of another model")],
)
def test_a_run_of_another_text_or_model_has_no_routing_for_this_one(companions, other, said):
    paths, run_id, others = companions
    refused(paths, run_id, said, ReplayRequest(routing_of=(others[other],)))


def test_routing_without_weights_needs_those_of_the_router(paths, run_id, monkeypatch):
    from gatehouse.flows.replay import policies

    found = policies.held_out.routing_of

    def without(*arguments):
        table = found(*arguments)
        nulls = table["weight"].slice(0, 0).to_pylist() + [None] * len(table)
        return table.set_column(table.column_names.index("weight"), "weight", [nulls])

    monkeypatch.setattr(policies.held_out, "routing_of", without)
    refused(paths, run_id, "add --ids-only", ReplayRequest(routing_of=(run_id,)))


def change(paths: Paths, run_id: str, **columns) -> None:
    lake = Lake(paths.lake)
    lake.update_run(run_id, lake.run_record(run_id) | columns)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"finished_at": None}, "has not finished: `gatehouse status`"),
        ({"source": "vllm"}, "was imported, and its model is not replayed"),
        ({"trust_remote_code": True}, "add --trust-remote-code"),
    ],
)
def test_a_run_that_cannot_be_replayed_is_refused(paths, run_id, columns, said):
    change(paths, run_id, **columns)
    refused(paths, run_id, said)


def test_routing_that_is_not_whole_is_refused(companions):
    paths, run_id, others = companions
    record = Lake(paths.lake).run_record(others["precision"])
    change(paths, others["precision"], finished_at=None)
    routing = ReplayRequest(routing_of=(others["precision"],))
    refused(paths, run_id, "has not finished, so its", routing)
    change(paths, others["precision"], **record)


@pytest.mark.parametrize("split", SPLITS)
def test_a_run_of_one_split_has_nothing_to_learn_from_or_to_measure(companions, split):
    paths, _, others = companions
    refused(paths, others[split], SPLITS[split], ReplayRequest(table=("tokens",)))


def test_a_model_that_its_own_routing_changes_is_not_measured(paths, run_id, monkeypatch):
    from gatehouse.flows.replay import parts

    def skewed(*arguments):
        for measured in found(*arguments):
            for sums in measured.values():
                sums.nll[:] += 1e-9
            yield measured

    found = parts.measure
    monkeypatch.setattr(parts, "measure", skewed)
    with (
        pytest.raises(GatehouseError, match="replaying its own routing changes"),
        ReplaySession(run_id, FEW, paths) as entered,
    ):
        entered.measure(entered.pending[0])
    assert not replays.parts(Lake(paths.lake), run_id)


def test_a_part_that_no_replay_gives_does_not_land(paths, run_id):
    lake = Lake(paths.lake)
    with ReplaySession(run_id, FEW, paths) as entered:
        entered.measure(entered.pending[0])
    (path,) = replays.parts(lake, run_id)
    rows = replays.read_part(path)
    with pytest.raises(BrokenLaw, match="a sample twice"):
        replays.LandedSamples(lake, run_id).land(pa.concat_tables([rows, rows]))
    more = [[row["rows"] + 1] * 3 for row in rows.to_pylist()]
    wrong = rows.set_column(
        rows.column_names.index("covered"), "covered", pa.array(more, pa.list_(pa.int64()))
    )
    with pytest.raises(BrokenLaw, match="more tokens than there are"):
        replays.LandedSamples(lake, run_id).land(wrong)
    assert replays.parts(lake, run_id) == [path]


def test_a_damaged_part_is_set_aside_and_measured_again(run, paths, run_id):
    with ReplaySession(run_id, FEW, paths) as entered:
        entered.measure(entered.pending[0])
    (path,) = replays.parts(Lake(paths.lake), run_id)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    code, out, _ = run("verify", "--home", paths.root)
    assert code == 1 and f"`gatehouse replay {run_id}` with the same policies" in out
    assert run("replay", "--drop-below", "0.4", "--home", paths.root)[0] == 2
    code, _, _ = run("verify", "--repair", "--home", paths.root)
    assert not path.exists() and run("verify", "--home", paths.root)[0] == 0
    assert run("replay", "--drop-below", "0.4", "--num-samples", "2", "--home", paths.root)[0] == 0
    assert len(replays.parts(Lake(paths.lake), run_id)) == 1
