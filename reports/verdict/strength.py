"""How strong the evidence for a verdict is, in one plain sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

from gatehouse.reports.statistics import Interval
from gatehouse.reports.verdict.criteria import (
    LARGEST_RHO,
    LEAST_COVERAGE,
    LEAST_LOW_ENTROPY_SHARE,
    RHO,
)
from gatehouse.reports.verdict.evidence import Evidence
from gatehouse.reports.verdict.validation import Validation

ENOUGH_OCCURRENCES = 20
"""A correlation should not need the tokens that occur less often than this."""


@dataclass(frozen=True)
class Margin:
    """One criterion's measure, its 95 % interval, and where the interval lies."""

    name: str
    interval: Interval | None
    limit: float
    met: bool
    text: str

    @property
    def is_decided(self) -> bool:
        """Whether the whole interval lies on the side that the measure is on."""
        if self.interval is None:
            return False
        return (self.interval.low - self.limit) * (self.interval.high - self.limit) > 0


def margins(validation: Validation, evidence: Evidence) -> tuple[Margin, Margin, Margin]:
    """Return correlation, low-entropy share and coverage with their intervals."""
    bootstrap = evidence.bootstrap
    rho, share, coverage = (
        (bootstrap.spearman, bootstrap.low_entropy_share, bootstrap.coverage)
        if bootstrap
        else (None, None, None)
    )
    met = [criterion.met for criterion in validation.criteria]
    percent = "{:.1%} to {:.1%}".format
    return (
        Margin(RHO, rho, LARGEST_RHO, met[0], f"{rho.low:.3f} to {rho.high:.3f}" if rho else ""),
        Margin(
            "the share of low-entropy tokens",
            share,
            LEAST_LOW_ENTROPY_SHARE,
            met[1],
            percent(share.low, share.high) if share else "",
        ),
        Margin(
            "coverage",
            coverage,
            LEAST_COVERAGE,
            met[2],
            percent(coverage.low, coverage.high) if coverage else "",
        ),
    )


def strength(validation: Validation, evidence: Evidence) -> str:
    """Return one plain sentence on how strong the evidence for the verdict is."""
    measured = margins(validation, evidence)
    if all(each.interval is None for each in measured):
        return (
            "The strength of the evidence is unknown: an interval needs more documents of a "
            "captured run."
        )
    if validation.supported:
        return _strength_for(measured, evidence)
    decided = [each for each in measured if not each.met and each.is_decided]
    if decided:
        which = _listed([f"{each.name} ({each.text})" for each in decided])
        verb = "misses its demand" if len(decided) == 1 else "miss their demands"
        return f"The evidence against is strong: over the whole 95 % interval, {which} {verb}."
    undecided = [each for each in measured if not each.met]
    which = _listed([_reach(each) for each in undecided])
    return f"The evidence against is weak: {which}; another text may decide otherwise."


def _strength_for(measured: Sequence[Margin], evidence: Evidence) -> str:
    undecided = [each for each in measured if not each.is_decided]
    if undecided:
        which = _listed([_reach(each) for each in undecided])
        return f"The evidence for is weak: {which}; another text may decide otherwise."
    frequent = next((each for each in evidence.minima if each.minimum == ENOUGH_OCCURRENCES), None)
    if frequent is None or frequent.spearman is None or frequent.spearman >= LARGEST_RHO:
        rho = frequent and frequent.spearman
        found = "undefined" if rho is None else f"{rho:.3f}"
        return (
            "The evidence for is moderate: all three 95 % intervals meet their demands, but among "
            f"tokens seen at least {ENOUGH_OCCURRENCES} times {RHO} is {found}: rare tokens make "
            "the correlation."
        )
    return (
        "The evidence for is strong: all three 95 % intervals meet their demands, and among tokens "
        f"seen at least {ENOUGH_OCCURRENCES} times {RHO} is still {frequent.spearman:.3f}."
    )


def _listed(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _reach(margin: Margin) -> str:
    if margin.interval is None:
        return f"{margin.name} has no 95 % interval"
    return f"the 95 % interval of {margin.name} ({margin.text}) reaches across its limit"
