"""The charts for inference: their order, headings, and one sentence on how to read each."""

from gatehouse.reports.marts.untold import EVENTS, WEIGHTS
from gatehouse.reports.page.chart import Chart, Group

INFERENCE = Group(
    "inference",
    "For inference",
    (
        Chart(
            "cache",
            "Experts in a cache",
            "The dotted line is a cache filled at random: only what lies above it is gained. "
            "Belady foresees the text: no cache that loads what it lacks, as LRU and LFU do, "
            "finds more.",
            of_layer=False,
            wide=True,
            needs=frozenset({EVENTS}),
        ),
        Chart(
            "prefetch",
            "Experts loaded ahead",
            "Recall is the share of a token's experts that a prediction names: only what lies "
            "above the dotted line of chance is foretold.",
            of_layer=False,
            wide=True,
            needs=frozenset({EVENTS}),
        ),
        Chart(
            "placement",
            "Experts placed on GPUs",
            "At 1 all GPUs have the same load; at 0.5 the busiest one has twice the mean.",
            of_layer=False,
            wide=True,
        ),
        Chart(
            "calibration",
            "Text until every expert has been selected",
            "Each line is the share of all layers' experts that so many tokens have selected: "
            "where it ends under 100 %, this text gives the other experts fewer.",
            of_layer=False,
            wide=True,
            needs=frozenset({EVENTS}),
        ),
        Chart(
            "adaptive-k",
            "Fewer experts for a token",
            "Of a token's experts those are dropped whose weight is below a threshold, or all but "
            "the first where its entropy is: the further left a curve stays high, the fewer "
            "experts have most of the gate mass.",
            of_layer=False,
            wide=True,
            needs=frozenset({EVENTS, WEIGHTS}),
        ),
        Chart(
            "batch-experts",
            "Experts that a batch selects",
            "So many experts of a layer are read from memory for a batch. The dotted line is "
            "tokens that choose at random, all experts alike; an uneven load alone is enough to "
            "stay below it.",
            of_layer=False,
            wide=True,
            needs=frozenset({EVENTS}),
        ),
        Chart(
            "keep-sets",
            "Experts that would be kept",
            "The Jaccard index of what a part of the text keeps, from the first sample on, and "
            "what all of it keeps, which the part belongs to: each line ends at 1. The hollow "
            "marks compare two halves that share no sample.",
            of_layer=False,
            wide=True,
            needs=frozenset({EVENTS}),
        ),
        Chart(
            "tuning",
            "Experts to fine-tune",
            "ESFT trains the fewest experts of a layer that together have a share p of its gate "
            "scores or selections: the fewer they are, the more the text relies on a few experts.",
            of_layer=False,
            wide=True,
        ),
    ),
)

ADVISED = tuple(chart.stem for chart in INFERENCE.charts)
"""Charts whose data have sentences beside them."""
