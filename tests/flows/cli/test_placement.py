"""`gatehouse placement`: the numbers it prints are those of the placement that it writes."""

import json

import numpy as np
import pytest

from gatehouse.reports.inference import Placement
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths


@pytest.fixture(scope="module")
def loads(captured) -> dict[str, np.ndarray]:
    """Split -> [layers, E] selections, counted from the events."""
    with connect(Paths(captured)) as connection:
        query = "select layer, experts, split from events join samples using (run_id, sample_id)"
        events = connection.sql(query).df()
    return {
        split: np.stack(
            [
                np.bincount(np.concatenate(of["experts"].to_list()), minlength=4)
                for _, of in rows.groupby("layer")
            ]
        )
        for split, rows in events.groupby("split")
    }


def test_the_placement_is_that_of_the_train_split(run, captured, loads, tmp_path):
    (run_id,) = Lake(captured / "lake").runs()
    target = tmp_path / "placement.json"
    words = ["placement", run_id, "--gpus", 2, "--redundant", 2, "--output", target]
    code, out, _ = run(*words, "--home", captured)
    assert code == 0 and str(target.name) in out
    found = json.loads(target.read_text())
    layers = found.pop("layers")
    assert found == {
        "run_id": run_id,
        "placed_by": "train",
        "num_experts": 4,
        "gpus": 2,
        "nodes": 1,
        "groups": 1,
        "replicas": 6,
    }
    with connect(Paths(captured)) as connection:
        known = connection.sql("select layer from dim_layer order by moe_index").fetchall()
    assert [(each["layer"],) for each in layers] == known
    for each in layers:
        assert np.bincount(each["phy2log"], minlength=4).tolist() == each["logcnt"]
    placement = Placement(np.array([each["phy2log"] for each in layers]), 2, 4)
    of_gpus = placement.gpu_loads(loads["train"])
    overall = of_gpus.mean(axis=1).sum() / of_gpus.max(axis=1).sum()
    (row,) = (line for line in out.splitlines() if line.startswith("train split, all layers"))
    assert row.split()[4] == f"{overall:.3f}"
    held_out = sum(of for split, of in loads.items() if split != "train")
    (row,) = (line for line in out.splitlines() if line.startswith("held out, worst layer"))
    assert row.split()[4] == f"{placement.balance(held_out).min():.3f}"
    assert out.strip().splitlines()[-3].endswith(".")


def test_numbers_that_do_not_divide_write_nothing(run, captured, tmp_path):
    words = ["placement", "--gpus", 3, "--output", tmp_path / "x.json", "--home", captured]
    code, out, err = run(*words)
    assert (code, out) == (2, "") and "make it --redundant 2, or give --gpus that divide 4" in err
    assert not list(tmp_path.iterdir())
    assert run(*words[:3], "--redundant", 2, "--home", captured)[0] == 0


def test_groups_that_nodes_cannot_share_are_refused(run, captured):
    words = ["placement", "--gpus", 4, "--groups", 3, "--nodes", 3, "--home", captured]
    code, _, err = run(*words)
    assert code == 2 and "4 experts cannot form 3 equal groups" in err
