"""Queries over hand-made marts, through a real read-only session."""

import datetime

import duckdb
import numpy as np
import pandas as pd
import pytest

from gatehouse.reports import marts, statistics
from gatehouse.reports.marts import needed_experts
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


def test_rankings_are_compared_by_the_half_that_they_keep():
    """Of five experts three are kept; the second layer has no norms."""
    with duckdb.connect() as memory:
        memory.execute("""
            create table dim_layer as
            select * from (values ('run', 0, 5), ('run', 1, 5), ('other', 0, 5))
            as layers (run_id, layer, num_experts);
            create table fct_expert_saliency as
            select * from (values
                ('run', 0, [1, 2, 3, 4, 5], [1, 2, 3, 5, 4], [5, 1, 2, 4, 3]),
                ('run', 1, [1, 2, 3, 4, 5], [5, 1, 4, 2, 3], null),
                ('other', 0, [1, 2, 3, 4, 5], [5, 1, 4, 2, 3], null)
            ) as listed (run_id, layer, selections_ranks, gate_mass_ranks, reap_ranks);
            create or replace table fct_expert_saliency as
            select
                run_id, layer, unnest([0, 1, 2, 3, 4]) as expert,
                unnest(selections_ranks) as selections_rank,
                unnest(gate_mass_ranks) as gate_mass_rank, unnest(reap_ranks) as reap_rank
            from fct_expert_saliency
        """)
        found = needed_experts.rankings(memory, "run").to_dict("records")
    assert [(row["measure"], row["other_measure"]) for row in found] == [
        ("selections", "gate_mass"),
        ("selections", "reap"),
        ("gate_mass", "reap"),
    ]
    assert [(row["layers"], row["same_layers"]) for row in found] == [(2, 1), (1, 0), (1, 0)]
    # of 0, 1, 2 the second layer's gate mass keeps 1 alone, and REAP keeps 1, 2, 4
    expected = [(1 + 1 / 5) / 2, 2 / 4, 2 / 4]
    assert [row["jaccard"] for row in found] == pytest.approx(expected)


def test_tuning_counts_the_experts_before_p_on_all_text_and_each_domain():
    with duckdb.connect() as memory:
        memory.execute("""
            create table fct_expert_load as
            select * from (values
                ('run', 0, 0, 0.0, null), ('run', 0, 1, 0.1, null), ('run', 0, 2, 0.15, null),
                ('run', 1, 0, 0.0, 0.0), ('run', 1, 1, 0.2, 0.05), ('other', 1, 0, 0.0, 0.0)
            ) as rows (run_id, layer, expert, selection_share_before, gate_mass_share_before);
            create table fct_domain_expert as
            select *, 'web' as domain from fct_expert_load where layer = 0 and expert < 2
        """)
        found = needed_experts.tuning(memory, "run")
    rows = found.astype(object).where(found.notna(), None).to_numpy().tolist()
    assert rows == [
        [None, "gate", 0.1, 1, 2.0, 2, 2],
        [None, "gate", 0.2, 1, 2.0, 2, 2],
        [None, "selection", 0.1, 2, 1.0, 1, 1],
        [None, "selection", 0.2, 2, 2.0, 1, 3],
        ["web", "selection", 0.1, 1, 1.0, 1, 1],
        ["web", "selection", 0.2, 1, 2.0, 2, 2],
    ]


def test_parts_of_the_text_have_their_share_of_the_selections():
    with duckdb.connect() as memory:
        memory.execute("""
            create table fct_keep_set_stability as
            select * from (values
                ('run', 0, 'selections', 0.5, 'text', 'first 1/2', 'all', 30, 0.5),
                ('run', 1, 'selections', 0.5, 'text', 'first 1/2', 'all', 10, 1.0),
                ('run', 0, 'selections', 0.5, 'text', 'all', 'all', 60, 1.0),
                ('run', 1, 'selections', 0.5, 'text', 'all', 'all', 40, 1.0),
                ('run', 0, 'selections', 0.5, 'domain', 'web', 'all', 60, 1.0),
                ('run', 0, 'ean', 0.5, 'text', 'all', 'all', 60, 1.0)
            ) as rows (
                run_id, layer, measure, keep_share, basis, part, reference, selections, jaccard
            )
        """)
        found = needed_experts.keep_sets(memory, "run")
    assert found.to_numpy().tolist() == [
        ["selections", 0.5, "first 1/2", "all", 0.4, 2, 1, 0.75],
        ["selections", 0.5, "all", "all", 1.0, 2, 2, 1.0],
    ]


def test_what_is_left_of_a_token_and_a_batch_is_the_mean_of_the_layers():
    with duckdb.connect() as memory:
        memory.execute("""
            create table fct_adaptive_k as
            select * from (values
                ('run', 0, 'weight', 1, 1.0, 0.5, 0.8), ('run', 1, 'weight', 1, 2.0, 1.0, 1.0),
                ('run', 2, 'weight', 1, 1.5, 1.0, null), ('other', 0, 'weight', 1, 1, 1, 1)
            ) as rows (
                run_id, layer, rule, threshold, mean_experts, experts_share, retained_gate_mass
            );
            create table fct_batch_experts as
            select * from (values
                ('run', 0, 'generated', 'tokens', 2, 3.0, 3.5),
                ('run', 0, 'prompt', 'tokens', 2, 3, 3),
                ('run', 1, 'prompt', 'tokens', 2, 2, 3), ('run', 0, 'prompt', 'tokens', 1, 2, 2)
            ) as rows (run_id, layer, phase, batch_of, size, mean_experts, uniform_experts)
        """)
        adaptive = needed_experts.adaptive_k(memory, "run")
        batches = needed_experts.batch_experts(memory, "run")
    assert adaptive.to_numpy().tolist() == [["weight", 1, 2, 1.5, 2.0, 0.9]]
    assert batches.to_numpy().tolist() == [
        ["prompt", "tokens", 1, 2.0, 2.0],
        ["prompt", "tokens", 2, 2.5, 3.0],
        ["generated", "tokens", 2, 3.0, 3.5],
    ]
