"""The charts of a run's page: their order, headings, and one sentence on how to read each."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from gatehouse.reports.marts.untold import A_VERDICT, EVENTS, ORDER, TOKEN_IDS
from gatehouse.reports.page.chart import Chart, Group, Part
from gatehouse.reports.page.inference_charts import INFERENCE
from gatehouse.reports.page.passages import TEXT
from gatehouse.reports.page.sections import cards

EXPERTS = Group(
    "experts",
    "Load and specialisation",
    (
        Chart(
            "load",
            "Expert load",
            "Against a fair share of the choices: orange experts have more, blue ones less, "
            "and a row with a few strong orange cells sends much of its text to these.",
            of_layer=False,
            wide=True,
        ),
        Chart(
            "domains",
            "Domains and experts",
            "How often a domain's tokens choose the expert, against an even router: twice as "
            "often is as far from it as half as often. Columns that change between rows are "
            "experts that prefer a domain.",
            wide=True,
            needs=frozenset({EVENTS}),
        ),
        Chart(
            "busiest",
            "Load of the busiest experts",
            "The share of the layer's load that its busiest experts compute together: the "
            "further the line is above the even share, the fewer of them would be enough.",
            wide=True,
        ),
    ),
)
LAYERS = Group(
    "layers",
    "Layers",
    (
        Chart(
            "overview",
            "All layers",
            "Dashed lines are what a random router has, and a fair share of the load; choose "
            "a layer by clicking it.",
            of_layer=False,
            wide=True,
            untested="The dashed line is a fair share of the load; choose a layer by clicking it.",
        ),
    ),
)
TOGETHER = Group(
    "together",
    "Experts together and in turn",
    (
        Chart(
            "coactivation",
            "Experts chosen together",
            "How often tokens with the row's expert have the column's too, against an even draw "
            "of the other experts: orange pairs go together.",
            needs=frozenset({EVENTS}),
        ),
        Chart(
            "transition",
            "Experts from this layer to the next",
            "How often tokens whose first choice here is the row's expert have the column's in "
            "the next MoE layer, against how often all tokens have it: orange pairs follow "
            "each other.",
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
    ),
)
TOKENS = Group(
    "tokens",
    "Tokens",
    (
        Chart(
            "consistency",
            "Routing consistency by frequency",
            "Only what lies above the random router counts as consistency: a token seen once "
            "is always consistent, and the held-out line is scored on documents that did not "
            "choose the expert.",
            needs=frozenset({TOKEN_IDS, ORDER}),
        ),
        Chart(
            "zipf",
            "Frequency by rank",
            "Both axes are logarithmic: a text that follows Zipf's law is a straight line.",
            of_layer=False,
            needs=frozenset({TOKEN_IDS}),
        ),
    ),
)
CRITERIA = Group(
    "criteria",
    "Frequency and entropy",
    (
        Chart(
            "criteria-by-layer",
            "The criteria in every layer",
            "Whiskers are 95 % intervals over documents, the grey band is where "
            "\N{GREEK SMALL LETTER RHO} falls by chance, dashed lines are the criteria; "
            "choose a layer by clicking it.",
            of_layer=False,
            wide=True,
            needs=A_VERDICT,
        ),
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
            wide=True,
            needs=A_VERDICT,
        ),
    ),
)
FAST_PATH = Group(
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
)
LESS_TEXT = Group(
    "less-text",
    "With less text",
    (
        Chart(
            "minima",
            "Correlation without rare tokens",
            "If \N{GREEK SMALL LETTER RHO} vanishes when rare tokens are left out, it came "
            "from their noise.",
            wide=True,
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
)
PARTS = (
    Part(
        "routing", "How the model routes", (EXPERTS, cards.SECTION, LAYERS, TEXT, TOGETHER, TOKENS)
    ),
    Part("verdict", "The hypothesis", (CRITERIA, FAST_PATH, LESS_TEXT)),
    Part("inference", "For inference", (INFERENCE,)),
)
GROUPS = tuple(group for part in PARTS for group in part.groups)


def shown(untold: Collection[str], focus: str | None = None) -> tuple[Part, ...]:
    """Return the parts of a run's page, with the charts that its source tells enough for.

    Args:
        untold: what the source did not tell; a group or part without a chart is left out.
        focus: the stem of the part that comes first, if the run has it.
    """
    parts = (replace(part, groups=_told(part.groups, untold)) for part in PARTS)
    # sorting keeps the others in their order
    return tuple(
        sorted((part for part in parts if part.groups), key=lambda part: part.stem != focus)
    )


def _told(groups: Sequence[Group], untold: Collection[str]) -> tuple[Group, ...]:
    told = (
        replace(
            group,
            charts=tuple(
                _read(each, untold) for each in group.charts if not each.needs & set(untold)
            ),
        )
        for group in groups
    )
    return tuple(group for group in told if group.charts)


def _read(chart: Chart, untold: Collection[str]) -> Chart:
    is_tested = A_VERDICT.isdisjoint(untold)
    return chart if is_tested else replace(chart, reading=chart.untested or chart.reading)


def left_out(untold: Collection[str]) -> list[str]:
    """Return the headings of the charts that the others of `shown` lack."""
    return [
        chart.heading for group in GROUPS for chart in group.charts if chart.needs & set(untold)
    ]
