"""The bootstrap against plain recomputation, and how often its intervals hold the truth."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from gatehouse.reports.statistics import (
    Blocks,
    bootstrap,
    entropy_distribution,
    fast_path,
    frequency_entropy,
    halves,
    rarefaction,
)
from gatehouse.reports.statistics.blocks import MEASURES, Resampled
from tests.tools import calibration, worlds


def made_up(blocks: int = 16, tokens: int = 50, seed: int = 0, ties: bool = False) -> Blocks:
    random = np.random.default_rng(seed)
    shares = 3 / np.arange(1, tokens + 1)
    occurrences = random.poisson(shares, (blocks, tokens)).astype(np.float64)
    occurrences[0, occurrences.sum(axis=0) == 0] = 1
    entropy = 0.8 - 0.1 * np.log(occurrences.sum(axis=0)) + random.normal(0, 0.2, tokens)
    # eighths stay exact through sums and quotients, so that equal entropies stay equal
    entropy = np.round(entropy * 8) / 8 if ties else entropy
    noise = 0 if ties else random.normal(0, 0.1, (blocks, tokens))
    return Blocks(np.arange(tokens), occurrences, occurrences * np.abs(entropy + noise))


def plain_criteria(frequency: np.ndarray, entropy_sum: np.ndarray, thresholds) -> tuple:
    seen = frequency > 0
    frequency, entropy = frequency[seen], entropy_sum[seen] / frequency[seen]
    return (
        frequency_entropy(frequency, entropy).spearman,
        entropy_distribution(entropy, thresholds[1]).low_entropy_share,
        fast_path(frequency, entropy, *thresholds).coverage,
    )


def test_rows_become_sums_by_block_and_token_in_any_order():
    rows = np.array([[7, 30, 2, 0.5], [3, 10, 1, 0.25], [7, 10, 4, 1.0], [3, 20, 3, 1.5]])
    for order in (slice(None), slice(None, None, -1)):
        blocks = Blocks.of_rows(*rows[order].T)
        assert blocks.token_id.tolist() == [10, 20, 30]
        assert blocks.occurrences.tolist() == [[1, 3, 0], [4, 0, 2]]
        assert blocks.entropy_sum.tolist() == [[0.25, 1.5, 0], [1.0, 0, 0.5]]


@pytest.mark.parametrize("ties", [False, True])
def test_every_replicate_equals_plain_statistics_of_its_tokens(ties):
    blocks = made_up(ties=ties)
    weights = halves(16, 30, seed=4)
    found = Resampled(blocks.occurrences, weights, 5).criteria(blocks.entropy_sum, 0.4)
    for weight, row in zip(weights, found):
        sums = weight @ blocks.occurrences, weight @ blocks.entropy_sum
        assert row == pytest.approx(plain_criteria(*sums, (5, 0.4)))


@pytest.mark.parametrize("blocks", [63, 64])
def test_a_replicate_is_a_random_half_of_the_blocks_counted_twice(blocks):
    weights = halves(blocks, 2_000, seed=1)
    assert (weights.sum(axis=1) == blocks).all()
    assert ((weights == 0).sum(axis=1) == blocks // 2).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(blocks), abs=0.1)
    assert (weights == halves(blocks, 2_000, seed=1)).all()


def test_an_interval_is_what_its_docstring_says():
    blocks = made_up()
    result = bootstrap([blocks], 5, 0.6, replicates=50, seed=2).layers[0]
    values = Resampled(blocks.occurrences, halves(16, 50, 2), 5).criteria(blocks.entropy_sum, 0.6)
    estimates = plain_criteria(blocks.occurrences.sum(0), blocks.entropy_sum.sum(0), (5, 0.6))
    errors = values.std(axis=0, ddof=1)
    for measure, estimate, error in zip(MEASURES, estimates, errors):
        interval = getattr(result, measure)
        assert interval.estimate == pytest.approx(estimate)
        assert interval.standard_error == pytest.approx(error)
        assert (interval.blocks, interval.replicates) == (16, 50)
    sizes = blocks.occurrences.sum(axis=1)
    quantile = stats.t.ppf(0.975, (sizes**2).sum() ** 2 / (sizes**4).sum())
    on_z = np.arctanh([result.spearman.low, result.spearman.estimate, result.spearman.high])
    assert np.diff(on_z) == pytest.approx(quantile * np.arctanh(values[:, 0]).std(ddof=1))
    for measure, estimate, error in zip(MEASURES[1:], estimates[1:], errors[1:]):
        n = estimate * (1 - estimate) / error**2
        for end in (getattr(result, measure).low, getattr(result, measure).high):
            # Wilson's ends are where a test of the share just rejects the estimate
            assert abs(end - estimate) == pytest.approx(quantile * np.sqrt(end * (1 - end) / n))


def test_layers_share_halves_and_the_model_averages_their_entropies():
    one = made_up()
    other = dataclasses.replace(one, entropy_sum=one.entropy_sum**1.5)
    mean = dataclasses.replace(one, entropy_sum=(one.entropy_sum + other.entropy_sum) / 2)
    run = bootstrap(iter([one, other]), 5, 0.4)
    assert run.layers == tuple(bootstrap([each], 5, 0.4).layers[0] for each in (one, other))
    assert run.model == bootstrap([mean], 5, 0.4).model
    assert bootstrap([one], 5, 0.4).model == run.layers[0]


def test_layers_of_different_runs_and_no_layer_are_refused():
    with pytest.raises(ValueError, match="same occurrences"):
        bootstrap([made_up(seed=0), made_up(seed=1)])
    with pytest.raises(ValueError, match="no layer"):
        bootstrap([])


def test_few_blocks_and_constants_are_undefined_with_a_reason():
    few = bootstrap([made_up(blocks=7)]).model
    assert few.spearman is few.low_entropy_share is few.coverage is None
    assert few.undefined == "fewer than 8 blocks of documents"
    blocks = made_up()
    flat = bootstrap([dataclasses.replace(blocks, entropy_sum=0 * blocks.entropy_sum)], 5).model
    assert flat.spearman is None
    assert flat.undefined == "rho is undefined in at least one replicate"


def test_the_last_sample_of_a_rarefaction_is_all_and_the_first_one_block():
    blocks = made_up(blocks=20)
    found = rarefaction(blocks, 5, 0.4)
    assert [each.blocks for each in found] == [1, 2, 5, 10, 20]
    assert [each.share for each in found] == [0.05, 0.1, 0.25, 0.5, 1]
    assert [each.tokens for each in found] == sorted(each.tokens for each in found)
    whole = found[-1]
    measured = (whole.spearman, whole.low_entropy_share, whole.coverage)
    frequency, entropy_sum = blocks.occurrences.sum(axis=0), blocks.entropy_sum.sum(axis=0)
    assert measured == pytest.approx(plain_criteria(frequency, entropy_sum, (5, 0.4)))
    assert whole.occurrences == frequency.sum()
    assert whole.spearman_deviation is None
    assert found[-2].coverage_deviation > 0


def test_a_rarefaction_averages_over_orders_of_the_blocks():
    blocks = made_up(blocks=8)
    many = rarefaction(blocks, 5, 0.4, orders=4_000)[0]
    each = [plain_criteria(*sums, (5, 0.4)) for sums in zip(blocks.occurrences, blocks.entropy_sum)]
    assert many.spearman == pytest.approx(np.mean(each, axis=0)[0], abs=0.02)
    assert many.spearman_deviation == pytest.approx(np.std(each, axis=0)[0], abs=0.02)
    assert many.low_entropy_share == pytest.approx(np.mean(each, axis=0)[1], abs=0.02)
    assert many.occurrences == pytest.approx(blocks.occurrences.sum() / 8, rel=0.02)


def test_two_orders_of_one_block_leave_rho_undefined():
    blocks = Blocks(np.arange(3), np.eye(3) * [1, 2, 3], np.eye(3))
    assert rarefaction(blocks)[0].spearman is None
    assert rarefaction(blocks)[0].spearman_deviation is None
    assert rarefaction(blocks)[-1].spearman == pytest.approx(-1)


DRIFTS = worlds.Setting(
    "drifts", 1.0, documents=64, topic=1.2, document=0.4, burst=2.0, level=0.9, tokens=100
)


def test_intervals_hold_the_truth_at_least_as_often_as_they_say():
    held = calibration.coverage(dataclasses.replace(DRIFTS, corpora=60))
    assert (held >= 0.95).all(), held


def test_intervals_that_forget_documents_or_tokens_do_not():
    many = dataclasses.replace(DRIFTS, tail=1.5, documents=256, corpora=30)
    over_occurrences = calibration.coverage(many, dealt="occurrences")
    assert (over_occurrences[1:] < 0.9).all(), over_occurrences
    found = [calibration.others(blocks) for blocks in worlds.corpora(many)]
    independent = calibration.held(np.array([each[calibration.INDEPENDENT] for each in found]))
    assert independent[0] > 0.99
