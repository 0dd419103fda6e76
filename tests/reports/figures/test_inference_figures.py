"""The figures for inference draw what marts say, and say what a run lacks."""

import dataclasses

import numpy as np
import pytest

from gatehouse.reports.figures import style
from gatehouse.reports.figures.gallery import RUN_FIGURES
from gatehouse.reports.inference.cache_curve import LEAST_DOCUMENTS, cache_curves, cliff
from tests.reports.figures.drawn import RUN, assessed, draw, line, made_up, panels, texts

CACHED = {
    "LRU": "lru",
    "LFU": "lfu",
    "filled from train": "static_train",
    "filled from the prompt": "static_prompt",
    "Belady": "belady",
}
PREDICTED = {
    "token before": ("previous_token", 1),
    "layer before": ("layer_before", 1),
    "most used in train": ("static_train", 0),
    "most used in prompt": ("static_prompt", 0),
    "token id": ("token", 0),
    "bigram of ids": ("bigram", 0),
}


@pytest.fixture(scope="module")
def marts_and_findings():
    return made_up(layers=3)


def of_phases(marts, *phases):
    """The marts with these phases alone."""
    return dataclasses.replace(
        marts,
        **{
            name: frame[frame["phase"].isin(phases)]
            for name in ("cached_documents", "shared_caches", "predictions")
            for frame in [getattr(marts, name)]
        },
    )


def test_caches_of_each_layer_are_drawn_by_phase(marts_and_findings):
    marts, findings = marts_and_findings
    figure = draw("expert_cache", marts, findings)
    for axes, phase in zip(panels(figure)[::2], ("prompt", "generated")):
        rows = marts.cached_documents[marts.cached_documents["phase"] == phase]
        sums = rows.groupby(["policy", "slots"])[["hits", "accesses"]].sum()
        rates = sums["hits"] / sums["accesses"]
        drawn = {each.get_label() for each in axes.lines} - {"chance"}
        assert {CACHED[label] for label in drawn} == set(rows["policy"]) - {"static_hindsight"}
        for label in drawn:
            x, y = line(axes, label).get_data()
            expected = rates[CACHED[label]]
            assert (list(x), list(y)) == (list(expected.index), pytest.approx(list(expected)))
        x, y = line(axes, "chance").get_data()
        assert list(y) == pytest.approx(list(x / 8))
    titles = [axes.get_title(loc="left") for axes in panels(figure)]
    assert titles[2] == "A cache for each layer, generated text"


def test_the_band_is_the_interval_of_the_policy_that_gains_most(marts_and_findings):
    marts, findings = marts_and_findings
    prompt = of_phases(marts, "prompt")
    own, _ = panels(draw("expert_cache", prompt, findings))
    (curves,) = cache_curves(prompt.cached_documents, 8)
    (band,) = own.collections
    corners = band.get_paths()[0].vertices
    for place, slots in enumerate(curves.sizes):
        found = corners[corners[:, 0] == slots][:, 1]
        rate = curves.rate("lru", place)
        assert (found.min(), found.max()) == pytest.approx((rate.low, rate.high))
    assert band.get_facecolor()[0, :3] == pytest.approx(
        [int(style.BLUE[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    )


def test_one_cache_for_all_layers_has_its_working_set_marked(marts_and_findings):
    marts, findings = marts_and_findings
    prompt = of_phases(marts, "prompt")
    figure = draw("expert_cache", prompt, findings)
    _, shared = panels(figure)
    assert shared.get_title(loc="left") == "One for all layers"
    for label in ("LRU", "LFU", "Belady"):
        rows = prompt.shared_caches[prompt.shared_caches["policy"] == CACHED[label]]
        x, y = line(shared, label).get_data()
        assert (list(x), list(y)) == (list(rows["slots"]), list(rows["hit_rate"]))
    smallest = cliff(prompt.shared_caches)
    assert smallest == 6
    assert set(line(shared, "working set of LRU").get_xdata()) == {smallest}
    assert "6 slots" in texts(figure)
    lru = prompt.shared_caches.assign(hits=0, hit_rate=0.0)
    figure = draw("expert_cache", dataclasses.replace(prompt, shared_caches=lru), findings)
    assert "working set" not in texts(figure)


def test_few_documents_and_no_tokens_are_said(marts_and_findings):
    marts, findings = marts_and_findings
    names = sorted(marts.cached_documents["document"].unique())[: LEAST_DOCUMENTS - 1]
    few = marts.cached_documents[marts.cached_documents["document"].isin(names)]
    figure = draw("expert_cache", dataclasses.replace(marts, cached_documents=few), findings)
    assert f"Fewer than {LEAST_DOCUMENTS} documents have no interval." in texts(figure)
    assert "Band" not in texts(figure)
    assert not any(axes.collections for axes in panels(figure))
    none = dataclasses.replace(
        marts,
        **{
            name: getattr(marts, name).head(0)
            for name in ("cached_documents", "predictions", "calibration")
        },
    )
    assert "No cache was simulated" in texts(draw("expert_cache", none, findings))
    assert "Nothing was predicted" in texts(draw("prefetch_recall", none, findings))
    assert "The run has no tokens." in texts(draw("calibration_coverage", none, findings))


def test_predictions_are_drawn_by_phase_and_by_horizon(marts_and_findings):
    marts, findings = marts_and_findings
    frame = marts.predictions.set_index(["phase", "predictor", "horizon"])
    figure = draw("prefetch_recall", marts, findings)
    prompt, generated, ahead = panels(figure)
    for axes, phase in ((prompt, "prompt"), (generated, "generated")):
        drawn = {each.get_label() for each in axes.lines} - {"chance"}
        assert {PREDICTED[label][0] for label in drawn} == set(frame.loc[phase].index.levels[0]) - (
            {"static_prompt"} if phase == "prompt" else set()
        )
        for label in drawn:
            x, y = line(axes, label).get_data()
            rows = frame.loc[(phase, *PREDICTED[label])]
            assert (list(x), list(y)) == (list(rows["budget"]), list(rows["recall"]))
        x, y = line(axes, "chance").get_data()
        assert list(y) == pytest.approx(list(x / 8))
    by_legend = [each.get_text() for each in ahead.get_legend().get_texts()]
    assert by_legend == ["1 token", "2 tokens", "4 tokens", "8 tokens"]
    for drawn, horizon in zip(ahead.lines, (1, 2, 4, 8)):
        rows = frame.loc[("generated", "previous_token", horizon)]
        assert list(drawn.get_ydata()) == list(rows["recall"])


def test_what_predictions_lack_is_said(marts_and_findings):
    marts, findings = marts_and_findings
    predictions = marts.predictions

    def said(*predictors):
        rows = predictions[predictions["predictor"].isin(predictors)]
        return texts(
            draw("prefetch_recall", dataclasses.replace(marts, predictions=rows), findings)
        )

    assert "No prediction learns from a train split" in said("previous_token")
    without_ids = said("previous_token", "layer_before", "static_train")
    assert "no token ids, so that no prediction is by the id" in without_ids
    assert "learn from the train split" in without_ids
    everything = texts(draw("prefetch_recall", marts, findings))
    assert "the run has none" not in everything and "no token ids" not in everything


def test_calibration_steps_up_where_experts_are_reached(marts_and_findings):
    marts, findings = marts_and_findings
    figure = draw("calibration_coverage", marts, findings)
    (axes,) = panels(figure)
    frame = marts.calibration
    for tokens in (1, 10, 100, 1000):
        label = f"{tokens:,} token{'s' if tokens > 1 else ''} or more"
        x, y = line(axes, label).get_data()
        rows = frame[frame["tokens"] == tokens]
        for samples in range(1, 13):
            expected = rows.loc[rows["samples"] <= samples, "experts"].sum() / 24
            assert y[np.searchsorted(x, samples, side="right") - 1] == pytest.approx(expected)
        assert line(axes, label).get_drawstyle() == "steps-post"
        assert (x[0], x[-1]) == (1, 12)
    once = dataclasses.replace(
        marts, calibration=frame.assign(samples=frame["samples"].clip(upper=1))
    )
    drawn = RUN_FIGURES["calibration_coverage"](assessed(once, findings, RUN | {"samples": 1}))
    assert set(line(panels(drawn)[0], "10 tokens or more").get_xdata()) == {1}
    said = "Of 24 experts the whole text leaves 3 with fewer than 100 tokens and 6 with fewer than"
    assert said in texts(figure)
