"""Where the numbers of a run's page come from: columns, and their addresses in the lineage page."""

from collections.abc import Mapping

PROJECT = "gatehouse"
EVENTS = "source:lake.events+"
"""What the lineage page's graph selects of all that is made of events."""

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "layer-table": (
        "fct_layer_routing.mean_entropy",
        "fct_layer_routing.normalised_entropy",
        "fct_layer_routing.mean_confidence",
        "fct_layer_routing.routing_consistency",
        "fct_layer_routing.max_load_ratio",
        "fct_layer_routing.dead_experts",
        "fct_layer_routing.token_types",
        "fct_token_consistency.held_out_consistency",
    ),
    "tokens": ("fct_token_routing.frequency", "fct_token_routing.mean_entropy"),
    "passages": ("stg_events.experts", "stg_events.weights", "stg_events.entropy"),
    "frequency-entropy": ("fct_token_routing.frequency", "fct_token_routing.mean_entropy"),
    "entropy-distribution": ("fct_token_routing.mean_entropy",),
    "consistency": (
        "fct_token_routing.routing_consistency",
        "fct_token_consistency.held_out_consistency",
    ),
    "coverage": ("fct_token_routing.frequency", "fct_token_routing.mean_entropy"),
    "agreement": (
        "fct_fast_path_agreement.set_agreement",
        "fct_fast_path_thresholds.set_agreement",
        "fct_fast_path_thresholds.coverage",
    ),
    "replay-cost": ("fct_replay.delta_nll", "fct_replay_sample.delta_nll", "fct_replay.coverage"),
    "replay-agreement": (
        "fct_replay_layer.set_agreement",
        "fct_replay_layer.predicted_agreement",
    ),
    "overview": (
        "fct_layer_routing.normalised_entropy",
        "fct_layer_routing.routing_consistency",
        "fct_layer_routing.max_load_ratio",
    ),
    "criteria-by-layer": ("fct_token_routing.mean_entropy", "fct_block_routing.entropy_sum"),
    "load": ("fct_expert_load.load_ratio",),
    "busiest": ("fct_expert_coverage.activation_share",),
    "coactivation": ("fct_expert_coactivation.probability",),
    "transition": ("fct_expert_transition.probability",),
    "repetition": (
        "fct_expert_repetition.first_choice_repetition",
        "fct_expert_repetition.first_choice_chance",
    ),
    "domains": ("fct_domain_expert.specialisation",),
    "cards": (
        "fct_expert_card.load_ratio",
        "fct_expert_card.top_tokens",
        "fct_expert_card.domains",
        "fct_expert_card.contexts",
        "fct_expert_card.neighbours",
        "fct_expert_card.half_correlation",
    ),
    "cache": ("fct_expert_cache_sample.hits", "fct_shared_expert_cache.hit_rate"),
    "prefetch": ("fct_prefetch_recall.hits", "fct_prefetch_recall.recall"),
    "placement": ("fct_expert_load_window.selections",),
    "calibration": ("fct_calibration_coverage.samples_until_1000_tokens",),
    "adaptive-k": ("fct_adaptive_k.mean_experts", "fct_adaptive_k.retained_gate_mass"),
    "batch-experts": ("fct_batch_experts.mean_experts",),
    "keep-sets": ("fct_keep_set_stability.jaccard",),
    "tuning": ("fct_expert_load.gate_mass_share", "fct_domain_expert.selections"),
    "zipf": ("fct_frequency_rank.frequency", "fct_frequency_rank.frequency_rank"),
    "minima": ("fct_token_routing.mean_entropy",),
    "samples": ("fct_block_routing.occurrences", "fct_block_routing.entropy_sum"),
}
"""The columns that a section of the page shows or computes from, by the section's id."""


def origins(page: str | None) -> dict[str, list[tuple[str, str | None]]]:
    """Return the columns of each section with their addresses.

    Args:
        page: the lineage page as a link names it; None if there is none: no column has an address.
    """
    return {
        section: [(name, column_address(page, name) if page else None) for name in names]
        for section, names in COLUMNS.items()
    }


def column_address(page: str, name: str) -> str:
    """Return where the lineage page describes a column, named `table.column`."""
    table, column = name.split(".")
    return f"{page}#!/model/model.{PROJECT}.{table}?section={column}#columns"


def path_address(name: str, *, of_events: bool) -> str:
    """Return the part of an address that opens the lineage page on the path to a table.

    Args:
        name: `table` or `table.column`; the column is shown once the reader closes the path.
        of_events: whether the path begins at the events; otherwise at all that makes the table.
    """
    table, _, column = name.partition(".")
    selected = f"+{table},{EVENTS}" if of_events else f"+{table}"
    shown = f"section={column}&" if column else ""
    return f"#!/model/model.{PROJECT}.{table}?{shown}g_v=1&g_i={selected.replace('+', '%2B')}"


def sections_of(table: str) -> dict[str, list[str]]:
    """Return the sections of a run's page that show a table, with its columns there."""
    found = {
        section: [name.split(".")[1] for name in names if name.split(".")[0] == table]
        for section, names in COLUMNS.items()
    }
    return {section: columns for section, columns in found.items() if columns}
