"""The figure of what other routing costs draws what replays measured, and says what it is of."""

import dataclasses

import numpy as np
import pytest
from matplotlib.colors import to_hex

from gatehouse.reports.figures import style
from gatehouse.reports.figures.gallery import RUN_FIGURES, run_figures
from gatehouse.reports.inference.replay_costs import replay_costs
from gatehouse.reports.inference.replay_curves import TARGET_NATS, curve_name
from gatehouse.reports.inference.replay_curves import panels as drawn_panels
from gatehouse.warehouse import replays
from gatehouse.warehouse.replays import ReplayPolicy
from tests.reports.figures.drawn import assessed, draw, line, made_up, panels, texts
from tests.reports.made_up_replay import COSTS, SHARE, replay_frames

TITLES = ["Looked up instead of routed", "Fewer experts a token", "Experts switched off"]


@pytest.fixture(scope="module")
def marts_and_findings():
    return made_up(layers=3)


def with_replays(marts, costs=COSTS, documents=20):
    return dataclasses.replace(marts, **replay_frames(3, 2, costs, documents))


def test_every_policy_is_a_point_of_its_curve(marts_and_findings):
    marts, findings = marts_and_findings
    costs = replay_costs(marts.replays, marts.replay_documents)
    figure = draw("replay_cost", marts, findings)
    assert [axes.get_title(loc="left") for axes in panels(figure)] == TITLES
    for axes, panel in zip(panels(figure), drawn_panels(costs)):
        for curve in panel.curves:
            within = [cost for cost in curve.costs if cost not in panel.beyond]
            if within:
                x, y = line(axes, curve.name).get_data()
                assert list(x) == [panel.place(cost) for cost in within]
                assert list(y) == [cost.delta_nll.value for cost in within]
        assert set(line(axes, "perplexity + 1 %").get_ydata()) == {TARGET_NATS}
    tables = panels(figure)[0]
    x, y = line(tables, "tokens by share of a set").get_data()
    assert list(x) == pytest.approx([0.25, 0.4, 0.55], abs=0.001)


def test_bars_are_the_intervals(marts_and_findings):
    marts, findings = marts_and_findings
    costs = replay_costs(marts.replays, marts.replay_documents)
    tables = panels(draw("replay_cost", marts, findings))[0]
    bars = [
        (segment[0, 0], *segment[:, 1])
        for collection in tables.collections
        for segment in collection.get_segments()
    ]
    shown = [
        cost for panel in drawn_panels(costs)[:1] for each in panel.curves for cost in each.costs
    ]
    beyond = drawn_panels(costs)[0].beyond
    expected = [
        (cost.coverage.value, cost.delta_nll.low, cost.delta_nll.high)
        for cost in shown
        if cost not in beyond
    ]
    np.testing.assert_allclose(sorted(bars), sorted(expected))


def test_controls_are_grey_and_those_off_the_scale_are_marked_at_its_end(marts_and_findings):
    marts, findings = marts_and_findings
    figure = draw("replay_cost", marts, findings)
    tables = panels(figure)[0]
    assert to_hex(line(tables, "own routing").get_color()).upper() == style.GREY
    labels = [each.get_label() for each in tables.lines]
    found = {cost.words: cost for cost in replay_costs(marts.replays, marts.replay_documents)}
    value = found["random experts"].delta_nll.value
    (label,) = [each for each in labels if each.startswith("random experts")]
    assert label == f"random experts: off the scale, {value:+.2f}"
    x, y = line(tables, label).get_data()
    assert (x[0], y[0]) == (1.0, pytest.approx(tables.get_ylim()[1]))
    assert value > tables.get_ylim()[1]


def test_the_legend_covers_no_point(marts_and_findings):
    marts, findings = marts_and_findings
    figure = draw("replay_cost", marts, findings)
    for axes in panels(figure):
        box = axes.get_legend().get_window_extent().transformed(axes.transData.inverted())
        highest = max(
            segment[:, 1].max()
            for collection in axes.collections
            for segment in collection.get_segments()
        )
        assert box.y0 > highest


def test_the_caption_says_what_was_replayed_and_what_follows(marts_and_findings):
    marts, findings = marts_and_findings
    text = texts(draw("replay_cost", marts, findings))
    tokens = replay_costs(marts.replays, marts.replay_documents)[0].tokens
    assert f"Replayed: 20 held-out documents, {tokens:,} tokens." in text
    assert "Bars: 95 % over documents." in text
    assert "stays under +1 % perplexity and goes furthest" in text
    few = texts(draw("replay_cost", with_replays(marts, documents=2), findings))
    assert "Fewer than 8 documents have no interval." in few and "Bars" not in few


def test_a_kind_that_was_not_replayed_has_no_panel(marts_and_findings):
    marts, findings = marts_and_findings
    alone = with_replays(marts, {"tokens": (SHARE, 0.25, -0.002)})
    (axes,) = panels(draw("replay_cost", alone, findings))
    assert axes.get_ylim()[0] < -0.002
    own = with_replays(marts, {"own": (ReplayPolicy(replays.OWN), 1.0, 0.0)})
    assert "Only controls were replayed." in texts(draw("replay_cost", own, findings))


def test_only_a_run_that_was_replayed_has_the_figure(marts_and_findings):
    marts, findings = marts_and_findings
    assert list(run_figures(assessed(marts, findings))) == list(RUN_FIGURES)
    none = {name: frame.head(0) for name, frame in replay_frames(3, 2).items()}
    without = dataclasses.replace(marts, **none)
    assert set(RUN_FIGURES) - set(run_figures(assessed(without, findings))) == {"replay_cost"}


def test_curves_have_names_that_tell_them_apart():
    policies = [policy for policy, *_ in COSTS.values()]
    names = {curve_name(policy) for policy in policies}
    assert len(names) == 4 + 1 + 2 + 3 + 2


def test_policies_of_one_layer_stand_by_layer_in_a_panel_of_their_own(marts_and_findings):
    marts, findings = marts_and_findings
    single = {
        f"{words}, MoE layer {layer}": (dataclasses.replace(policy, moe_indices=(layer,)), *rest)
        for words, (policy, *rest) in COSTS.items()
        for layer in range(3)
    }
    figure = draw("replay_cost", with_replays(marts, COSTS | single), findings)
    *others, layers = panels(figure)
    assert [axes.get_title(loc="left") for axes in others] == TITLES
    alone = panels(draw("replay_cost", with_replays(marts), findings))
    for axes, expected in zip(others, alone, strict=True):
        assert [each.get_label() for each in axes.lines] == [
            each.get_label() for each in expected.lines
        ]
    assert layers.get_title(loc="left") == "One layer overruled"
    x, _ = line(layers, "tokens, share ≥ 0.9 and frequency ≥ 50").get_data()
    assert list(x) == [0, 1, 2]
    (only,) = panels(draw("replay_cost", with_replays(marts, single), findings))
    assert only.get_title(loc="left") == "One layer overruled"
