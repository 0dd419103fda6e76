"""Panels of the fast path: what a lookup table of eligible tokens would answer."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from gatehouse.reports import statistics
from gatehouse.reports.figures import style, token_panels
from gatehouse.reports.statistics import FREQUENCY_THRESHOLDS
from gatehouse.reports.verdict.criteria import LEAST_COVERAGE
from gatehouse.reports.verdict.validation import Validation

DARK_CELL = 0.55


def eligible_scatter(
    axes: Axes, frequency: NDArray, entropy: NDArray, validation: Validation
) -> None:
    """Draw eligible tokens in green and the others in grey, each darker where they crowd.

    Args:
        axes: where to draw.
        frequency: (tokens,) occurrences.
        entropy: (tokens,) nats.
        validation: its thresholds divide the tokens.
    """
    chosen = is_eligible(frequency, entropy, validation)
    labels = []
    for mask, hue, name in ((~chosen, "Greys", "other"), (chosen, "Greens", "eligible")):
        token_panels.density_scatter(
            axes, frequency[mask], entropy[mask], logarithmic=True, hue=hue, of=frequency.size
        )
        labels.append(f"{name}: {mask.sum():,} tokens")
    style.frequency_axis(axes, frequency)
    token_panels.entropy_axis(axes.set_ylim, entropy, validation.thresholds.entropy)
    token_panels.thresholds(axes, validation.thresholds.frequency, validation.thresholds.entropy)
    handles = [
        Line2D([], [], linestyle="", marker="o", markersize=4, color=colour, label=label)
        for (label, colour) in zip(labels, (style.GREY, style.GREEN), strict=True)
    ]
    style.boxed_legend(axes, handles=handles)


def is_eligible(frequency: NDArray, entropy: NDArray, validation: Validation) -> NDArray:
    """Return (tokens,) bool: eligible by the validation's thresholds."""
    return statistics.eligible(
        frequency, entropy, validation.thresholds.frequency, validation.thresholds.entropy
    )


def coverage_bars(validation: Validation) -> tuple[dict[str, float], list[str]]:
    """Return what to draw with `share_bars`: shares by name, and a colour for each."""
    shares = {
        "eligible tokens\n(of distinct)": validation.fast_path.eligible_share,
        "eligible tokens\n(of occurrences)": validation.fast_path.coverage,
    }
    ranks = {
        f"top {top:,} tokens\n(of occurrences)": share
        for top, share in validation.zipf.coverage.items()
    }
    colours = [style.GREEN] * len(shares) + [style.LIGHT_GREY] * len(ranks)
    return shares | ranks, colours


def share_bars(axes: Axes, shares: dict[str, float], colours: list[str]) -> None:
    """Draw horizontal bars of shares in [0, 1], the first on top, each with its value."""
    bars = axes.barh(list(shares), list(shares.values()), color=colours, height=0.62)
    axes.bar_label(bars, [f"{share:.1%}" for share in shares.values()], padding=3)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.18)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.grid(axis="y", visible=False)
    style.percent_axis(axes.xaxis)


def sensitivity(axes: Axes, coverage: NDArray, thresholds: Sequence[float]) -> None:
    """Draw coverage per pair of thresholds as a heatmap with its numbers in percent.

    Args:
        axes: where to draw.
        coverage: (frequency thresholds, entropy thresholds), as `statistics.coverage_grid`.
        thresholds: of the entropy, nats.
    """
    axes.imshow(coverage, cmap=style.share_colours(), vmin=0, vmax=1, aspect="auto", origin="lower")
    axes.set_xticks(range(len(thresholds)), [f"{edge:g}" for edge in thresholds])
    axes.set_yticks(
        range(len(FREQUENCY_THRESHOLDS)), [f"{edge:,}" for edge in FREQUENCY_THRESHOLDS]
    )
    for (row, column), share in np.ndenumerate(coverage):
        colour = "white" if share > DARK_CELL else style.INK
        style.cell_text(axes, column, row, f"{share:.0%}", colour)
    style.bare(axes)
    axes.set_xlabel("Entropy threshold (nats)")
    axes.set_ylabel("Frequency threshold")


def mark_thresholds(axes: Axes, validation: Validation, columns: Sequence[float]) -> None:
    """Outline the grid's cell of the validation's own thresholds, if the grid has one."""
    rows = FREQUENCY_THRESHOLDS
    row, column = validation.thresholds.frequency, validation.thresholds.entropy
    if row in rows and column in columns:
        corner = (columns.index(column) - 0.5, rows.index(row) - 0.5)
        outline = Rectangle(corner, 1, 1, fill=False, edgecolor=style.VERMILLION, linewidth=1.6)
        # the outline of a cell at the edge is half outside the axes
        axes.add_patch(outline).set_clip_on(False)


def coverage_curve(axes: Axes, frequency: NDArray, chosen: NDArray, all_occurrences: int) -> None:
    """Draw the share of all occurrences that the most frequent tokens cover, all and eligible."""
    for mask, colour, line, name in (
        (np.ones_like(chosen), style.BLUE, "-", "all tokens"),
        (chosen, style.GREEN, (0, (5, 1)), "eligible tokens"),
    ):
        ordered = np.sort(frequency[mask])[::-1]
        ranks = np.arange(1, ordered.size + 1)
        axes.plot(
            ranks, np.cumsum(ordered) / all_occurrences, color=colour, linestyle=line, label=name
        )
    style.criterion(axes, LEAST_COVERAGE, f"criterion: over {LEAST_COVERAGE:.0%}")
    style.frequency_axis(axes, np.arange(1, frequency.size + 1), "Tokens, most frequent first")
    axes.set_ylim(0, 1.03)
    axes.set_ylabel("Share of occurrences")
    style.percent_axis(axes.yaxis)
    axes.legend(loc="best")
