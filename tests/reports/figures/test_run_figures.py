"""The figures of a whole run draw what marts and findings say, however large or small the run."""

import dataclasses

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import LogNorm

from gatehouse.reports.figures.gallery import RUN_FIGURES
from gatehouse.reports.figures.layer_panels import ratio_norm, shown_layers
from gatehouse.reports.inference.placements import placements, windowed_loads
from gatehouse.reports.marts import published
from gatehouse.reports.statistics import fit_zipf, pareto_front
from tests.reports.figures.drawn import RUN, assessed, draw, images, line, made_up, panels, texts


@pytest.fixture(scope="module")
def marts_and_findings():
    return made_up(layers=3)


def square(frame, row, column, value) -> np.ndarray:
    return frame.pivot(index=row, columns=column, values=value).to_numpy(float)


@pytest.mark.parametrize("stem", RUN_FIGURES)
def test_every_figure_names_run_model_and_n_and_leaves_settings_alone(stem, marts_and_findings):
    before = dict(matplotlib.rcParams)
    written = texts(draw(stem, *marts_and_findings))
    assert "run $x^2$ (float32) of mistralai/Mixtral-8x7B-v0.1: n = 300 distinct tokens" in written
    assert dict(matplotlib.rcParams) == before


def test_layer_overview_holds_the_layers_numbers(marts_and_findings):
    marts, findings = marts_and_findings
    rho, low, coverage, entropy, consistency, load = panels(draw("layer_overview", marts, findings))
    layers = findings.layers
    for axes, column in ((rho, "spearman"), (low, "low_entropy_share"), (coverage, "coverage")):
        assert line(axes, "measured").get_ydata() == pytest.approx(layers[column])
        bars = next(each for each in axes.collections if isinstance(each, LineCollection))
        ends = np.array([segment[:, 1] for segment in bars.get_segments()])
        assert ends == pytest.approx(layers[[f"{column}_low", f"{column}_high"]].to_numpy())
    criteria = [
        line(axes, "criterion (in brackets)").get_ydata()[0] for axes in (rho, low, coverage)
    ]
    assert criteria == [-0.4, 0.3, 0.4]
    band = rho.patches[0].get_data()
    assert band.values == pytest.approx(layers["null_high"])
    assert band.baseline == pytest.approx(layers["null_low"])
    assert line(entropy, "measured").get_ydata() == pytest.approx(
        marts.layers["normalised_entropy"]
    )
    for label, column in (("measured", ""), ("held-out documents", "held_out_")):
        drawn = line(consistency, label).get_ydata()
        assert drawn == pytest.approx(layers[f"{column}consistency"])
    drawn = line(consistency, "random router").get_ydata()
    assert drawn == pytest.approx(layers["random_consistency"])
    assert line(load, "measured").get_ydata() == pytest.approx(marts.layers["max_load_ratio"])


def test_lines_over_samples_and_minima_are_the_findings(marts_and_findings):
    marts, findings = marts_and_findings
    for axes, column in zip(
        panels(draw("sample_size", marts, findings)),
        ("spearman", "low_entropy_share", "coverage"),
    ):
        for index, rows in findings.sample_sizes.groupby("moe_index"):
            x, y = line(axes, f"layer {index}").get_data()
            assert (list(x), list(y)) == (list(rows["share"]), pytest.approx(list(rows[column])))
    axes = panels(draw("minimum_frequency", marts, findings))[0]
    for index, rows in findings.minima.groupby("moe_index"):
        drawn = line(axes, f"layer {index}").get_ydata()
        assert drawn == pytest.approx(rows["spearman"], nan_ok=True)


def test_many_layers_are_thin_lines_and_their_median():
    marts, findings = made_up(layers=9, tokens=60)
    axes = panels(draw("sample_size", marts, findings))[2]
    expected = findings.sample_sizes.groupby("share")["coverage"].median()
    assert line(axes, "median layer").get_ydata() == pytest.approx(expected.to_numpy())
    assert len(axes.lines) == 9 + 2


def test_heatmaps_hold_ratios_to_chance(marts_and_findings):
    marts, findings = marts_and_findings
    (load,) = images(draw("expert_load", marts, findings))
    assert load == pytest.approx(square(marts.expert_load, "moe_index", "expert", "load_ratio"))
    pairs = marts.coactivation.assign(
        ratio=lambda frame: frame["probability"] / frame["uniform_probability"]
    )
    domains = marts.domain_expert.assign(
        ratio=lambda frame: frame["specialisation"] / frame["uniform_specialisation"]
    )
    for stem, frame, names in (
        ("expert_coactivation", pairs, ("expert", "other_expert", "ratio")),
        ("expert_transition", marts.transition, ("expert", "next_expert", "lift")),
        ("domain_specialisation", domains, ("domain", "expert", "ratio")),
    ):
        drawn = images(draw(stem, marts, findings))
        groups = [rows for _, rows in frame.groupby("moe_index")]
        assert len(drawn) == len(groups)
        for image, rows in zip(drawn, groups):
            assert image == pytest.approx(square(rows, *names), nan_ok=True)


def test_what_never_happened_is_zero_and_what_cannot_is_blank(marts_and_findings):
    marts, findings = marts_and_findings
    rows = marts.transition
    unseen = (rows["expert"] == 2) | ((rows["expert"] == 1) & (rows["next_expert"] == 4))
    sparse = dataclasses.replace(marts, transition=rows[~unseen])
    for image in images(draw("expert_transition", sparse, findings)):
        assert image[1, 4] == 0
        assert np.isnan(image[2]).all()


def test_dead_experts_are_marked(marts_and_findings):
    marts, findings = marts_and_findings
    load = marts.expert_load.copy()
    load.loc[[3, 12], ["load_ratio", "load_share"]] = 0
    load.loc[[3, 12], "is_dead"] = True
    figure = draw("expert_load", dataclasses.replace(marts, expert_load=load), findings)
    marks = next(each for each in panels(figure)[0].collections if isinstance(each, PathCollection))
    assert marks.get_offsets().tolist() == [[3, 0], [4, 1]]
    assert "never selected: 2" in texts(figure)


def test_placements_are_drawn_as_they_are_measured(marts_and_findings):
    marts, findings = marts_and_findings
    found = placements(windowed_loads(marts.load_windows, 3, 8), 4)
    figure = draw("expert_placement", marts, findings)
    learned, held_out, windows = panels(figure)
    assert "4 GPUs; EPLB places by the train split" in texts(figure)
    for name in ("EPLB", "contiguous", "random"):
        measured = getattr(found, name.lower())
        assert line(learned, name).get_ydata() == pytest.approx(measured.learned.layers)
        assert line(held_out, name).get_ydata() == pytest.approx(measured.held_out.layers)
        assert line(windows, name).get_ydata() == pytest.approx(measured.windows)


def test_what_cannot_be_placed_is_said(marts_and_findings):
    marts, findings = marts_and_findings
    only_train = marts.load_windows[marts.load_windows["split"] == "train"]
    figure = draw("expert_placement", dataclasses.replace(marts, load_windows=only_train), findings)
    assert "nothing is held out" in texts(figure)
    for experts, said in (([8, 8, 4], "different numbers"), ([7, 7, 7], "can share 7 experts")):
        layers = marts.layers.assign(num_experts=experts)
        figure = draw("expert_placement", dataclasses.replace(marts, layers=layers), findings)
        assert said in texts(figure)


def test_repetition_stands_beside_chance_and_the_paper():
    marts, findings = made_up(layers=32, tokens=60)
    figure = draw("expert_repetition", marts, findings)
    first, either = panels(figure)
    frame = marts.repetition
    for axes, kind in ((first, "first_choice"), (either, "first_or_second")):
        assert line(axes, "this run").get_ydata() == pytest.approx(frame[f"{kind}_repetition"])
        chance = line(axes, "chance, equal loads").get_ydata()
        assert chance == pytest.approx(frame[f"{kind}_chance"])
        marks = np.asarray(axes.collections[0].get_offsets())
        assert len(marks) == 8 * 3
        wikipedia = published.MIXTRAL_REPETITION["Wikipedia"][kind]
        assert marks[-3:] == pytest.approx(
            np.column_stack([(0, 15, 31), np.divide(wikipedia, 100)])
        )
    by_load = line(first, "chance, this run's loads").get_ydata()
    assert by_load == pytest.approx(frame["first_choice_chance_by_load"])
    assert "arXiv 2401.04088" in texts(figure)
    other = RUN_FIGURES["expert_repetition"](assessed(marts, findings, RUN | {"model": "demo"}))
    assert "arXiv" not in texts(other)


def test_coverage_agreement_draws_tables_and_their_front(marts_and_findings):
    marts, findings = marts_and_findings
    for index, axes in enumerate(panels(draw("coverage_agreement", marts, findings))):
        grid = marts.thresholds[marts.thresholds["moe_index"] == index].dropna()
        sized = marts.agreement[marts.agreement["moe_index"] == index]
        sized = sized[~sized["table_tokens"].duplicated()]
        points, names = axes.collections[0], ["coverage", "set_agreement"]
        assert np.asarray(points.get_offsets()) == pytest.approx(grid[names].to_numpy(float))
        assert np.asarray(points.get_array()) == pytest.approx(
            grid["retained_gate_mass"].to_numpy(float)
        )
        drawn = line(axes, "tables by size").get_xydata()
        assert drawn == pytest.approx(sized[names].to_numpy())
        both = pd.concat([grid, sized])[names].to_numpy(float)
        front = both[pareto_front(*both.T)]
        drawn = line(axes, "Pareto front").get_xydata()
        assert drawn == pytest.approx(front[np.argsort(front[:, 0])])


def test_zipf_draws_the_fits_and_says_what_is_undefined(marts_and_findings):
    marts, findings = marts_and_findings
    figure = draw("zipf", marts, findings)
    axes, fit = panels(figure)[0], findings.zipf
    frequency = marts.frequency_rank["frequency"].to_numpy()
    assert np.asarray(axes.collections[0].get_offsets())[:, 1] == pytest.approx(frequency)
    tail = next(each for each in axes.lines if "power-law tail" in each.get_label())
    assert tail.get_xydata()[0] == pytest.approx([fit.tail_tokens, fit.x_min])
    law = next(each for each in axes.lines if "Mandelbrot" in each.get_label())
    at = np.exp(np.interp(np.log(300), *np.log(law.get_data())))
    weights = (np.arange(1, 301) + fit.mandelbrot.shift) ** -fit.mandelbrot.exponent
    assert at == pytest.approx(frequency.sum() * weights[-1] / weights.sum())
    assert f"a = {fit.alpha:.3f}" in texts(figure)
    few = draw("zipf", marts, dataclasses.replace(findings, zipf=fit_zipf(frequency[:9])))
    assert "undefined, fewer than 50 tokens" in texts(few)


def test_shown_layers_and_scale():
    assert shown_layers(range(61)) == [0, 12, 24, 36, 48, 60]
    assert shown_layers([4, 1]) == [1, 4]
    norm = ratio_norm([np.array([0, 0.25, 2, np.nan])])
    assert isinstance(norm, LogNorm)
    assert (norm.vmin, norm.vmax) == pytest.approx((0.25, 4))
