"""The frames of replays are those of one run, and the sums of a document are of its samples."""

import duckdb
import pytest

from gatehouse.reports.inference.replay_costs import replay_costs
from gatehouse.reports.marts.replays import replay_documents, replay_layers, replays
from gatehouse.warehouse.replays import ReplayPolicy

SAMPLES = [
    # sample, document, tokens, delta, kl, same top, token-layers, covered, agreed, experts
    (0, "d0", 10, 0.5, 0.25, 0.75, 22, 11, 10, 2.0),
    (1, "d0", 30, -0.1, 0.05, 1.0, 62, 31, 30, 1.5),
    (2, "d1", 20, 0.2, 0.1, 0.5, 42, 0, 0, 2.0),
    # one token, of which nothing is predicted
    (3, "d2", 0, None, None, None, 2, 1, 1, 1.0),
]


@pytest.fixture
def made():
    policy = ReplayPolicy("tokens", min_share=0.9, min_frequency=50, moe_indices=(0, 2))
    with duckdb.connect() as connection:
        connection.execute(
            """
            create table fct_replay as select
                unnest(['run', 'other']) as run_id, $1 as policy_id, 'in words' as policy,
                'tokens' as kind, null::boolean as ids_only, 0.9::double as min_share,
                50::bigint as min_frequency, null::bigint as frequency_threshold,
                null::double as entropy_threshold, null::bigint as table_size,
                null::double as weight_threshold, null::varchar as ranked_by,
                null::integer as masked_experts, null::varchar as routing_of,
                [0, 2]::smallint[] as moe_indices, null::varchar as controls,
                false as is_control, 4::bigint as samples, 0.5::double as undisturbed_share,
                2::integer as layers_overruled, 0.4::double as predicted_coverage,
                null::double as predicted_agreement
            """,
            [policy.policy_id],
        )
        connection.execute(
            """
            create table fct_replay_sample (
                sample_id bigint, document_sha256 varchar, tokens bigint, delta_nll double,
                kl double, same_top_share double, token_layers bigint, covered bigint,
                agreed bigint, experts_per_token double
            )
            """
        )
        connection.executemany(
            "insert into fct_replay_sample values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", SAMPLES
        )
        for name, value in (("policy_id", policy.policy_id), ("run_id", "run")):
            connection.execute(
                f"alter table fct_replay_sample add column {name} varchar default '{value}'"
            )
        connection.execute("alter table fct_replay_sample add column untouched_nll double")
        connection.execute("update fct_replay_sample set untouched_nll = 4 where tokens > 0")
        connection.execute(
            """
            create table fct_replay_layer as select
                'run' as run_id, $1 as policy_id, unnest([2, 0]) as moe_index, 0.5 as coverage,
                0.9 as set_agreement, 1.0 as undisturbed_share, 2.0 as experts_per_token,
                0.4 as predicted_coverage, 0.8 as predicted_agreement
            """,
            [policy.policy_id],
        )
        yield connection, policy


def test_sums_of_a_document_are_of_its_samples(made):
    connection, policy = made
    found = replay_documents(connection, "run").set_index("document")
    assert list(found.index) == ["d0", "d1", "d2"]
    assert set(found["policy_id"]) == {policy.policy_id}
    first = found.loc["d0"]
    assert (first["tokens"], first["token_layers"], first["covered"]) == (40, 84, 42)
    assert first["agreed"] == 40
    assert first["delta_nll"] == pytest.approx(10 * 0.5 - 30 * 0.1)
    assert first["untouched_nll"] == pytest.approx(160)
    assert first["kl"] == pytest.approx(4.0)
    assert first["same_top"] == pytest.approx(37.5)
    assert first["experts_run"] == pytest.approx(22 * 2 + 62 * 1.5)
    last = found.loc["d2"]
    assert (last["tokens"], last["delta_nll"], last["same_top"]) == (0, 0, 0)
    assert replay_documents(connection, "other").empty


def test_policies_and_layers_are_those_of_the_run(made):
    connection, policy = made
    (row,) = replays(connection, "run").to_dict("records")
    assert (row["policy_id"], row["policy"]) == (policy.policy_id, "in words")
    assert list(row["moe_indices"]) == [0, 2]
    assert list(replay_layers(connection, "run")["moe_index"]) == [0, 2]
    assert replay_layers(connection, "other").empty


def test_a_policy_of_the_marts_is_the_one_that_was_replayed(made):
    connection, policy = made
    (cost,) = replay_costs(replays(connection, "run"), replay_documents(connection, "run"))
    assert cost.policy == policy
    assert cost.policy.policy_id == policy.policy_id
    assert (cost.documents, cost.samples, cost.tokens) == (3, 4, 60)
    assert cost.predicted_agreement is None
