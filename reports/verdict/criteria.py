"""The three criteria of the hypothesis and their grades: measures in, judgements out.

An undefined measure is reported as undefined and does not meet its criterion.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gatehouse.reports import statistics
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

ROUNDING = 1e-12
"""Two sides of a limit this close to it are the same: a rho of exactly -0.4 is a sum of floats."""


@dataclass(frozen=True)
class Demand:
    """What is demanded of one measure, and the measure as text on its own side of the limit."""

    measure: str
    limit: float
    is_met_by: Callable[[Any], Any]
    as_percent: bool = True

    def text(self, value: float) -> str:
        """Return the value with as many digits as show whether it meets the demand.

        -0.39996 rounds to -0.400 and misses `under -0.4` as that does; 29.996 % would round to
        30.0 %, which meets `at least 30 %`, and keeps its digits.
        """
        for digits in range(1 if self.as_percent else 3, 17):
            text = f"{value:.{digits}{'%' if self.as_percent else 'f'}}"
            read = float(text.rstrip("%")) / (100 if self.as_percent else 1)
            if bool(self.is_met_by(read)) is bool(self.is_met_by(value)):
                break
        return text


CORRELATION = Demand(RHO, LARGEST_RHO, lambda rho: rho < LARGEST_RHO - ROUNDING, as_percent=False)
LOW_ENTROPY = Demand(
    "the share of low-entropy tokens",
    LEAST_LOW_ENTROPY_SHARE,
    lambda share: share >= LEAST_LOW_ENTROPY_SHARE - ROUNDING,
)
COVERAGE = Demand("coverage", LEAST_COVERAGE, lambda share: share > LEAST_COVERAGE + ROUNDING)
DEMANDS = (CORRELATION, LOW_ENTROPY, COVERAGE)
"""Of the measures of the three criteria, in their order; the correlation needs a small p, too."""

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
    correlated = CORRELATION.is_met_by(spearman) & is_significant(log10_p)
    return correlated, *shares_met(low_entropy_share, coverage)


def is_significant(log10_p: Any) -> Any:
    """Return whether p, given as its log10, is small enough for the first criterion."""
    return log10_p < math.log10(LARGEST_P) - ROUNDING


def shares_met(low_entropy_share: Any, coverage: Any) -> tuple[Any, Any]:
    """Return whether the two criteria that thresholds decide are met; see `met`."""
    return LOW_ENTROPY.is_met_by(low_entropy_share), COVERAGE.is_met_by(coverage)


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


def p_text(log10_p: float | None) -> str:
    """Return p as `1.23e-145`, with as many digits as show whether it is small enough."""
    if log10_p is None:
        return "undefined"
    for digits in range(2, 17):
        text = statistics.p_text(log10_p, digits)
        # a p that no float can hold is read as 0, which is small enough as it is
        if (float(text) < LARGEST_P * (1 - ROUNDING)) is bool(is_significant(log10_p)):
            break
    return text


def _correlation(correlation: Correlation, is_met: bool) -> Criterion:
    name = "Frequency-entropy correlation"
    demand = f"{RHO} < {LARGEST_RHO:g} and p < {LARGEST_P:g}"
    rho, p_value = correlation.spearman, correlation.p_value
    if rho is None or p_value is None:
        undefined = f"undefined: {correlation.undefined}"
        return Criterion(name, demand, undefined, is_met, INSUFFICIENT)
    grades = [
        grade
        for grade, highest, largest_p in CORRELATION_GRADES
        if rho < highest - ROUNDING and p_value < largest_p * (1 - ROUNDING)
    ]
    return Criterion(
        name,
        demand,
        found=f"{RHO}={CORRELATION.text(rho)}, p={p_text(correlation.log10_p)}",
        met=is_met,
        grade=grades[0] if grades else INSUFFICIENT,
    )


def _low_entropy(entropy: EntropyDistribution, is_met: bool) -> Criterion:
    share = entropy.low_entropy_share
    grades = [grade for grade, over in LOW_ENTROPY_GRADES if share > over + ROUNDING]
    return Criterion(
        name="Low-entropy tokens",
        demand=f"at least {LEAST_LOW_ENTROPY_SHARE:.0%} of tokens with entropy "
        f"< {entropy.threshold:g}",
        found=f"{LOW_ENTROPY.text(share)} of tokens with entropy < {entropy.threshold:g}",
        met=is_met,
        # the grade table leaves exactly 30 % open; the criterion includes it
        grade=grades[0] if grades else "Acceptable" if is_met else INSUFFICIENT,
    )


def _coverage(fast_path: FastPath, is_met: bool) -> Criterion:
    grades = [grade for grade, over in COVERAGE_GRADES if fast_path.coverage > over + ROUNDING]
    return Criterion(
        name="Fast-path coverage",
        demand=f"over {LEAST_COVERAGE:.0%} of token occurrences",
        found=f"{COVERAGE.text(fast_path.coverage)} of token occurrences",
        met=is_met,
        grade=grades[0] if grades else INSUFFICIENT,
    )
