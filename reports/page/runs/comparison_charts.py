"""The charts of two runs on the page of several, in their order, and the columns that they draw."""

from collections.abc import Collection
from dataclasses import replace

from gatehouse.reports.page.chart import Chart

OVERLAP = (
    "tokens",
    "expert_overlap",
    "set_agreement",
    "top_agreement",
    "mean_entropy_change",
    "mean_absolute_entropy_change",
)
LOADS = ("shared_load", "load_correlation", "dead_in_both", "dead_in_one")
FLIPS = ("tokens", "set_flip_share", "top_flip_share")

NUMBERS = Chart(
    "numbers",
    "Layer by layer",
    "Whiskers are each run's own 95 % interval over its documents, dashed lines are the "
    "criteria. Where the whiskers of both runs are apart, the runs differ by more than "
    "their choice of documents explains.",
    of_layer=False,
    wide=True,
    untested="Neither run has a verdict: what the traces tell is drawn, and there are no "
    "intervals.",
)
OF_BOTH = (
    Chart(
        "loads",
        "The same experts busy",
        "The shared load adds up, over the experts, the smaller of the two shares of the layer's "
        "load: 100 % is equal loads, 0 % no expert that works in both runs. A dead expert has no "
        "load at all.",
        of_layer=False,
        wide=True,
    ),
    Chart(
        "overlap",
        "The same occurrences in both runs",
        "On the text that both runs read: how often they chose the same experts and, if both "
        "tell it, how far entropy moved from the first to the second.",
        of_layer=False,
        wide=True,
    ),
    Chart(
        "flips",
        "Where the runs route differently",
        "Shares of the tokens that both runs read which go to another set of experts, or have "
        "another first choice. A margin is the first weight less the second: where it is small, "
        "little is needed to flip the first choice. What decides the set, the distance to the "
        "first expert that was not chosen, is not recorded.",
        of_layer=False,
        wide=True,
    ),
)
"""The charts of what the two runs have in common, each named as its key of the page's data."""


def shown(tested: bool, common: Collection[str]) -> tuple[Chart, ...]:
    """Return the charts of two runs.

    Args:
        tested: whether one of the runs has a verdict.
        common: the keys of what is known of both together.
    """
    numbers = NUMBERS if tested else replace(NUMBERS, reading=NUMBERS.untested)
    return (numbers, *(chart for chart in OF_BOTH if chart.stem in common))
