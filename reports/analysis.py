"""The nouns of a report: a run in the marts, and what the statistics find in it."""

from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Marts:
    """One run's marts, one frame each, over all MoE layers; `moe_index` is the layer's index.

    layers: `queries.layers`, one row per MoE layer.
    tokens: moe_index, token_id, frequency, mean_entropy (nats), mean_confidence,
        routing_consistency, vocabulary_specialisation, both also as held_out_* (null where the
        token is in only one half of the documents), top_expert; the most frequent first. Figures
        and page also take random_consistency, which `reports.assessment` adds.
    frequency_rank: token_id, token_str, is_special, frequency, frequency_rank, mean_position.
    expert_load: moe_index, expert, selections, load_share, load_ratio, first_choice_share,
        gate_mass_share, is_dead.
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
    """

    layers: pd.DataFrame
    tokens: pd.DataFrame
    frequency_rank: pd.DataFrame
    expert_load: pd.DataFrame
    coactivation: pd.DataFrame
    transition: pd.DataFrame
    repetition: pd.DataFrame
    domain_expert: pd.DataFrame
    agreement: pd.DataFrame
    thresholds: pd.DataFrame


MEASURE_COLUMNS = tuple(
    f"{measure}{end}"
    for measure in ("spearman", "low_entropy_share", "coverage")
    for end in ("", "_low", "_high")
)
"""The measures of the three criteria in `Findings.layers`, each with its 95 % interval."""

CONSISTENCY_COLUMNS = ("consistency", "held_out_consistency", "random_consistency")
"""A token's consistency in `Findings.layers`: plain, on held-out documents, by chance."""


@dataclass(frozen=True)
class Findings:
    """What the statistics say about a run, as frames to draw; undefined values are null.

    layers: one row per MoE layer: moe_index, verdict (SUPPORTED or NOT SUPPORTED), criteria_met
        (0 to 3), tokens, occurrences, spearman, spearman_low, spearman_high (95 %, bootstrap over
        documents), log10_p, holm_log10_p, null_low, null_high (95 % of rho under permutation),
        kendall, partial_spearman (position held fixed), low_entropy_share, low_entropy_share_low,
        low_entropy_share_high, coverage, coverage_low, coverage_high, and, as means over the
        tokens in both halves of the documents, consistency, held_out_consistency,
        random_consistency, specialisation, held_out_specialisation, random_specialisation.
    model: the same columns, one row, each token's values averaged over the layers; moe_index null.
    minima: moe_index, minimum (occurrences), tokens, spearman.
    sample_sizes: moe_index, share (of the documents), occurrences, tokens, spearman,
        low_entropy_share, coverage.
    zipf: `reports.statistics.fit_zipf` of the frequencies.
    frequency_threshold, entropy_threshold: occurrences and nats, both exclusive.
    """

    layers: pd.DataFrame
    model: pd.DataFrame
    minima: pd.DataFrame
    sample_sizes: pd.DataFrame
    zipf: Any
    frequency_threshold: int
    entropy_threshold: float
