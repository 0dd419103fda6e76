"""The three criteria of the hypothesis and their grades: measures in, judgements out.

An undefined measure is reported as undefined and does not meet its criterion.
"""

import math
from dataclasses import dataclass
from typing import Any

from gatehouse.reports.statistics import Correlation, EntropyDistribution, FastPath

RHO = "\N{GREEK SMALL LETTER RHO}"

LARGEST_RHO = -0.4
LARGEST_P = 0.01
LEAST_LOW_ENTROPY_SHARE = 0.30
LEAST_COVERAGE = 0.40
LIMITS = {
    "spearman": LARGEST_RHO,
    "low_entropy_share": LEAST_LOW_ENTROPY_SHARE,
    "coverage": LEAST_COVERAGE,
}
"""Each measure's limit, as charts mark it."""

CORRELATION_GRADES = (("Excellent", -0.6, 0.001), ("Good", -0.4, 0.01), ("Acceptable", -0.3, 0.05))
"""Grade, rho under, p under."""

LOW_ENTROPY_GRADES = (("Excellent", 0.50), ("Good", 0.40))
COVERAGE_GRADES = (("Excellent", 0.60), ("Good", 0.50), ("Acceptable", 0.40))
"""Grade, share over."""

INSUFFICIENT = "Insufficient"


@dataclass(frozen=True)
class Criterion:
    """One of the three: what it demands, what was found, whether that is enough, its grade."""

    name: str
    demand: str
    found: str
    met: bool
    grade: str


def met(spearman: Any, log10_p: Any, low_entropy_share: Any, coverage: Any) -> tuple[Any, Any, Any]:
    """Return whether each of the three criteria is met, in their order; nan meets none.

    Args:
        spearman: rho, a float or (settings,) floats, as are the others.
        log10_p: of its p value.
        low_entropy_share: of the distinct tokens.
        coverage: share of the occurrences that are of eligible tokens.
    """
    correlated = (spearman < LARGEST_RHO) & (10.0**log10_p < LARGEST_P)
    return correlated, *shares_met(low_entropy_share, coverage)


def shares_met(low_entropy_share: Any, coverage: Any) -> tuple[Any, Any]:
    """Return whether the two criteria that thresholds decide are met; see `met`."""
    return low_entropy_share >= LEAST_LOW_ENTROPY_SHARE, coverage > LEAST_COVERAGE


def criteria(
    correlation: Correlation, entropy: EntropyDistribution, fast_path: FastPath
) -> tuple[Criterion, Criterion, Criterion]:
    """Judge one layer's correlation, low-entropy share and coverage."""
    correlated, low_entropy, covered = met(
        math.nan if correlation.spearman is None else correlation.spearman,
        math.nan if correlation.log10_p is None else correlation.log10_p,
        entropy.low_entropy_share,
        fast_path.coverage,
    )
    return (
        _correlation(correlation, correlated),
        _low_entropy(entropy, low_entropy),
        _coverage(fast_path, covered),
    )


def _correlation(correlation: Correlation, is_met: bool) -> Criterion:
    name = "Frequency-entropy correlation"
    demand = f"{RHO} < {LARGEST_RHO:g} and p < {LARGEST_P:g}"
    rho, p_value = correlation.spearman, correlation.p_value
    if rho is None or p_value is None:
        undefined = f"undefined: {correlation.undefined}"
        return Criterion(name, demand, undefined, is_met, INSUFFICIENT)
    grades = [grade for grade, highest, p in CORRELATION_GRADES if rho < highest and p_value < p]
    return Criterion(
        name,
        demand,
        found=f"{RHO}={rho:.3f}, p={correlation.p_text}",
        met=is_met,
        grade=grades[0] if grades else INSUFFICIENT,
    )


def _low_entropy(entropy: EntropyDistribution, is_met: bool) -> Criterion:
    share = entropy.low_entropy_share
    grades = [grade for grade, over in LOW_ENTROPY_GRADES if share > over]
    return Criterion(
        name="Low-entropy tokens",
        demand=f"at least {LEAST_LOW_ENTROPY_SHARE:.0%} of tokens with entropy "
        f"< {entropy.threshold:g}",
        found=f"{share:.1%} of tokens with entropy < {entropy.threshold:g}",
        met=is_met,
        # the grade table leaves exactly 30 % open; the criterion includes it
        grade=grades[0] if grades else "Acceptable" if is_met else INSUFFICIENT,
    )


def _coverage(fast_path: FastPath, is_met: bool) -> Criterion:
    grades = [grade for grade, over in COVERAGE_GRADES if fast_path.coverage > over]
    return Criterion(
        name="Fast-path coverage",
        demand=f"over {LEAST_COVERAGE:.0%} of token occurrences",
        found=f"{fast_path.coverage:.1%} of token occurrences",
        met=is_met,
        grade=grades[0] if grades else INSUFFICIENT,
    )
