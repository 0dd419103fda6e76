"""What the marts hold on how many experts text needs: a token, a batch, a pruned or tuned model."""

import duckdb
import pandas as pd

from gatehouse.reports.marts.session import frame_of

TUNED_SHARES = (0.1, 0.2)
"""ESFT's p for average gate scores and for token shares (Wang et al., 2024, arXiv 2407.01906)."""


def adaptive_k(connection: duckdb.DuckDBPyConnection, run_id: str) -> pd.DataFrame:
    """Return what is left where a token drops experts, mean of the layers that tell their weights.

    Columns: rule, threshold, layers, mean_experts, all_experts (without the rule),
    retained_gate_mass.
    """
    query = """
        select
            rule,
            threshold,
            count(*) as layers,
            avg(mean_experts) as mean_experts,
            avg(mean_experts / experts_share) as all_experts,
            avg(retained_gate_mass) as retained_gate_mass
        from fct_adaptive_k
        where run_id = $1 and retained_gate_mass is not null
        group by rule, threshold
        order by rule desc, threshold
    """
    return frame_of(connection, query, [run_id])


def batch_experts(connection: duckdb.DuckDBPyConnection, run_id: str) -> pd.DataFrame:
    """Return how many experts of a layer a batch selects, mean of the layers.

    Columns: phase, batch_of, size, mean_experts, uniform_experts.
    """
    query = """
        select
            phase,
            batch_of,
            size,
            avg(mean_experts) as mean_experts,
            avg(uniform_experts) as uniform_experts
        from fct_batch_experts
        where run_id = $1
        group by phase, batch_of, size
        order by phase desc, batch_of desc, size
    """
    return frame_of(connection, query, [run_id])


def keep_sets(connection: duckdb.DuckDBPyConnection, run_id: str) -> pd.DataFrame:
    """Return whether parts of the text keep the experts of their reference, mean of the layers.

    Columns: measure, keep_share, part, reference, text_share (of the run's selections), layers,
    same_layers (those that keep the same), jaccard.
    """
    query = """
        select
            measure,
            keep_share,
            part,
            reference,
            sum(selections)
            / max(sum(selections)) over (partition by measure, keep_share) as text_share,
            count(*) as layers,
            count(*) filter (where jaccard = 1) as same_layers,
            avg(jaccard) as jaccard
        from fct_keep_set_stability
        where run_id = $1 and basis = 'text' and measure in ('selections', 'gate_mass', 'reap')
        group by measure, keep_share, part, reference
        order by measure, keep_share, text_share, part
    """
    return frame_of(connection, query, [run_id])


def rankings(connection: duckdb.DuckDBPyConnection, run_id: str) -> pd.DataFrame:
    """Return whether two measures of saliency keep the same half of the experts, on all text.

    Columns: measure, other_measure, layers, same_layers, jaccard (mean of the layers).
    """
    query = """
        with measured as (
            select
                experts.layer,
                experts.expert,
                ceil(layers.num_experts / 2) as kept_experts,
                unnest([1, 2, 3]) as number,
                unnest(['selections', 'gate_mass', 'reap']) as measure,
                unnest([selections_rank, gate_mass_rank, reap_rank]) as measure_rank
            from fct_expert_saliency as experts
            inner join dim_layer as layers
                on experts.run_id = layers.run_id and experts.layer = layers.layer
            where experts.run_id = $1
        ),

        known as (
            select * from measured
            where measure_rank is not null
        ),

        shared as (
            select
                known.measure,
                others.measure as other_measure,
                known.layer,
                known.kept_experts,
                count(*) filter (
                    where greatest(known.measure_rank, others.measure_rank) <= known.kept_experts
                ) as shared_experts
            from known
            inner join known as others
                on
                    known.layer = others.layer
                    and known.expert = others.expert
                    and known.number < others.number
            group by known.measure, others.measure, known.layer, known.kept_experts
        )

        select
            measure,
            other_measure,
            count(*) as layers,
            count(*) filter (where shared_experts = kept_experts) as same_layers,
            avg(shared_experts / (2 * kept_experts - shared_experts)) as jaccard
        from shared
        group by measure, other_measure
        order by measure desc, other_measure
    """
    return frame_of(connection, query, [run_id])


def tuning(connection: duckdb.DuckDBPyConnection, run_id: str) -> pd.DataFrame:
    """Return how many experts of a layer ESFT would train, on all text and on each domain.

    Columns: domain (null: all text), relevance (gate: average gate score; selection: token share),
    share (p), layers, mean_experts, min_experts, max_experts.
    """
    query = """
        with texts as (
            select
                layer,
                null as domain,
                selection_share_before,
                gate_mass_share_before
            from fct_expert_load
            where run_id = $1
            union all
            select layer, domain, selection_share_before, gate_mass_share_before
            from fct_domain_expert
            where run_id = $1
        ),

        relevances as (
            select
                layer,
                domain,
                unnest(['gate', 'selection']) as relevance,
                unnest([gate_mass_share_before, selection_share_before]) as share_before
            from texts
        ),

        chosen as (
            select
                relevances.layer,
                relevances.domain,
                relevances.relevance,
                shares.share,
                count(*) as experts
            from relevances
            inner join (select unnest($2) as share) as shares
                on relevances.share_before < shares.share
            group by relevances.layer, relevances.domain, relevances.relevance, shares.share
        )

        select
            domain,
            relevance,
            share,
            count(*) as layers,
            avg(experts) as mean_experts,
            min(experts) as min_experts,
            max(experts) as max_experts
        from chosen
        group by domain, relevance, share
        order by domain nulls first, relevance, share
    """
    return frame_of(connection, query, [run_id, list(TUNED_SHARES)])
