"""Frequencies of tokens by rank, and the laws that were fitted to them."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray
from scipy import special, stats

from gatehouse.reports import statistics
from gatehouse.reports.figures import layer_panels, style
from gatehouse.reports.statistics import ZipfFit
from gatehouse.reports.verdict.findings import AssessedRun

CURVE_POINTS = 200


@style.styled
def zipf(assessed: AssessedRun) -> Figure:
    """Show frequency over rank with every law that was fitted, and how well it fits."""
    frequency = np.sort(assessed.marts.frequency_rank["frequency"].to_numpy(float))[::-1]
    caption = layer_panels.caption(assessed, _note(assessed.findings.zipf))
    figure = style.new_figure((style.WIDTH, 4.1), "Zipf's law", caption)
    axes = figure.subplots()
    ranks = np.arange(1, frequency.size + 1)
    cloud: Any = {"s": 7, "color": style.LIGHT_GREY, "linewidths": 0, "rasterized": True}
    axes.scatter(ranks, frequency, label="tokens, most frequent first", **cloud)
    _least_squares(axes, frequency)
    _likeliest(axes, frequency, assessed.findings.zipf)
    style.frequency_axis(axes, ranks, "Rank of the token")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(10, numticks=12))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(style.PLAIN_NUMBERS)
    axes.set_ylim(frequency.min() * 0.6, frequency.max() * 2.5)
    axes.set_ylabel("Frequency (occurrences)")
    figure.legend(loc="outside right upper", labelspacing=1.1)
    return figure


def _least_squares(axes: Axes, frequency: NDArray) -> None:
    """Draw the specification's line, of ln(frequency + 1) on ln(rank)."""
    described = statistics.zipf(frequency)
    name = "least squares, ln(f + 1) on ln(rank)"
    if described.r_squared is None:
        _unfitted(axes, f"{name}:\nundefined, {described.undefined}")
        return
    line, drawn = statistics.zipf_line(frequency), _spaced(1, frequency.size)
    heights = line.frequencies(drawn)
    label = f"{name}:\nexponent {-line.slope:.2f}, R² = {described.r_squared:.3f}"
    # under an eighth of an occurrence the line would only stretch the axes
    shown = heights > 1 / 8
    axes.plot(drawn[shown], heights[shown], color=style.INK, linestyle=(0, (4, 2)), label=label)


def _likeliest(axes: Axes, frequency: NDArray, fit: ZipfFit) -> None:
    """Draw the laws of largest likelihood, or say why there are none."""
    if fit.alpha is None or fit.x_min is None:
        _unfitted(axes, f"maximum likelihood:\nundefined, {fit.undefined}")
        return
    values = _spaced(fit.x_min, frequency.max())
    tail = special.zeta(fit.alpha, values) / special.zeta(fit.alpha, fit.x_min)
    solid: Any = {"color": style.VERMILLION, "linewidth": 1.5}
    axes.plot(fit.tail_tokens * tail, values, label=_power_law_label(fit), **solid)
    if fit.lognormal is None:
        _unfitted(axes, "lognormal tail:\nits likelihood is too small for a float")
    else:
        _lognormal(axes, values, fit)
    if fit.mandelbrot is None:
        _unfitted(axes, "Zipf-Mandelbrot:\nnot fitted")
        return
    law, drawn = fit.mandelbrot, _spaced(1, frequency.size)
    heights = law.frequencies(drawn, frequency.size, frequency.sum())
    label = (
        f"Zipf-Mandelbrot, (rank + shift)^-exponent:\nexponent {law.exponent:.2f}, "
        f"shift {law.shift:.3g};\nlikelihood ratio over shift 0: {law.ratio:,.0f}"
    )
    dotted: Any = {"color": style.BLUE, "linestyle": (0, (1, 1.2)), "linewidth": 1.8}
    axes.plot(drawn, heights, label=label, **dotted)


def _power_law_label(fit: ZipfFit) -> str:
    error = "" if fit.alpha_error is None else f" ± {fit.alpha_error:.2g}"
    fitness = f",\ngoodness-of-fit {fit.p_text}" if fit.p_text else ""
    return (
        f"power-law tail by maximum likelihood, p(f) ~ f^-a:\na = {fit.alpha:.3f}{error} from f ≥ "
        f"{fit.x_min:,}\n({fit.tail_tokens:,} tokens; ranks: exponent {fit.rank_exponent:.2f}),\n"
        f"KS distance {fit.distance:.3f}{fitness}"
    )


def _lognormal(axes: Axes, values: NDArray, fit: ZipfFit) -> None:
    """Draw how many tokens are expected to be at least so frequent, in the tail from x_min on."""
    law = fit.lognormal
    assert law is not None and fit.x_min is not None
    # a discrete lognormal rounds: x takes the mass from x - 1/2 to x + 1/2
    logs = stats.norm.logsf((np.log(values - 0.5) - law.mu) / law.sigma)
    first = stats.norm.logsf((np.log(fit.x_min - 0.5) - law.mu) / law.sigma)
    preferred = f"prefers the {law.preferred}" if law.preferred else "undecided"
    label = (
        f"lognormal tail: mu = {law.mu:.3g}, sigma = {law.sigma:.3g};\n"
        f"likelihood ratio of power law to it {law.ratio:.2f},\np = {law.p_value:.2g}: {preferred}"
    )
    ranks = fit.tail_tokens * np.exp(logs - first)
    dashed: Any = {"color": style.GREEN, "linestyle": (0, (6, 2, 1, 2)), "linewidth": 1.3}
    shown = ranks > 1 / 2
    axes.plot(ranks[shown], values[shown], label=label, **dashed)


def _unfitted(axes: Axes, text: str) -> None:
    """Put a sentence into the legend without drawing anything."""
    axes.plot([], [], linestyle="", label=text)


def _spaced(first: float, last: float) -> NDArray:
    return np.geomspace(first, last, CURVE_POINTS)


def _note(fit: ZipfFit) -> str:
    if fit.p_value is None:
        return ""
    return (
        f"A goodness-of-fit p under 0.1 rejects the power law ({fit.replicates} replicates); its "
        f"tail begins at the best of up to {statistics.CANDIDATES} cut-offs."
    )
