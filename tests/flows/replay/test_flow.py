"""The same replay through Prefect."""

from contextlib import closing
from dataclasses import fields

from gatehouse.flows.replay.request import ReplayRequest
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.lake import Lake


def test_a_replay_as_a_flow_lands_and_is_built(prefect_server, unmoved, monkeypatch):
    from gatehouse.flows.replay.flow import replay_flow

    paths = unmoved
    monkeypatch.setenv("GATEHOUSE_HOME", str(paths.root))
    (run_id,) = Lake(paths.lake).run_ids()
    said = replay_flow(run_id, num_samples=2, drop_below=[0.4])
    assert "experts below 0.4 dropped" in said
    with closing(connect(paths)) as connection:
        found = connection.sql("select kind, samples from fct_replay").fetchall()
    assert sorted(found) == [
        ("drop below", 2),
        ("own routing", 2),
        ("random drop", 2),
        ("random sets", 2),
    ]


def test_the_flow_takes_what_the_command_takes(prefect_server):
    from gatehouse.flows.replay.flow import replay_flow

    asked = replay_flow.parameters.properties
    assert set(asked) == {"run", *(field.name for field in fields(ReplayRequest))}
    assert all("description" in each for each in asked.values())
