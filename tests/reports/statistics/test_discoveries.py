"""Discoveries: by their definition, of routers that draw at random, and of one that does not."""

import numpy as np
from scipy import stats

from gatehouse.reports.statistics import FALSE_DISCOVERY_RATE, discoveries

DOMAINS, DOCUMENTS, EXPERTS = 5, 12, 16


def test_they_are_the_largest_scores_that_the_step_up_procedure_keeps():
    """Sorted p values against k q / m, as Benjamini and Hochberg state it."""
    z = np.random.default_rng(0).normal(size=200)
    z[:30] += 4
    z[::7] = np.nan
    judged = discoveries(z)
    p = 2 * stats.norm.sf(np.abs(z))
    np.testing.assert_allclose(judged.p_values, p)
    tested = np.sort(p[~np.isnan(p)])
    below = np.flatnonzero(
        tested <= FALSE_DISCOVERY_RATE * np.arange(1, len(tested) + 1) / len(tested)
    )
    assert judged.tests == len(tested) == np.isfinite(judged.q_values).sum()
    assert judged.discoveries == below[-1] + 1 >= 20
    assert judged.p_values[judged.found].max() < judged.p_values[~judged.found & ~np.isnan(p)].min()


def test_nothing_to_test_is_nothing_found():
    for none in ([], [np.nan, np.nan]):
        judged = discoveries(none)
        assert (judged.tests, judged.discoveries) == (0, 0)
        assert judged.found.shape == (len(none),)


def routed(random: np.random.Generator, preference: np.ndarray) -> np.ndarray:
    """Return (experts, domains) z of a top-1 router that knows no domain but by `preference`.

    preference: (domains, experts) what the share of a domain's tokens is multiplied by.
    """
    sizes = random.integers(20, 400, size=DOMAINS * DOCUMENTS)
    domain = np.repeat(np.arange(DOMAINS), DOCUMENTS)
    shares = random.dirichlet(np.full(EXPERTS, 5.0))
    # documents differ more than tokens do: each has shares of its own around the router's
    weighed = shares * preference[domain] * random.gamma(20, 1 / 20, (len(sizes), EXPERTS))
    chosen = random.multinomial(sizes, weighed / weighed.sum(axis=1, keepdims=True))
    residuals = chosen - chosen.sum(axis=0) / sizes.sum() * sizes[:, None]
    inside = len(sizes) // DOMAINS
    spread = residuals.var(axis=0, ddof=1) * inside * (1 - inside / len(sizes))
    sums = np.stack([residuals[domain == each].sum(axis=0) for each in range(DOMAINS)], axis=1)
    return sums / np.sqrt(spread)[:, None]


def test_an_expert_of_a_random_router_has_no_speciality():
    """Where every null holds, a run has any discovery with a probability of 5 % at most."""
    random = np.random.default_rng(1)
    none = np.ones((DOMAINS, EXPERTS))
    runs = [discoveries(routed(random, none).ravel()) for _ in range(200)]
    # what 5 % of 200 runs exceed in one of a thousand repetitions
    bound = stats.binom.ppf(0.999, len(runs), FALSE_DISCOVERY_RATE)
    assert sum(each.discoveries > 0 for each in runs) <= bound
    share = sum(each.discoveries for each in runs) / sum(each.tests for each in runs)
    assert share <= FALSE_DISCOVERY_RATE / 10


def test_a_speciality_that_was_planted_is_found():
    random = np.random.default_rng(2)
    preference = np.ones((DOMAINS, EXPERTS))
    preference[3, 7] = 3
    for _ in range(20):
        z = routed(random, preference)
        found = discoveries(z.ravel()).found.reshape(EXPERTS, DOMAINS)
        assert found[7, 3] and z[7, 3] > 0
        # what it has more of others have less; of experts and domains beside them, hardly any
        found[7] = found[:, 3] = False
        assert found.sum() <= 1
