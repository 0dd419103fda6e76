"""How strong the evidence for a verdict is, in one plain sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from gatehouse.reports.statistics import Interval
from gatehouse.reports.verdict.criteria import (
    CORRELATION,
    DEMANDS,
    LARGEST_P,
    RHO,
    Demand,
    p_text,
)
from gatehouse.reports.verdict.evidence import Evidence
from gatehouse.reports.verdict.validation import Validation

ENOUGH_OCCURRENCES = 20
"""A correlation should not need the tokens that occur less often than this."""

MORE_TEXT = "another text may decide otherwise"


class Lies(Enum):
    """Where a 95 % interval lies: both of its ends meet the demand, neither does, or one."""

    MEETING = "meeting"
    MISSING = "missing"
    ACROSS = "across"


@dataclass(frozen=True)
class Margin:
    """One measure beside its demand: its value and its 95 % interval, None where undefined."""

    demand: Demand
    value: float | None
    interval: Interval | None

    @property
    def is_met(self) -> bool:
        """Whether the measure itself meets its demand; of the correlation, without its p."""
        return self.value is not None and bool(self.demand.is_met_by(self.value))

    @property
    def lies(self) -> Lies | None:
        """Where the interval lies."""
        if self.interval is None:
            return None
        ends = {bool(self.demand.is_met_by(end)) for end in (self.interval.low, self.interval.high)}
        return Lies.ACROSS if len(ends) == 2 else Lies.MEETING if True in ends else Lies.MISSING

    @property
    def is_sure(self) -> bool:
        """Whether the measure and its whole interval are on the same side of the limit."""
        return self.lies is (Lies.MEETING if self.is_met else Lies.MISSING)

    @property
    def text(self) -> str:
        """The interval, each end on its own side of the limit; empty without one."""
        if self.interval is None:
            return ""
        low, high = (self.demand.text(end) for end in (self.interval.low, self.interval.high))
        return f"{low} to {high}"

    @property
    def doubt(self) -> str:
        """Why the measure is not sure, as part of a sentence."""
        name = self.demand.measure
        if self.value is None:
            return f"{name} is undefined"
        if self.interval is None:
            return f"{name} has no 95 % interval"
        if self.lies is Lies.ACROSS:
            return f"the 95 % interval of {name} ({self.text}) reaches across its limit"
        verb = "misses its demand" if self.is_met else "meets its demand"
        return (
            f"the whole 95 % interval of {name} ({self.text}) {verb}, "
            f"unlike {name} itself ({self.demand.text(self.value)})"
        )


def margins(validation: Validation, evidence: Evidence) -> tuple[Margin, Margin, Margin]:
    """Return correlation, low-entropy share and coverage with their intervals."""
    found = evidence.bootstrap
    values = (
        validation.correlation.spearman,
        validation.entropy.low_entropy_share,
        validation.fast_path.coverage,
    )
    intervals = (
        (found.spearman, found.low_entropy_share, found.coverage) if found else (None, None, None)
    )
    rho, share, coverage = map(Margin, DEMANDS, values, intervals)
    return rho, share, coverage


def only_p_fails(validation: Validation) -> bool:
    """Return whether rho meets its half of the first criterion, and p does not."""
    rho = Margin(CORRELATION, validation.correlation.spearman, None)
    return rho.is_met and not validation.criteria[0].met


def strength(validation: Validation, evidence: Evidence) -> str:
    """Return one plain sentence on how strong the evidence for the verdict is."""
    measured = margins(validation, evidence)
    if all(each.interval is None for each in measured):
        return f"The strength of the evidence is unknown: {_no_interval(evidence)}."
    if validation.supported:
        return _strength_for(measured, evidence)
    failed = [each for each in measured if not each.is_met]
    sure = [each for each in failed if each.is_sure]
    if sure:
        which = _listed([f"{each.demand.measure} ({each.text})" for each in sure])
        verb = "misses its demand" if len(sure) == 1 else "miss their demands"
        return f"The evidence against is strong: over the whole 95 % interval, {which} {verb}."
    doubts = [each.doubt for each in failed]
    if only_p_fails(validation):
        doubts.insert(0, _p_alone(validation, measured[0]))
    return f"The evidence against is weak: {_listed(doubts)}; {MORE_TEXT}."


def _no_interval(evidence: Evidence) -> str:
    if evidence.bootstrap is not None and evidence.bootstrap.undefined is not None:
        return f"no 95 % interval ({evidence.bootstrap.undefined})"
    return "an interval needs the documents of a captured run"


def _p_alone(validation: Validation, correlation: Margin) -> str:
    rho = validation.correlation.spearman
    assert rho is not None, "an undefined rho meets nothing"
    return (
        f"{RHO} ({CORRELATION.text(rho)}) meets its demand, but {validation.tokens:,} tokens "
        f"give p={p_text(validation.correlation.log10_p)}, not under {LARGEST_P:g}"
        + ("" if correlation.is_sure else f", and {correlation.doubt}")
    )


def _strength_for(measured: Sequence[Margin], evidence: Evidence) -> str:
    doubts = [each.doubt for each in measured if not each.is_sure]
    if doubts:
        return f"The evidence for is weak: {_listed(doubts)}; {MORE_TEXT}."
    rho = next(
        (each.spearman for each in evidence.minima if each.minimum == ENOUGH_OCCURRENCES), None
    )
    among = f"among tokens seen at least {ENOUGH_OCCURRENCES} times {RHO} is"
    met = "all three 95 % intervals meet their demands"
    if rho is None:
        return (
            f"The evidence for is moderate: {met}, but {among} undefined: the correlation rests "
            "on the rarer ones."
        )
    if not CORRELATION.is_met_by(rho):
        return (
            f"The evidence for is moderate: {met}, but {among} {CORRELATION.text(rho)}: without "
            "the rarer ones it misses its demand."
        )
    return f"The evidence for is strong: {met}, and {among} still {CORRELATION.text(rho)}."


def _listed(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
