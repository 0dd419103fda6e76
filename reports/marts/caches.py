"""What the marts hold of caches and predictions of experts."""

import duckdb
import pandas as pd

from gatehouse.reports.marts.session import frame_of


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
