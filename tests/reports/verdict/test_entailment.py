"""Every printed sentence is entailed by its numbers: read back, they are on the side it says."""

import re
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatehouse.reports.results.report_text import report_text
from gatehouse.reports.statistics import Bootstrapped, Correlation, Interval, MinimumFrequency
from gatehouse.reports.verdict.advice import advice
from gatehouse.reports.verdict.assessment import assess_table
from gatehouse.reports.verdict.criteria import RHO
from gatehouse.reports.verdict.evidence import Evidence
from gatehouse.reports.verdict.strength import strength
from gatehouse.reports.verdict.thresholds import DEFAULT
from gatehouse.reports.verdict.validation import Validation, validate

DEMANDED = {
    RHO: lambda value: value < -0.4 - 1e-12,
    "the share of low-entropy tokens": lambda value: value >= 0.3 - 1e-12,
    "coverage": lambda value: value > 0.4 + 1e-12,
}
MEASURE = f"({'|'.join(DEMANDED)})"
NUMBER = r"(-?\d+(?:\.\d+)?(?:e[-+]\d+)?%?)"
WITH_INTERVAL = re.compile(rf"{MEASURE} \({NUMBER} to {NUMBER}\)")


def near(limit: float, low: float, high: float) -> st.SearchStrategy[float]:
    """Return any value of a measure, half of them within a rounding of its limit."""
    close = st.sampled_from([0, 1e-15, 1e-11, 1e-7, 4e-5, 4e-4, 0.01])
    beside = st.builds(lambda by, sign: limit + sign * by, close, st.sampled_from([-1, 1]))
    return st.one_of(beside, st.floats(low, high))


RHOS, SHARES, COVERAGES = near(-0.4, -1, 1), near(0.3, 0, 1), near(0.4, 0, 1)
LOG10_P = st.one_of(near(-2, -3, 0), st.floats(-400, 0))


def interval(values: st.SearchStrategy[float]) -> st.SearchStrategy[Interval | None]:
    def ends(one: float, other: float) -> Interval:
        low, high = sorted((one, other))
        return Interval((low + high) / 2, low, high, 0.0, 64, 200)

    return st.one_of(st.none(), st.builds(ends, values, values))


def read(number: str) -> float:
    return float(number[:-1]) / 100 if number.endswith("%") else float(number)


def met(measure: str, number: str) -> bool:
    return DEMANDED[measure](read(number))


@pytest.fixture(scope="module")
def tested(make_frame) -> tuple:
    frame = make_frame()
    return frame, validate(frame)


def check_strength(sentence: str, validation: Validation) -> None:
    """Assert that a sentence on the evidence follows from the numbers that it gives."""
    named = [
        (name, met(name, low), met(name, high))
        for name, low, high in WITH_INTERVAL.findall(sentence)
    ]
    for measure in re.findall(rf"95 % interval of {MEASURE} \([^)]*\) reaches across", sentence):
        ((low, high),) = [(low, high) for name, low, high in named if name == measure]
        assert low is not high, sentence
    whole = re.compile(
        rf"whole 95 % interval of {MEASURE} \({NUMBER} to {NUMBER}\) (misses|meets) its demand, "
        rf"unlike {MEASURE} itself \({NUMBER}\)"
    )
    for measure, low, high, verb, again, value in whole.findall(sentence):
        assert met(measure, low) is met(measure, high) is (verb == "meets"), sentence
        assert measure == again and met(measure, value) is not (verb == "meets"), sentence
    if " for is " in sentence:
        assert validation.supported, sentence
    if "against is" in sentence:
        assert not validation.supported, sentence
    if "against is strong" in sentence:
        assert named and not any(low or high for _, low, high in named), sentence
    if "tokens give p=" in sentence:
        rho, tokens, p = re.search(
            rf"{RHO} \({NUMBER}\) meets its demand, but ([\d,]+) tokens give p={NUMBER}", sentence
        ).groups()
        assert met(RHO, rho) and read(p) >= 0.01 * (1 - 1e-9), sentence
        assert int(tokens.replace(",", "")) == validation.tokens
    if "still" in sentence:
        assert met(RHO, re.search(rf"is still {NUMBER}", sentence)[1])
    if "without the rarer ones" in sentence:
        assert not met(RHO, re.search(rf"times {RHO} is {NUMBER}:", sentence)[1])


def check_advice(lines: list[str], validation: Validation) -> None:
    for line in lines:
        if "--dataset" in line:
            ((_, low, high),) = re.findall(rf"interval of {MEASURE} \({NUMBER} to {NUMBER}\)", line)
            assert not met(RHO, low) and not met(RHO, high), line
            assert validation.correlation.spearman > -0.4 - 1e-11, line
        if "would give" in line:
            share, covered = re.search(rf"give {NUMBER} of tokens and {NUMBER} of", line).groups()
            assert met("the share of low-entropy tokens", share) and met("coverage", covered), line
        if "tokens give p=" in line:
            assert read(re.search(rf"give p={NUMBER}", line)[1]) >= 0.01 * (1 - 1e-9)


def check_criteria(validation: Validation) -> None:
    correlation, low_entropy, coverage = validation.criteria
    if validation.correlation.spearman is not None:
        rho, p = re.fullmatch(rf"{RHO}={NUMBER}, p={NUMBER}", correlation.found).groups()
        assert (met(RHO, rho) and read(p) < 0.01 * (1 - 1e-12)) is bool(correlation.met)
    share = re.match(NUMBER, low_entropy.found)[1]
    assert met("the share of low-entropy tokens", share) is bool(low_entropy.met)
    assert met("coverage", re.match(NUMBER, coverage.found)[1]) is bool(coverage.met)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    correlation=st.one_of(st.none(), st.tuples(RHOS, LOG10_P)),
    share=SHARES,
    coverage=COVERAGES,
    intervals=st.one_of(
        st.none(), st.tuples(interval(RHOS), interval(SHARES), interval(COVERAGES))
    ),
    among_frequent=st.one_of(st.none(), RHOS),
)
def test_every_sentence_is_entailed_by_its_numbers(
    tested, correlation, share, coverage, intervals, among_frequent
):
    frame, base = tested
    measured = (
        Correlation(None, None, None, None, "all frequencies are equal")
        if correlation is None
        else Correlation(correlation[0], 10.0 ** correlation[1], correlation[1], None)
    )
    validation = replace(
        base,
        correlation=measured,
        entropy=replace(base.entropy, low_entropy_share=share),
        fast_path=replace(base.fast_path, coverage=coverage),
    )
    evidence = Evidence(
        kendall=None,
        partial_spearman=None,
        minima=[MinimumFrequency(20, 50, among_frequent)],
        permutation=None,
        bootstrap=intervals
        and Bootstrapped(correlation and intervals[0], intervals[1], intervals[2]),
    )
    check_criteria(validation)
    check_strength(strength(validation, evidence), validation)
    check_advice(advice(validation, evidence, frame, {}), validation)


def test_a_criterion_that_fails_by_p_alone_is_not_called_settled(tested):
    """20 tokens, rho -0.499, p 0.025, and an interval that meets the demand."""
    frame, base = tested
    validation = replace(base, tokens=20, correlation=Correlation(-0.499, 0.025, -1.602, -0.5))
    evidence = Evidence(
        kendall=None,
        partial_spearman=None,
        minima=[],
        permutation=None,
        bootstrap=Bootstrapped(
            Interval(-0.499, -0.505, -0.494, 0.003, 64, 200),
            Interval(0.5, 0.45, 0.55, 0.02, 64, 200),
            Interval(0.6, 0.55, 0.65, 0.02, 64, 200),
        ),
    )
    assert strength(validation, evidence) == (
        f"The evidence against is weak: {RHO} (-0.499) meets its demand, but 20 tokens give "
        "p=2.50e-02, not under 0.01; another text may decide otherwise."
    )
    lines = advice(validation, evidence, frame, {})
    assert lines[0] == "Increase the sample size (--num-samples): 20 tokens give p=2.50e-02."
    assert not any("--dataset" in line for line in lines)


def test_the_report_prints_each_measure_on_its_own_side(tested):
    frame, base = tested
    found = assess_table(frame, DEFAULT)
    validation = replace(
        base,
        correlation=Correlation(-0.40004, 1e-9, -9.0, None),
        entropy=replace(base.entropy, low_entropy_share=0.29996),
        fast_path=replace(base.fast_path, coverage=0.40004),
    )
    text = report_text(replace(found, validation=validation))
    assert "29.996% of tokens" in text and "needs at least 30%" in text
    assert "40.004% of token occurrences" in text and f"{RHO}=-0.40004" in text
