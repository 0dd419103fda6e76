"""Whether the evidence is strong, and what to try: one sentence for each way in which it fails."""

import re
from dataclasses import replace

import numpy as np
import pytest

from gatehouse.reports.statistics import Bootstrapped, Interval, MinimumFrequency, SampleSize
from gatehouse.reports.verdict.advice import advice
from gatehouse.reports.verdict.evidence import ScaledThreshold, of_table
from gatehouse.reports.verdict.strength import margins, strength
from gatehouse.reports.verdict.thresholds import Thresholds
from gatehouse.reports.verdict.usable import usable_rows
from gatehouse.reports.verdict.validation import validate


def interval(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, low, high, (high - low) / 4, 64, 200)


def bootstrap(rho=(-0.7, -0.6), share=(0.4, 0.5), coverage=(0.5, 0.6)) -> Bootstrapped:
    return Bootstrapped(interval(*rho), interval(*share), interval(*coverage))


@pytest.fixture
def supported(frame):
    validation = validate(frame)
    assert validation.supported
    return validation


@pytest.fixture
def failed(make_frame):
    validation = validate(make_frame(low_entropy=False))
    assert [criterion.met for criterion in validation.criteria] == [True, False, False]
    return validation


@pytest.fixture
def evidence(frame):
    return replace(of_table(frame), bootstrap=bootstrap())


def test_strong_where_every_interval_meets_its_demand(supported, evidence):
    assert strength(supported, evidence).startswith("The evidence for is strong")
    assert all(each.is_sure for each in margins(supported, evidence))


def test_moderate_where_rare_tokens_make_the_correlation(supported, evidence):
    for rho, said in ((-0.1, "-0.100"), (None, "undefined")):
        minima = [MinimumFrequency(20, 50, rho)]
        sentence = strength(supported, replace(evidence, minima=minima))
        assert sentence.startswith("The evidence for is moderate") and said in sentence


@pytest.mark.parametrize(
    ("moved", "named"),
    [
        ({"rho": (-0.6, -0.35)}, "-0.600 to -0.350"),
        ({"share": (0.28, 0.4)}, "28.0% to 40.0%"),
        ({"coverage": (0.39, 0.5)}, "39.0% to 50.0%"),
    ],
)
def test_weak_where_an_interval_reaches_across(supported, evidence, moved, named):
    sentence = strength(supported, replace(evidence, bootstrap=bootstrap(**moved)))
    assert sentence.startswith("The evidence for is weak") and named in sentence


def test_strong_against_where_a_whole_interval_misses(failed, evidence):
    against = bootstrap(share=(0.1, 0.2), coverage=(0.3, 0.45))
    sentence = strength(failed, replace(evidence, bootstrap=against))
    assert sentence.startswith("The evidence against is strong") and "10.0% to 20.0%" in sentence
    assert "coverage" not in sentence


def test_weak_against_where_every_failure_may_be_chance(failed, evidence):
    against = bootstrap(share=(0.25, 0.35), coverage=(0.3, 0.45))
    sentence = strength(failed, replace(evidence, bootstrap=against))
    assert sentence.startswith("The evidence against is weak")
    assert "25.0% to 35.0%" in sentence and "30.0% to 45.0%" in sentence


def test_without_intervals_nothing_is_claimed(supported, frame):
    few = Bootstrapped(None, None, None, "fewer than 8 blocks of documents")
    for bootstrapped in (None, few):
        found = replace(of_table(frame), bootstrap=bootstrapped)
        assert "is unknown" in strength(supported, found)


def test_a_measure_without_an_interval_is_named(supported, evidence):
    partly = replace(bootstrap(), spearman=None)
    sentence = strength(supported, replace(evidence, bootstrap=partly))
    assert "has no 95 % interval" in sentence


def test_nothing_is_advised_where_the_hypothesis_is_supported(supported, evidence, frame):
    assert advice(supported, evidence, frame, {}) == []


def test_a_better_layer_is_named(failed, supported, evidence, make_frame):
    found = advice(failed, evidence, make_frame(low_entropy=False), {3: supported, 5: supported})
    assert found[0] == "Try a different layer: MoE layer 3 meets 3 of 3 criteria (--layer 3)."
    assert not any("different model" in line for line in found)
    none_better = advice(failed, evidence, make_frame(low_entropy=False), {3: failed})
    assert not any("different layer" in line for line in none_better)
    assert "no layer of this one meets all three criteria" in none_better[-1]


def sizes(*coverages: float) -> tuple[SampleSize, ...]:
    return tuple(
        SampleSize(share, int(64 * share), 1000 * share, 100, -0.5, 0.2, coverage)
        for share, coverage in zip((0.25, 0.5, 1.0), coverages)
    )


def test_more_text_is_advised_while_coverage_still_grows(failed, evidence, make_frame):
    frame = make_frame(low_entropy=False)
    against = replace(evidence, bootstrap=bootstrap(share=(0.1, 0.2), coverage=(0.1, 0.2)))
    growing = advice(failed, replace(against, sample_sizes=sizes(0.05, 0.1, 0.15)), frame, {})
    assert any("coverage was 10.0% on half" in line for line in growing)
    settled = advice(failed, replace(against, sample_sizes=sizes(0.14, 0.15, 0.15)), frame, {})
    assert not any("--num-samples" in line for line in settled)


def test_another_text_is_advised_where_the_correlation_is_settled(frame, evidence):
    shuffled = frame.assign(frequency=np.random.default_rng(0).permutation(frame["frequency"]))
    validation = validate(shuffled)
    settled = replace(evidence, bootstrap=bootstrap(rho=(-0.1, 0.1)))
    assert any("--dataset" in line for line in advice(validation, settled, shuffled, {}))
    moving = replace(evidence, bootstrap=bootstrap(rho=(-0.5, -0.3)))
    assert not any("--dataset" in line for line in advice(validation, moving, shuffled, {}))


def test_advised_thresholds_really_meet_both_shares(failed, evidence, make_frame):
    frame = make_frame(low_entropy=False)
    (line,) = [each for each in advice(failed, evidence, frame, {}) if "Adjust" in each]
    words = line.split()
    least = int(words[words.index("--frequency-threshold") + 1])
    most = float(words[words.index("--entropy-threshold") + 1])
    again = validate(frame, Thresholds(least, most))
    assert again.criteria[1].met and again.criteria[2].met


def test_what_is_advised_counts_all_occurrences(evidence, make_frame):
    frame = make_frame(low_entropy=False)
    frame.loc[frame["frequency"].idxmax(), "mean_entropy"] = np.nan
    usable, excluded = usable_rows(frame)
    validation = validate(usable, excluded=excluded)
    (line,) = [each for each in advice(validation, evidence, usable, {}) if "Adjust" in each]
    least, most, covered = re.findall(
        r"threshold (\d+) .*threshold ([\d.]+) .* and ([\d.]+)%", line
    )[0]
    again = validate(usable, Thresholds(int(least), float(most)), excluded=excluded)
    assert float(covered) / 100 == pytest.approx(again.fast_path.coverage, abs=5e-4)
    assert again.tested_share < 0.95


def test_thresholds_that_cannot_help_are_not_advised(evidence, frame):
    high = frame.assign(mean_entropy=frame["mean_entropy"] + 5)
    found = advice(validate(high), evidence, high, {})
    assert any("no pair of the grid" in line for line in found)


def test_a_threshold_that_nearly_every_token_is_under_is_no_way_out(evidence, frame):
    """A sigmoid over 24 experts sits at 2.8 of 3.18 nats, whatever the token."""
    flat = frame.assign(mean_entropy=2.8 + 0.001 * np.arange(len(frame)) / len(frame))
    scaled = ScaledThreshold(24, 0.76, 0.0, 0.0)
    for found in (replace(evidence, scaled=scaled), replace(evidence, scaled=None)):
        lines = advice(validate(flat), found, flat, {})
        assert not any("--entropy-threshold" in line for line in lines)
    low = frame.assign(mean_entropy=2.2)
    (line,) = [
        each
        for each in advice(validate(low), replace(evidence, scaled=scaled), low, {})
        if "Adjust" in each
    ]
    assert float(line.split("--entropy-threshold ")[1].split()[0]) == 2.5 < 0.9 * np.log(24)
