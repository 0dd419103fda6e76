"""Every figure by the stem of its file: start here to add one.

    figure = FIGURES[stem](frame, validation, "demo-pydoc-0123456789, MoE layer 0")
    figure = RUN_FIGURES[stem](assessed_run)

Nothing is read or saved by them, and pyplot's state is never touched.
"""

from collections.abc import Callable

from matplotlib.figure import Figure

from gatehouse.reports.figures import experts, fast_path, layers, tokens
from gatehouse.reports.figures.caches import expert_cache, prefetch_recall
from gatehouse.reports.figures.calibration import calibration_coverage
from gatehouse.reports.figures.layer_panels import RunFigure
from gatehouse.reports.figures.placement import expert_placement
from gatehouse.reports.figures.replay import replay_cost
from gatehouse.reports.figures.zipf import zipf
from gatehouse.reports.marts.untold import A_VERDICT, EVENTS, ORDER, TOKEN_IDS
from gatehouse.reports.verdict.findings import AssessedRun

FIGURES: dict[str, Callable[..., Figure]] = {
    "frequency_vs_entropy": tokens.frequency_vs_entropy,
    "entropy_distribution": tokens.entropy_distribution,
    "routing_consistency": tokens.routing_consistency,
    "fastpath_coverage": tokens.fastpath_coverage,
}
"""File stem -> the function that draws it, in the specification's order."""

RUN_FIGURES: dict[str, RunFigure] = {
    "layer_overview": layers.layer_overview,
    "minimum_frequency": layers.minimum_frequency,
    "sample_size": layers.sample_size,
    "zipf": zipf,
    "coverage_agreement": fast_path.coverage_agreement,
    "replay_cost": replay_cost,
    "expert_load": experts.expert_load,
    "expert_repetition": layers.expert_repetition,
    "expert_coactivation": experts.expert_coactivation,
    "expert_transition": experts.expert_transition,
    "domain_specialisation": experts.domain_specialisation,
    "expert_cache": expert_cache,
    "prefetch_recall": prefetch_recall,
    "expert_placement": expert_placement,
    "calibration_coverage": calibration_coverage,
}
"""File stem -> the function that draws it, in the order of a report."""

NEEDS: dict[str, frozenset[str]] = {
    **dict.fromkeys(FIGURES, A_VERDICT),
    **dict.fromkeys(
        ("layer_overview", "minimum_frequency", "sample_size", "coverage_agreement"), A_VERDICT
    ),
    "zipf": frozenset({TOKEN_IDS}),
    "expert_transition": frozenset({ORDER}),
    **dict.fromkeys(
        (
            *("expert_repetition", "expert_coactivation", "domain_specialisation"),
            *("expert_cache", "prefetch_recall", "expert_placement", "calibration_coverage"),
        ),
        frozenset({EVENTS}),
    ),
}
"""File stem -> what the run's source must tell for it; the others need the loads alone."""


def run_figures(assessed: AssessedRun) -> dict[str, RunFigure]:
    """Return those of RUN_FIGURES that a run has, by their stems.

    Not those that need what its source did not tell, and that of replays only once it has some.
    """
    without = set(cannot_be_drawn(assessed))
    if not assessed.marts.was_replayed:
        without.add("replay_cost")
    return {stem: draw for stem, draw in RUN_FIGURES.items() if stem not in without}


def cannot_be_drawn(assessed: AssessedRun) -> list[str]:
    """Return the stems of the figures that need what the run's source did not tell."""
    return [stem for stem, needs in NEEDS.items() if needs.intersection(assessed.untold)]
