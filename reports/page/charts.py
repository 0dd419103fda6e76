"""The charts of a run's page: their order, headings, and one sentence on how to read each."""

from collections.abc import Collection
from dataclasses import replace

from gatehouse.reports.marts.untold import A_VERDICT, EVENTS, ORDER, TOKEN_IDS
from gatehouse.reports.page.chart import Chart, Group
from gatehouse.reports.page.inference_charts import INFERENCE
from gatehouse.reports.page.passages import TEXT
from gatehouse.reports.page.sections import cards

GROUPS = (
    TEXT,
    Group(
        "routing",
        "Frequency, entropy, consistency",
        (
            Chart(
                "frequency-entropy",
                "Frequency and entropy",
                "Shades count all distinct tokens, points are the most frequent ones: if frequent "
                "tokens are routed more decisively, both fall to the right, into the corner that "
                "the two thresholds enclose.",
                wide=True,
                needs=A_VERDICT,
            ),
            Chart(
                "entropy-distribution",
                "Distribution of entropy",
                "Where occurrences lie left of distinct tokens, running text is routed with less "
                "entropy than its vocabulary.",
                needs=A_VERDICT,
            ),
            Chart(
                "consistency",
                "Routing consistency by frequency",
                "Only what lies above the random router counts as consistency: a token seen once "
                "is always consistent, and the held-out line is scored on documents that did not "
                "choose the expert.",
                needs=frozenset({TOKEN_IDS, ORDER}),
            ),
        ),
    ),
    Group(
        "fast-path",
        "Fast path",
        (
            Chart(
                "coverage",
                "Coverage under your thresholds",
                "Move the sliders or choose a cell: the stronger the colour, the more of the "
                "text a lookup table of the eligible tokens would answer.",
                wide=True,
                needs=A_VERDICT,
            ),
            Chart(
                "agreement",
                "Coverage against agreement on held-out text",
                "Right is more text answered, up is more of it answered with the router's own "
                "expert set; on the front no other choice of thresholds is better in both.",
                wide=True,
                needs=A_VERDICT,
            ),
        ),
    ),
    Group(
        "layers",
        "Layers",
        (
            Chart(
                "overview",
                "All layers",
                "Whiskers are 95 % intervals over documents, the grey band is where "
                "\N{GREEK SMALL LETTER RHO} falls by chance, dashed lines are the criteria; "
                "choose a layer by clicking it.",
                of_layer=False,
                wide=True,
                untested="The dashed line is a fair share of the load; choose a layer by clicking "
                "it. There is no verdict, so its criteria are not drawn.",
            ),
        ),
    ),
    Group(
        "experts",
        "Experts",
        (
            Chart(
                "load",
                "Expert load",
                "1 is a fair share of the choices: a row with few strong cells sends most of its "
                "text to a few experts.",
                of_layer=False,
                wide=True,
            ),
            Chart(
                "busiest",
                "Load of the busiest experts",
                "The share of the layer's load that its busiest experts compute together: the "
                "further the line is above the even share, the fewer of them would be enough.",
                wide=True,
            ),
            Chart(
                "coactivation",
                "Experts chosen together",
                "Of the tokens that chose the row's expert, the share that chose the column's too.",
                needs=frozenset({EVENTS}),
            ),
            Chart(
                "transition",
                "Experts from this layer to the next",
                "Of the tokens whose first choice here is the row's expert, the share whose first "
                "choice in the next MoE layer is the column's.",
                needs=frozenset({ORDER}),
            ),
            Chart(
                "repetition",
                "Repetition from token to token",
                "How often the next token has the same expert; only the distance from the dashed "
                "line of chance is repetition.",
                of_layer=False,
                wide=True,
                needs=frozenset({EVENTS}),
            ),
            Chart(
                "domains",
                "Domains and experts",
                "The share of a domain's tokens that chose the expert: columns that change "
                "between rows are experts that prefer a domain.",
                wide=True,
                needs=frozenset({EVENTS}),
            ),
        ),
    ),
    cards.SECTION,
    INFERENCE,
    Group(
        "text",
        "The text and its size",
        (
            Chart(
                "zipf",
                "Frequency by rank",
                "Both axes are logarithmic: a text that follows Zipf's law is a straight line.",
                of_layer=False,
                needs=frozenset({TOKEN_IDS}),
            ),
            Chart(
                "minima",
                "Correlation without rare tokens",
                "If \N{GREEK SMALL LETTER RHO} vanishes when rare tokens are left out, it came "
                "from their noise.",
                needs=A_VERDICT,
            ),
            Chart(
                "samples",
                "With less text",
                "A line that is still moving at its right end would keep moving with more text.",
                wide=True,
                needs=A_VERDICT,
            ),
        ),
    ),
)


def shown(untold: Collection[str]) -> tuple[Group, ...]:
    """Return the charts of a run whose source did not tell some things, without empty groups."""
    groups = (
        replace(
            group,
            charts=tuple(
                _read(each, untold) for each in group.charts if not each.needs & set(untold)
            ),
        )
        for group in GROUPS
    )
    return tuple(group for group in groups if group.charts)


def _read(chart: Chart, untold: Collection[str]) -> Chart:
    is_tested = A_VERDICT.isdisjoint(untold)
    return chart if is_tested else replace(chart, reading=chart.untested or chart.reading)


def left_out(untold: Collection[str]) -> list[str]:
    """Return the headings of the charts that the others of `shown` lack."""
    return [
        chart.heading for group in GROUPS for chart in group.charts if chart.needs & set(untold)
    ]
