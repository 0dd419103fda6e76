"""Every figure by the stem of its file: start here to add one.

    figure = FIGURES[stem](frame, validation, "demo-pydoc-0123456789, MoE layer 0")
    figure = RUN_FIGURES[stem](assessed_run)

Nothing is read or saved by them, and pyplot's state is never touched.
"""

from collections.abc import Callable

from matplotlib.figure import Figure

from reports import expert_figures, figures, layer_figures, run_figures
from reports.rank_frequency import zipf
from reports.run_panels import RunFigure

FIGURES: dict[str, Callable[..., Figure]] = {
    "frequency_vs_entropy": figures.frequency_vs_entropy,
    "entropy_distribution": figures.entropy_distribution,
    "routing_consistency": figures.routing_consistency,
    "fastpath_coverage": figures.fastpath_coverage,
}
"""File stem -> the function that draws it, in the specification's order."""

RUN_FIGURES: dict[str, RunFigure] = {
    "layer_overview": layer_figures.layer_overview,
    "minimum_frequency": layer_figures.minimum_frequency,
    "sample_size": layer_figures.sample_size,
    "zipf": zipf,
    "coverage_agreement": run_figures.coverage_agreement,
    "expert_load": expert_figures.expert_load,
    "expert_repetition": layer_figures.expert_repetition,
    "expert_coactivation": expert_figures.expert_coactivation,
    "expert_transition": expert_figures.expert_transition,
    "domain_specialisation": expert_figures.domain_specialisation,
}
"""File stem -> the function that draws it, in the order of a report."""
