"""What the marts hold for inference: caches, predictions, placement and calibration of experts."""

import duckdb
import pandas as pd

from gatehouse.reports.marts.session import frame_of
from gatehouse.warehouse.records import COUNTED


def cached_documents(connection: duckdb.DuckDBPyConnection, run_id: str) -> pd.DataFrame:
    """Return the hits of caches in each simulated document, over all MoE layers of a run.

    Columns: document, domain, phase, policy, slots of each layer, accesses, hits, hits_in_domain.
    """
    query = """
        select
            documents.document_sha256 as document,
            min(documents.domain) as domain,
            caches.phase,
            caches.policy,
            caches.slots,
            cast(sum(caches.accesses) as bigint) as accesses,
            cast(sum(caches.hits) as bigint) as hits,
            cast(sum(caches.hits_in_domain) as double) as hits_in_domain
        from fct_expert_cache_sample as caches
        inner join dim_sample as documents
            on caches.run_id = documents.run_id and caches.sample_id = documents.sample_id
        where caches.run_id = $1
        group by documents.document_sha256, caches.phase, caches.policy, caches.slots
        order by documents.document_sha256, caches.phase desc, caches.policy, caches.slots
    """
    return frame_of(connection, query, [run_id])


def shared_caches(connection: duckdb.DuckDBPyConnection, run_id: str) -> pd.DataFrame:
    """Return what one cache for all layers does: phase, policy, slots, accesses, hits, chance."""
    query = """
        select
            phase,
            policy,
            slots,
            accesses,
            hits,
            hit_rate,
            chance_hit_rate
        from fct_shared_expert_cache
        where run_id = $1
        order by phase desc, policy, slots
    """
    return frame_of(connection, query, [run_id])


def cache_transfers(connection: duckdb.DuckDBPyConnection, run_id: str) -> pd.DataFrame:
    """Return how caches that one domain fills do in another, in a run of several domains."""
    query = """
        select
            profile_domain,
            domain,
            slots,
            accesses,
            hits,
            hit_rate
        from fct_expert_cache_transfer
        where run_id = $1
        order by profile_domain, domain, slots
    """
    return frame_of(connection, query, [run_id])


def predictions(connection: duckdb.DuckDBPyConnection, run_id: str) -> pd.DataFrame:
    """Return how many of a token's experts predictions name, over all MoE layers of a run.

    Columns: phase, predictor, horizon, budget of each layer, recall, chance_recall.
    """
    query = """
        select
            phase,
            predictor,
            horizon,
            budget,
            sum(hits) / sum(accesses) as recall,
            sum(chance_recall * accesses) / sum(accesses) as chance_recall
        from fct_prefetch_recall
        where run_id = $1
        group by phase, predictor, horizon, budget
        order by phase desc, predictor, horizon, budget
    """
    return frame_of(connection, query, [run_id])


def load_windows(connection: duckdb.DuckDBPyConnection, run_id: str) -> pd.DataFrame:
    """Return the run's selections by layer, window of its text, split and expert, as in `Marts`."""
    query = """
        select moe_index, load_window, split, expert, selections
        from fct_expert_load_window
        where run_id = $1
        union all
        select
            loads.moe_index,
            null as load_window,
            null as split,
            loads.expert,
            loads.selections
        from fct_expert_load as loads
        inner join dim_run as runs on loads.run_id = runs.run_id
        where loads.run_id = $1 and runs.source = $2
        order by moe_index, load_window, split, expert
    """
    return frame_of(connection, query, [run_id, COUNTED])


def calibration(connection: duckdb.DuckDBPyConnection, run_id: str) -> pd.DataFrame:
    """Return after how many samples experts of all layers have been selected by enough tokens.

    Columns: tokens (1, 10, 100 or 1,000), samples (null: never), experts, those that have so many
    after exactly so many samples.
    """
    query = """
        with reached as (
            select
                unnest([1, 10, 100, 1000]) as tokens,
                unnest([
                    samples_until_1_token,
                    samples_until_10_tokens,
                    samples_until_100_tokens,
                    samples_until_1000_tokens
                ]) as samples
            from fct_calibration_coverage
            where run_id = $1
        )

        select
            tokens,
            samples,
            count(*) as experts
        from reached
        group by tokens, samples
        order by tokens, samples nulls last
    """
    return frame_of(connection, query, [run_id])
