"""Queries over hand-made marts, through a real read-only session."""

import datetime

import duckdb
import numpy as np
import pandas as pd
import pytest

from gatehouse.reports import marts, statistics
from gatehouse.reports.marts.caches import calibration
from gatehouse.reports.results.routing_stats import STATISTICS
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths


def test_the_latest_finished_run_is_last_and_the_default(connection, run_ids):
    earlier, latest = run_ids
    assert marts.finished_runs(connection) == [earlier, latest]
    assert marts.resolve_run(connection, None) == latest
    assert marts.resolve_run(connection, earlier) == earlier


def test_an_unknown_run_is_refused(connection):
    for ask in (marts.resolve_run, marts.run_summary):
        with pytest.raises(GatehouseError, match="gatehouse status"):
            ask(connection, "nobody'; drop table dim_run; --")


def test_run_summary_is_the_row_in_utc_wherever_it_is_read(warehouse_paths, run_ids):
    with duckdb.connect(str(warehouse_paths.database), read_only=True) as elsewhere:
        elsewhere.execute("set timezone = 'Asia/Kathmandu'")
        run = marts.run_summary(elsewhere, run_ids[0])
    assert (run["run_id"], run["model"], run["dropped_tokens"]) == (run_ids[0], "demo", 7)
    assert run["finished_at"] == datetime.datetime(2025, 11, 1, 9, 30, tzinfo=datetime.UTC)
    assert run["finished_at"].utcoffset() == datetime.timedelta(0)


def test_layers_join_what_a_layer_is_with_how_it_routed(connection, run_ids):
    layers = marts.layers(connection, run_ids[1])
    assert layers["moe_index"].to_list() == [0, 1]
    assert layers["layer"].to_list() == [1, 3]
    assert layers["router_path"].to_list() == ["model.layers.1.mlp.gate", "model.layers.3.mlp.gate"]
    assert layers["normalised_entropy"].to_numpy() == pytest.approx(
        layers["mean_entropy"].to_numpy() / np.log(layers["num_experts"].to_numpy())
    )


@pytest.mark.parametrize(("layer", "seed"), [(0, 1), (1, 2)])
def test_routing_statistics_of_a_layer(connection, run_ids, make_frame, layer, seed):
    frame = marts.routing_statistics(connection, run_ids[1], layer)
    assert list(frame.columns) == STATISTICS.names
    pd.testing.assert_frame_equal(frame, make_frame(60, seed), check_dtype=False)


def test_routing_statistics_of_all_layers(connection, run_ids, make_frame):
    frame = marts.routing_statistics(connection, run_ids[1], None)
    assert list(frame.columns) == ["layer", *STATISTICS.names]
    expected = pd.concat(
        [make_frame(60, seed).assign(layer=layer) for layer, seed in ((0, 1), (1, 2))]
    )
    pd.testing.assert_frame_equal(
        frame, expected[list(frame.columns)].reset_index(drop=True), check_dtype=False
    )


def test_an_unknown_layer_is_refused_with_the_layers_there_are(connection, run_ids):
    with pytest.raises(GatehouseError, match="no MoE layer 3: this run has 0, 1"):
        marts.routing_statistics(connection, run_ids[1], 3)


def test_the_sweep_has_every_pair_of_thresholds_of_every_run(connection, run_ids, make_frame):
    grid = marts.threshold_grid(connection, None)
    assert list(grid["run_id"].drop_duplicates()) == list(run_ids)
    assert len(grid) == 2 * 2 * 81
    one = marts.threshold_grid(connection, run_ids[1])
    rows = one[one["moe_index"] == 1]
    table = rows.pivot(index="frequency_threshold", columns="entropy_threshold", values="coverage")
    frame = make_frame(60, 2)
    assert table.to_numpy() == pytest.approx(
        statistics.coverage_grid(frame["frequency"], frame["mean_entropy"], table.columns)
    )
    for most, share in zip(rows["entropy_threshold"], rows["low_entropy_share"]):
        assert share == pytest.approx((frame["mean_entropy"] < most).mean())


def test_a_warehouse_without_marts_or_runs_says_the_way_out(tmp_path):
    paths = Paths(tmp_path)
    duckdb.connect(str(paths.database)).close()
    with connect(paths) as empty, pytest.raises(GatehouseError, match="run `gatehouse build`"):
        marts.finished_runs(empty)
    with duckdb.connect(str(paths.database)) as writer:
        writer.execute("create table dim_run (run_id varchar, finished_at timestamptz)")
    with connect(paths) as empty, pytest.raises(GatehouseError, match="no run has finished"):
        marts.resolve_run(empty, None)


def test_calibration_counts_experts_by_when_they_are_reached():
    with duckdb.connect() as memory:
        memory.execute("""
            create table fct_calibration_coverage as
            select * from (values
                ('run', 0, 0, 1, 2, 9, null),
                ('run', 0, 1, 1, 2, null, null),
                ('run', 1, 0, 3, null, null, null),
                ('run', 1, 1, null, null, null, null),
                ('other', 0, 0, 1, 1, 1, 1)
            ) as rows (
                run_id, layer, expert, samples_until_1_token, samples_until_10_tokens,
                samples_until_100_tokens, samples_until_1000_tokens
            )
        """)
        found = calibration(memory, "run")
    assert found.astype(object).where(found.notna(), None).to_numpy().tolist() == [
        [1, 1, 2],
        [1, 3, 1],
        [1, None, 1],
        [10, 2, 2],
        [10, None, 2],
        [100, 9, 1],
        [100, None, 3],
        [1000, None, 4],
    ]
