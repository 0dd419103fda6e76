"""What replays of a run cost, as `reports.marts.frames` has it: by policy, document and layer."""

import duckdb
import pandas as pd

from gatehouse.reports.marts.session import frame_of


def replays(connection: duckdb.DuckDBPyConnection, run_id: str) -> pd.DataFrame:
    """Return a row for each policy: what it is, how much text it had, what the marts foretold.

    Columns: those of `warehouse.replays.ReplayPolicy`, policy_id, policy (in words), is_control,
    samples, undisturbed_share, layers_overruled, predicted_coverage, predicted_agreement (null
    where the marts foretell nothing).
    """
    query = """
        select
            policy_id,
            policy,
            kind,
            ids_only,
            min_share,
            min_frequency,
            frequency_threshold,
            entropy_threshold,
            table_size,
            weight_threshold,
            ranked_by,
            masked_experts,
            routing_of,
            moe_indices,
            controls,
            is_control,
            samples,
            undisturbed_share,
            layers_overruled,
            predicted_coverage,
            predicted_agreement
        from fct_replay
        where run_id = $1
        order by is_control, policy_id
    """
    return frame_of(connection, query, [run_id])


def replay_documents(connection: duckdb.DuckDBPyConnection, run_id: str) -> pd.DataFrame:
    """Return the sums of each policy and document, over its samples and all MoE layers.

    Columns: policy_id, document, tokens (predicted), delta_nll, untouched_nll and kl in nats,
    same_top, token_layers, covered, agreed, experts_run.
    """
    query = """
        select
            policy_id,
            document_sha256 as document,
            cast(sum(tokens) as bigint) as tokens,
            coalesce(sum(tokens * delta_nll), 0) as delta_nll,
            coalesce(sum(tokens * untouched_nll), 0) as untouched_nll,
            coalesce(sum(tokens * kl), 0) as kl,
            coalesce(sum(tokens * same_top_share), 0) as same_top,
            cast(sum(token_layers) as bigint) as token_layers,
            cast(sum(covered) as bigint) as covered,
            cast(sum(agreed) as bigint) as agreed,
            coalesce(sum(token_layers * experts_per_token), 0) as experts_run
        from fct_replay_sample
        where run_id = $1
        group by policy_id, document_sha256
        order by policy_id, document_sha256
    """
    return frame_of(connection, query, [run_id])


def replay_layers(connection: duckdb.DuckDBPyConnection, run_id: str) -> pd.DataFrame:
    """Return what each policy did in each MoE layer, beside what the marts foretold of it.

    Columns: policy_id, moe_index, coverage, set_agreement, undisturbed_share, experts_per_token,
    predicted_coverage, predicted_agreement.
    """
    query = """
        select
            policy_id,
            moe_index,
            coverage,
            set_agreement,
            undisturbed_share,
            experts_per_token,
            predicted_coverage,
            predicted_agreement
        from fct_replay_layer
        where run_id = $1
        order by policy_id, moe_index
    """
    return frame_of(connection, query, [run_id])
