"""The figure of how much text it takes to calibrate every expert of a run."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from gatehouse.reports.figures import layer_panels, style
from gatehouse.reports.inference.calibration import never_reached, reached
from gatehouse.reports.verdict.findings import AssessedRun

TITLE = "Text until every expert has been selected"


@style.styled
def calibration_coverage(assessed: AssessedRun) -> Figure:
    """Show the share of experts that 1, 10, 100 and 1,000 tokens have selected, by samples read."""
    curves = reached(assessed.marts.calibration)
    note = never_reached(curves) if curves else ""
    caption = layer_panels.caption(assessed, note)
    figure = style.new_figure(style.SINGLE_PANEL, TITLE, caption)
    if not curves:
        return layer_panels.nothing_to_draw(figure, "The run has no tokens.")
    axes = figure.subplots()
    samples = assessed.run["samples"]
    for series, each in enumerate(curves):
        places = np.concatenate([[1], each.samples, [samples]])
        before = each.shares[0] if each.samples.size and each.samples[0] == 1 else 0
        values = np.concatenate([[before], each.shares, [1 - each.never / each.all_experts]])
        label = f"{each.tokens:,} token{'s' if each.tokens > 1 else ''} or more"
        colour, marker = style.SERIES[series]
        axes.plot(
            places,
            values,
            label=label,
            color=colour,
            marker=marker,
            markersize=3.0,
            # curves that lie on one another stay visible, and their markers apart
            linewidth=2.6 - 0.5 * series,
            markevery=(0.03 * series, 0.14) if samples > 1 else 1,
            drawstyle="steps-post",
            clip_on=False,
        )
    axes.set_xscale("log")
    axes.set_xlim(1, max(samples, 2))
    axes.set_ylim(0, 1.03)
    axes.xaxis.set_major_locator(LogLocator(10, style.MANTISSAS, numticks=12))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(style.PLAIN_NUMBERS)
    style.percent_axis(axes.yaxis)
    axes.set_xlabel("Samples read")
    axes.set_ylabel("Share of all layers' experts")
    style.boxed_legend(axes)
    return figure
