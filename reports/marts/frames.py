"""`Marts`: the frames of one run that figures, page and statistics take, most a query each."""

from dataclasses import dataclass

import duckdb
import pandas as pd

from gatehouse.reports.marts.caches import (
    cached_documents,
    calibration,
    load_windows,
    predictions,
    shared_caches,
)
from gatehouse.reports.marts.expert_cards import ExpertCards, expert_cards
from gatehouse.reports.marts.needed_experts import (
    adaptive_k,
    batch_experts,
    keep_sets,
    rankings,
    tuning,
)
from gatehouse.reports.marts.replays import replay_documents, replay_layers, replays
from gatehouse.reports.marts.runs import check_layer, layers
from gatehouse.reports.marts.session import frame_of


@dataclass(frozen=True)
class Marts:
    """One run's marts, one frame each, over all MoE layers; `moe_index` is the layer's index.

    layers: `reports.marts.layers`, one row per MoE layer.
    tokens: moe_index, token_id, frequency, mean_entropy (nats), mean_confidence,
        routing_consistency, vocabulary_specialisation, both also as held_out_* (null where the
        token is in only one half of the documents), top_expert; the most frequent first.
    frequency_rank: token_id, token_str, is_special, frequency, frequency_rank, mean_position.
    expert_load: moe_index, expert, selections, load_share, load_ratio, first_choice_share,
        gate_mass_share, is_dead.
    load_windows: moe_index, load_window, split, expert, selections; window and split are null for a
        run of counts, which tells of neither.
    expert_coverage: moe_index, top_experts, activation_share (of the layer's load, that of its so
        many busiest experts; null where the layer has no load).
    coactivation: moe_index, expert, other_expert, probability (of the other given the expert),
        uniform_probability.
    transition: moe_index, expert, next_expert, probability, lift; none for the last layer.
    repetition: moe_index, first_choice_repetition, first_choice_chance,
        first_choice_chance_by_load, first_or_second_repetition, first_or_second_chance (both null
        where one expert is chosen), any_choice_repetition, any_choice_chance.
    domain_expert: moe_index, domain, domain_tokens, expert, specialisation,
        uniform_specialisation.
    agreement: moe_index, table_size, table_tokens, coverage, top_agreement, set_agreement,
        retained_gate_mass (held-out text; null where nothing is held out or covered).
    thresholds: moe_index, frequency_threshold, entropy_threshold and the same measures, for the
        tables that thresholds choose.
    cached_documents: document, domain, phase, policy, slots (of each layer), accesses, hits,
        hits_in_domain (null for caches that are filled once, and in a run of one domain).
    shared_caches: phase, policy, slots (of one cache for all layers), accesses, hits, hit_rate,
        chance_hit_rate.
    predictions: phase, predictor, horizon, budget (of each layer), recall, chance_recall.
    calibration: tokens (1, 10, 100 or 1,000), samples, experts (those of all layers that so many
        tokens have selected after exactly so many samples; null: never).
    adaptive_k, batch_experts, keep_sets, rankings, tuning: `reports.marts.needed_experts`.
    cards: `reports.marts.expert_cards`.
    replays, replay_documents, replay_layers: as `reports.marts.replays` has them, empty for a run
        that was not replayed.

    Those from `cached_documents` on are over all layers, and but for `rankings` and `tuning` empty
    for a run of counts.
    """

    layers: pd.DataFrame
    tokens: pd.DataFrame
    frequency_rank: pd.DataFrame
    expert_load: pd.DataFrame
    load_windows: pd.DataFrame
    expert_coverage: pd.DataFrame
    coactivation: pd.DataFrame
    transition: pd.DataFrame
    repetition: pd.DataFrame
    domain_expert: pd.DataFrame
    agreement: pd.DataFrame
    thresholds: pd.DataFrame
    cached_documents: pd.DataFrame
    shared_caches: pd.DataFrame
    predictions: pd.DataFrame
    calibration: pd.DataFrame
    adaptive_k: pd.DataFrame
    batch_experts: pd.DataFrame
    keep_sets: pd.DataFrame
    rankings: pd.DataFrame
    tuning: pd.DataFrame
    cards: ExpertCards
    replays: pd.DataFrame
    replay_documents: pd.DataFrame
    replay_layers: pd.DataFrame

    @property
    def was_replayed(self) -> bool:
        """Whether tokens were predicted under policies that overrule the routers."""
        return bool(self.replay_documents["tokens"].sum() > 0)


TOKENS = """
    select
        routing.moe_index,
        routing.token_id,
        routing.frequency,
        routing.mean_entropy,
        routing.mean_confidence,
        routing.routing_consistency,
        consistency.held_out_consistency,
        consistency.vocabulary_specialisation,
        consistency.held_out_specialisation,
        routing.top_expert
    from fct_token_routing as routing
    inner join fct_token_consistency as consistency
        on
            routing.run_id = consistency.run_id
            and routing.layer = consistency.layer
            and routing.token_id = consistency.token_id
    where routing.run_id = $1
    order by routing.moe_index, routing.frequency desc, routing.token_id
"""

FREQUENCY_RANK = """
    select token_id, token_str, is_special, frequency, frequency_rank, mean_position
    from fct_frequency_rank
    where run_id = $1
    order by frequency_rank
"""

EXPERT_LOAD = """
    select
        moe_index, expert, selections, load_share, load_ratio, first_choice_share,
        gate_mass_share, is_dead
    from fct_expert_load
    where run_id = $1
    order by moe_index, expert
"""

EXPERT_COVERAGE = """
    select moe_index, top_experts, activation_share
    from fct_expert_coverage
    where run_id = $1
    order by moe_index, top_experts
"""

COACTIVATION = """
    select moe_index, expert, other_expert, probability, uniform_probability
    from fct_expert_coactivation
    where run_id = $1
    order by moe_index, expert, other_expert
"""

TRANSITION = """
    select moe_index, expert, next_expert, probability, lift
    from fct_expert_transition
    where run_id = $1
    order by moe_index, expert, next_expert
"""

REPETITION = """
    select
        moe_index,
        first_choice_repetition,
        first_choice_chance,
        first_choice_chance_by_load,
        first_or_second_repetition,
        first_or_second_chance,
        any_choice_repetition,
        any_choice_chance
    from fct_expert_repetition
    where run_id = $1
    order by moe_index
"""

DOMAIN_EXPERT = """
    select moe_index, domain, domain_tokens, expert, specialisation, uniform_specialisation
    from fct_domain_expert
    where run_id = $1
    order by moe_index, domain, expert
"""

AGREEMENT = """
    select
        moe_index,
        table_size,
        table_tokens,
        coverage,
        top_agreement,
        set_agreement,
        retained_gate_mass
    from fct_fast_path_agreement
    where run_id = $1
    order by moe_index, table_size
"""

THRESHOLDS = """
    select
        moe_index,
        frequency_threshold,
        entropy_threshold,
        table_tokens,
        coverage,
        top_agreement,
        set_agreement,
        retained_gate_mass
    from fct_fast_path_thresholds
    where run_id = $1
    order by moe_index, frequency_threshold, entropy_threshold
"""


def read_marts(connection: duckdb.DuckDBPyConnection, run_id: str) -> Marts:
    """Return one run's frames, all MoE layers.

    Raises:
        GatehouseError: there is no such run, or the marts are not those of this version.
    """
    check_layer(connection, run_id, None)
    return Marts(
        layers=layers(connection, run_id),
        tokens=frame_of(connection, TOKENS, [run_id]),
        frequency_rank=frame_of(connection, FREQUENCY_RANK, [run_id]),
        expert_load=frame_of(connection, EXPERT_LOAD, [run_id]),
        load_windows=load_windows(connection, run_id),
        expert_coverage=frame_of(connection, EXPERT_COVERAGE, [run_id]),
        coactivation=frame_of(connection, COACTIVATION, [run_id]),
        transition=frame_of(connection, TRANSITION, [run_id]),
        repetition=frame_of(connection, REPETITION, [run_id]),
        domain_expert=frame_of(connection, DOMAIN_EXPERT, [run_id]),
        agreement=frame_of(connection, AGREEMENT, [run_id]),
        thresholds=frame_of(connection, THRESHOLDS, [run_id]),
        cached_documents=cached_documents(connection, run_id),
        shared_caches=shared_caches(connection, run_id),
        predictions=predictions(connection, run_id),
        calibration=calibration(connection, run_id),
        adaptive_k=adaptive_k(connection, run_id),
        batch_experts=batch_experts(connection, run_id),
        keep_sets=keep_sets(connection, run_id),
        rankings=rankings(connection, run_id),
        tuning=tuning(connection, run_id),
        cards=expert_cards(connection, run_id),
        replays=replays(connection, run_id),
        replay_documents=replay_documents(connection, run_id),
        replay_layers=replay_layers(connection, run_id),
    )


def block_routing(connection: duckdb.DuckDBPyConnection, run_id: str, layer: int) -> pd.DataFrame:
    """Return occurrences and sum of entropy (nats) per block of documents and token of a layer.

    Args:
        connection: a session over the marts.
        run_id: a finished run.
        layer: index among the MoE layers.
    """
    query = """
        select block, token_id, occurrences, entropy_sum
        from fct_block_routing
        where run_id = $1 and moe_index = $2
    """
    return frame_of(connection, query, [run_id, layer])


def token_routing(
    connection: duckdb.DuckDBPyConnection, run_id: str, token_ids: list[int]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of `Marts.frequency_rank` and of `Marts.tokens` of some tokens."""
    wanted = "semi join (select unnest($2) as token_id) as wanted using (token_id)"
    ranks = frame_of(connection, f"from ({FREQUENCY_RANK}) {wanted}", [run_id, token_ids])
    return ranks, frame_of(connection, f"from ({TOKENS}) {wanted}", [run_id, token_ids])


def pairs_of_experts(connection: duckdb.DuckDBPyConnection, run_id: str) -> pd.DataFrame:
    """Return `Marts.coactivation` of a run."""
    return frame_of(connection, COACTIVATION, [run_id])
