"""What is drawn is what the frame says; nothing touches pyplot or the caller's settings."""

import os
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.patches import PathPatch, Polygon, Rectangle

from gatehouse.reports.figures import style
from gatehouse.reports.figures.gallery import FIGURES
from gatehouse.reports.figures.tokens import (
    entropy_distribution,
    fastpath_coverage,
    frequency_vs_entropy,
    routing_consistency,
)
from gatehouse.reports.statistics import ENTROPY_THRESHOLDS, FREQUENCY_THRESHOLDS
from gatehouse.reports.verdict.criteria import RHO
from gatehouse.reports.verdict.thresholds import Thresholds
from gatehouse.reports.verdict.usable import usable_rows
from gatehouse.reports.verdict.validation import validate
from gatehouse.warehouse.paths import PACKAGE

RUN = "demo-pydoc-0123456789, MoE layer 0"


@pytest.fixture
def validation(frame):
    return validate(frame)


def points(axes) -> np.ndarray:
    """All scattered points, (points, 2), in a fixed order."""
    collections = [each for each in axes.collections if isinstance(each, PathCollection)]
    return np.array(sorted(map(tuple, np.vstack([each.get_offsets() for each in collections]))))


def pairs(frame, x: str, y: str) -> np.ndarray:
    return np.array(sorted(map(tuple, frame[[x, y]].to_numpy(float))))


def panels(figure):
    """The axes with titles, without colour bars."""
    return [axes for axes in figure.axes if axes.get_title(loc="left")]


def texts(figure) -> str:
    figure.canvas.draw()
    written = "\n".join(each.get_text() for each in figure.findobj(matplotlib.text.Text))
    # captions and titles are broken into lines
    return " ".join(written.split())


def test_stems_are_the_specifications():
    assert list(FIGURES) == [
        "frequency_vs_entropy",
        "entropy_distribution",
        "routing_consistency",
        "fastpath_coverage",
    ]


@pytest.mark.parametrize("stem", FIGURES)
def test_every_figure_names_its_run_and_n_and_leaves_settings_alone(stem, frame, validation):
    before = dict(matplotlib.rcParams)
    figure = FIGURES[stem](frame, validation, "run $x^2$")
    written = texts(figure)
    assert f"run $x^2$: n = 400 distinct tokens, {frame['frequency'].sum():,}" in written
    assert dict(matplotlib.rcParams) == before


def test_a_figure_begins_from_matplotlibs_defaults_and_not_from_a_matplotlibrc():
    users = {"text.usetex": True, "font.family": ["serif"], "savefig.transparent": True}
    with matplotlib.rc_context(users), style.style():
        found = dict(matplotlib.rcParams)
    with style.style():
        assert found == dict(matplotlib.rcParams)
    assert found.keys() >= style.RC.keys() and not found["text.usetex"]


@pytest.mark.parametrize("backend", ["module://nowhere.backend", "nonsense"])
@pytest.mark.parametrize(
    "first",
    [
        "import gatehouse.reports.figures",
        # before any figure is drawn
        "import numpy; from gatehouse.reports.statistics import fit_zipf; "
        "assert fit_zipf(numpy.random.default_rng(0).zipf(2, 2000)).lognormal",
    ],
)
def test_a_backend_that_is_not_there_is_not_asked_for(first, backend):
    """A notebook names its own to every program that a cell starts."""
    environment = os.environ | {"MPLBACKEND": backend}
    program = f"{first}; import matplotlib, os; print(os.environ['MPLBACKEND'])"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=PACKAGE,
        capture_output=True,
        text=True,
    )
    assert ended.stdout == f"{backend}\n", ended.stderr


def test_frequency_vs_entropy_draws_every_token_and_the_eligible_region(frame, validation):
    figure = frequency_vs_entropy(frame, validation, RUN)
    axes = panels(figure)[0]
    assert points(axes) == pytest.approx(pairs(frame, "frequency", "mean_entropy"))
    region = next(patch for patch in axes.patches if isinstance(patch, Rectangle))
    assert region.get_x() == validation.thresholds.frequency
    assert region.get_y() + region.get_height() == pytest.approx(validation.thresholds.entropy)
    written = texts(figure)
    correlation = validation.correlation
    assert (
        f"Spearman {RHO} = {correlation.spearman:.3f}, n = 400; p = {correlation.p_text}" in written
    )
    assert f"{validation.fast_path.eligible_tokens:,} tokens" in written
    assert axes.get_xscale() == "log"


def test_the_interval_follows_rho_and_p_comes_last(frame, validation):
    written = texts(frequency_vs_entropy(frame, validation, RUN, interval=(-0.875, -0.5)))
    rho = validation.correlation.spearman
    assert f"{RHO} = {rho:.3f}, 95 % interval -0.88 to -0.50, n = 400; p = " in written


def test_ten_thousands_of_points_are_pixels_in_a_pdf(frame, validation):
    axes = panels(frequency_vs_entropy(frame, validation, RUN))[0]
    assert all(each.get_rasterized() for each in axes.collections)


def test_the_trend_is_the_median_per_bin(frame, validation):
    axes = panels(frequency_vs_entropy(frame, validation, RUN))[0]
    line = next(each for each in axes.lines if each.get_label() == "median per frequency bin")
    frequency = frame["frequency"]
    expected = []
    for low, high in [(0, 1), (1, 2), (2, 5), (5, 10), (10, 20), (20, 50), (50, 100), (100, 200)]:
        inside = frame[(frequency > low) & (frequency <= high)]
        if len(inside) >= 5:
            expected.append(inside["mean_entropy"].median())
    assert line.get_ydata()[: len(expected)] == pytest.approx(expected)


def test_undefined_correlation_is_said_in_the_figure(frame):
    constant = frame.assign(mean_entropy=0.3)
    figure = frequency_vs_entropy(constant, validate(constant), RUN)
    assert f"Spearman {RHO} undefined: all mean entropies are equal" in texts(figure)


def test_entropy_histogram_counts_tokens_and_occurrences(frame, validation):
    density = panels(entropy_distribution(frame, validation, RUN))[0]
    bars = next(each for each in density.containers if isinstance(each, BarContainer))
    edges = [bar.get_x() for bar in bars] + [bars[-1].get_x() + bars[-1].get_width()]
    counts, _ = np.histogram(frame["mean_entropy"], np.array(edges))
    assert [bar.get_height() for bar in bars] == pytest.approx(counts / len(frame))
    assert sum(bar.get_height() for bar in bars) == pytest.approx(1)
    outline = next(each for each in density.patches if isinstance(each, Polygon))
    weighted, _ = np.histogram(frame["mean_entropy"], edges, weights=frame["frequency"])
    drawn = outline.get_xy()[1::2, 1][: len(weighted)]
    assert drawn == pytest.approx(weighted / frame["frequency"].sum())


def test_cumulative_distribution_reaches_the_share_at_the_threshold(frame, validation):
    share = panels(entropy_distribution(frame, validation, RUN))[1]
    tokens, occurrences = share.lines[:2]
    for line, total in ((tokens, np.ones(len(frame))), (occurrences, frame["frequency"])):
        x, y = line.get_data()
        assert (y[0], y[-1]) == (0, pytest.approx(1))
        under = np.asarray(total)[frame["mean_entropy"].to_numpy() < 0.5].sum() / total.sum()
        assert y[np.searchsorted(x, 0.5) - 1] == pytest.approx(under)


def test_entropy_bins_and_boxes_are_means_and_quartiles(frame, validation):
    _, _, means, boxes = panels(entropy_distribution(frame, validation, RUN))
    container = next(each for each in means.containers if isinstance(each, ErrorbarContainer))
    rare = frame.loc[frame["frequency"].between(11, 20), "mean_entropy"]
    assert np.abs(container.lines[0].get_ydata() - rare.mean()).min() == pytest.approx(0, abs=1e-12)
    label = next(
        each.get_text() for each in boxes.get_xticklabels() if each.get_text().startswith("11-100")
    )
    decade = frame.loc[frame["frequency"].between(11, 100), "mean_entropy"]
    assert label == f"11-100\nn={len(decade)}"
    drawn = [
        each.get_path().vertices[:, 1] for each in boxes.patches if isinstance(each, PathPatch)
    ]
    quartiles = decade.quantile([0.25, 0.75]).to_list()
    assert any([box.min(), box.max()] == pytest.approx(quartiles) for box in drawn)


def test_routing_consistency_panels_hold_the_columns(frame, validation):
    over_frequency, distribution, over_entropy, means = panels(
        routing_consistency(frame, validation, RUN)
    )
    assert points(over_frequency) == pytest.approx(pairs(frame, "frequency", "routing_consistency"))
    assert points(over_entropy) == pytest.approx(
        pairs(frame, "mean_entropy", "routing_consistency")
    )
    bars = next(each for each in distribution.containers if isinstance(each, BarContainer))
    counts, _ = np.histogram(frame["routing_consistency"], len(bars), (0, 1))
    assert [bar.get_height() for bar in bars] == pytest.approx(counts / len(frame))
    container = next(each for each in means.containers if isinstance(each, ErrorbarContainer))
    middle = frame.loc[frame["frequency"].between(21, 50), "routing_consistency"].mean()
    assert np.abs(container.lines[0].get_ydata() - middle).min() == pytest.approx(0, abs=1e-12)


def test_held_out_and_random_consistency_stand_beside_the_plain_one(frame, validation):
    frequency = frame["frequency"]
    held_out = frame["routing_consistency"].where(frequency > 1) * 0.9
    wider = frame.assign(held_out_consistency=held_out, random_consistency=1 / frequency)
    means = panels(routing_consistency(wider, validation, RUN))[3]
    written = [each.get_text() for each in means.get_legend().get_texts()]
    assert any("held-out" in each for each in written)
    assert any("random router" in each for each in written)
    plain, other = (each for each in means.containers if isinstance(each, ErrorbarContainer))
    middle = frequency.between(21, 50)
    for series, values in ((plain, frame["routing_consistency"]), (other, held_out)):
        drawn = series.lines[0].get_ydata()
        assert np.abs(drawn - values[middle].mean()).min() == pytest.approx(0, abs=1e-12)
    line = next(each for each in means.lines if "random" in str(each.get_label()))
    expected = (1 / frequency[middle]).mean()
    assert np.abs(line.get_ydata() - expected).min() == pytest.approx(0, abs=1e-12)


def test_fastpath_panels_hold_the_validations_numbers(frame, validation):
    scatter, bars, grid, curve = panels(fastpath_coverage(frame, validation, RUN))
    chosen = frame[(frame["frequency"] > 50) & (frame["mean_entropy"] < 0.5)]
    other, eligible = (each.get_offsets() for each in scatter.collections)
    assert len(eligible) == len(chosen) == validation.fast_path.eligible_tokens
    assert len(other) == len(frame) - len(chosen)
    coverage = validation.fast_path.coverage
    drawn = [bar.get_width() for bar in bars.containers[0]]
    assert drawn[:2] == pytest.approx([validation.fast_path.eligible_share, coverage])
    assert drawn[2:] == pytest.approx(list(validation.zipf.coverage.values()))
    heat = np.asarray(grid.images[0].get_array())
    row, column = FREQUENCY_THRESHOLDS.index(50), ENTROPY_THRESHOLDS.index(0.5)
    assert heat.shape == (len(FREQUENCY_THRESHOLDS), len(ENTROPY_THRESHOLDS))
    assert heat[row, column] == pytest.approx(coverage)
    outline = grid.patches[0]
    assert (outline.get_x(), outline.get_y()) == (column - 0.5, row - 0.5)
    written = [each.get_text() for each in grid.texts]
    assert written == [f"{share:.0%}" for share in heat.ravel()]
    everything, table = curve.lines[:2]
    assert everything.get_ydata()[-1] == pytest.approx(1)
    assert everything.get_ydata()[9] == pytest.approx(validation.zipf.coverage[10])
    assert table.get_ydata()[-1] == pytest.approx(coverage)


def test_the_grid_of_coverage_counts_all_occurrences(frame):
    frame.loc[frame["frequency"].idxmax(), "mean_entropy"] = np.nan
    usable, excluded = usable_rows(frame)
    validation = validate(usable, excluded=excluded)
    grid = panels(fastpath_coverage(usable, validation, RUN))[2]
    place = FREQUENCY_THRESHOLDS.index(50), ENTROPY_THRESHOLDS.index(0.5)
    drawn = np.asarray(grid.images[0].get_array())[place]
    assert drawn == pytest.approx(validation.fast_path.coverage)
    assert drawn < validate(usable).fast_path.coverage - 0.01


def test_thresholds_outside_the_grid_are_not_outlined(frame):
    validation = validate(frame, Thresholds(frequency=33))
    grid = panels(fastpath_coverage(frame, validation, RUN))[2]
    assert len(grid.patches) == 0


DEGENERATE = {
    "every token once": lambda frame: frame.assign(frequency=1, routing_consistency=1.0),
    "equal entropies": lambda frame: frame.assign(mean_entropy=0.3),
    "no entropy at all": lambda frame: frame.assign(mean_entropy=0.0),
    "three tokens": lambda frame: frame.head(3),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", DEGENERATE)
@pytest.mark.parametrize("stem", FIGURES)
def test_degenerate_tables_draw_without_warnings(frame, name, stem):
    table = DEGENERATE[name](frame)
    figure = FIGURES[stem](table, validate(table), RUN)
    assert f"n = {len(table):,}" in texts(figure)
