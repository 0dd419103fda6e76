"""Exports are read back by their readers' own rules."""

import json

import numpy as np
import pandas as pd
import pytest

from gatehouse.reports.exports.formats import EXPORTS, export, listed
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths


@pytest.fixture(scope="module")
def paths(captured) -> Paths:
    return Paths(captured)


@pytest.fixture(scope="module")
def events(paths) -> pd.DataFrame:
    """The run's events, by sample, position and layer."""
    with connect(paths) as connection:
        found = connection.sql("select * from events").df()
    assert found["run_id"].nunique() == 1
    return found.sort_values(["sample_id", "position", "layer"], ignore_index=True)


def loads_of(events: pd.DataFrame) -> np.ndarray:
    """Return [layers, E] selections, counted from the events."""
    return np.stack(
        [
            np.bincount(np.concatenate(of["experts"].to_list()), minlength=4)
            for _, of in events.groupby("layer")
        ]
    )


@pytest.mark.parametrize("format", ["counts", "eplb"])
def test_counts_are_a_matrix_of_numpy(paths, events, tmp_path, format):
    found = np.load(export(None, format, paths, tmp_path / "x.npy"), allow_pickle=False)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, loads_of(events))


def test_sglang_finds_a_step_of_all_layers(paths, events):
    """It takes `logical_count`, adds a dimension where it has two, and sums over steps."""
    (run_id,) = Lake(paths.lake).runs()
    path = export(run_id, "sglang", paths, None)
    assert path == paths.results(run_id) / "logical_count.json"
    counts = np.array(json.loads(path.read_text())["logical_count"])
    assert counts.ndim == 3
    np.testing.assert_array_equal(counts.sum(axis=0), loads_of(events))


def test_esft_trains_the_experts_of_the_largest_share(paths, events, tmp_path):
    found = json.loads(export(None, "esft", paths, tmp_path / "e.json").read_text())
    assert found.keys() == {"experts", "shared_experts", "non_expert_modules"}
    for block, loads in enumerate(loads_of(events)):
        shares = np.round(loads / loads.sum(), 4)
        chosen: list[int] = []
        for expert in np.argsort(-shares, kind="stable"):
            if shares[chosen].sum() >= 0.2:
                break
            chosen.append(int(expert))
        assert found["experts"][str(block)] == chosen


def test_events_are_one_table(paths, events, tmp_path):
    found = pd.read_parquet(export(None, "events", paths, tmp_path / "events.parquet"))
    expected = events.drop(columns="run_id")
    assert list(found.columns) == list(expected.columns) and len(found) == len(expected) > 0
    for column in found.columns:
        here, there = (frame[column].to_list() for frame in (found, expected))
        if column in ("experts", "weights"):
            np.testing.assert_array_equal(np.stack(here), np.stack(there))
        else:
            assert here == there, column


def test_every_format_is_listed_and_another_is_refused(paths, tmp_path):
    assert [line.split("  ")[0].strip() for line in listed().splitlines()] == list(EXPORTS)
    with pytest.raises(GatehouseError, match="no export is called 'csv': name one of counts, "):
        export(None, "csv", paths, tmp_path / "x")
    assert not list(tmp_path.iterdir())
