"""The import of a trace as a flow, against a real Prefect server."""

import logging

import numpy as np

from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.paths import Paths
from tests.ingest.traces.engine_files import Routed, plain_lists


def test_a_trace_lands_and_is_built_and_the_run_logs_it(
    prefect_server, tiny_mixtral, tmp_path, monkeypatch, caplog
):
    from gatehouse.flows.imports import import_flow

    monkeypatch.setenv("GATEHOUSE_HOME", str(tmp_path / "home"))
    experts = np.random.default_rng(0).random((40, 3, 4)).argsort(-1)[..., :2]
    routed = Routed(np.arange(41) % 7, experts, np.full(experts.shape, 0.5), 2)
    trace = plain_lists(routed, tmp_path)
    # its lines go no further up
    logs = logging.getLogger("prefect.flow_runs")
    logs.addHandler(caplog.handler)
    try:
        run_id = import_flow("jsonl", [str(trace)], str(tiny_mixtral), name="mine")
    finally:
        logs.removeHandler(caplog.handler)
    assert f"{run_id}: 1 sequence, 40 tokens x 3 MoE layers = 120 events" in caplog.text
    with connect(Paths(tmp_path / "home")) as connection:
        loads = "select sum(load), count(*) from fct_expert_load where run_id = $run"
        assert connection.execute(loads, {"run": run_id}).fetchall() == [(240, 12)]
