"""The three criteria of the hypothesis and their grades: measures in, judgements out.

An undefined measure is reported as undefined and does not meet its criterion.
"""

from dataclasses import dataclass

from reports.statistics import Correlation, EntropyDistribution, FastPath

RHO = "\N{GREEK SMALL LETTER RHO}"

LARGEST_RHO = -0.4
LARGEST_P = 0.01
LEAST_LOW_ENTROPY_SHARE = 0.30
LEAST_COVERAGE = 0.40

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


def correlation_criterion(correlation: Correlation) -> Criterion:
    """Ask for rho < -0.4 and p < 0.01."""
    name = "Frequency-entropy correlation"
    demand = f"{RHO} < {LARGEST_RHO:g} and p < {LARGEST_P:g}"
    rho, p_value = correlation.spearman, correlation.p_value
    if rho is None or p_value is None:
        undefined = f"undefined: {correlation.undefined}"
        return Criterion(name, demand, undefined, False, INSUFFICIENT)
    grades = [grade for grade, highest, p in CORRELATION_GRADES if rho < highest and p_value < p]
    return Criterion(
        name,
        demand,
        found=f"{RHO}={rho:.3f}, p={correlation.p_text}",
        met=rho < LARGEST_RHO and p_value < LARGEST_P,
        grade=grades[0] if grades else INSUFFICIENT,
    )


def low_entropy_criterion(entropy: EntropyDistribution) -> Criterion:
    """Ask for at least 30 % of the distinct tokens under the entropy threshold."""
    share = entropy.low_entropy_share
    met = share >= LEAST_LOW_ENTROPY_SHARE
    grades = [grade for grade, over in LOW_ENTROPY_GRADES if share > over]
    return Criterion(
        name="Low-entropy tokens",
        demand=f"at least {LEAST_LOW_ENTROPY_SHARE:.0%} of tokens with entropy "
        f"< {entropy.threshold:g}",
        found=f"{share:.1%} of tokens with entropy < {entropy.threshold:g}",
        met=met,
        # the grade table leaves exactly 30 % open; the criterion includes it
        grade=grades[0] if grades else "Acceptable" if met else INSUFFICIENT,
    )


def coverage_criterion(fast_path: FastPath) -> Criterion:
    """Ask for more than 40 % of the occurrences to be those of eligible tokens."""
    grades = [grade for grade, over in COVERAGE_GRADES if fast_path.coverage > over]
    return Criterion(
        name="Fast-path coverage",
        demand=f"over {LEAST_COVERAGE:.0%} of token occurrences",
        found=f"{fast_path.coverage:.1%} of token occurrences",
        met=fast_path.coverage > LEAST_COVERAGE,
        grade=grades[0] if grades else INSUFFICIENT,
    )
