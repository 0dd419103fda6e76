"""The verdict, and the report's layout against the specification's own block."""

import re

import numpy as np
import pandas as pd
import pytest

from gatehouse.reports.results.report_text import report_text
from gatehouse.reports.statistics import Correlation, fit_zipf
from gatehouse.reports.verdict.assessment import Assessment, assess_table
from gatehouse.reports.verdict.criteria import RHO
from gatehouse.reports.verdict.evidence import Evidence
from gatehouse.reports.verdict.thresholds import Thresholds
from gatehouse.reports.verdict.usable import usable_rows
from gatehouse.reports.verdict.validation import Validation, validate
from gatehouse.warehouse.errors import GatehouseError

EXPECTED_OUTPUT = """\
============================================================
VAR Hypothesis Validation
============================================================

1. Analyzing frequency distribution...
   Zipf R²: 0.9234
   Top 1000 coverage: 67.3%

2. Testing frequency-entropy correlation...
   Spearman RHO: -0.6789
   P-value: 1.23e-145
   Significant: True
   Negative correlation: True

3. Analyzing entropy distribution...
   Mean entropy: 0.8234
   Std entropy: 0.5123
   Tokens with entropy < 0.5: 42.3%

4. Analyzing routing consistency...
   Mean consistency: 0.7234
   Top 1000 consistency: 0.8567

5. Identifying fast-path eligible tokens...
   Eligible tokens: 1,234 (12.3%)
   Token occurrence coverage: 56.7%

============================================================
Validation Summary
============================================================
✓ VAR Hypothesis SUPPORTED
  - Significant negative correlation between frequency and entropy (RHO=-0.679, p<0.01)
  - 42.3% of tokens have low entropy (< 0.5)
  - Fast-path routing can cover 56.7% of token occurrences
  - Top frequent tokens show high routing consistency (0.857)
""".replace("RHO", RHO)
"""The specification's block, word for word."""


MEASURED = (
    *("1.23e-145", "-0.6789", "-0.679", "0.9234", "0.8234", "0.5123", "0.7234", "0.8567", "0.857"),
    *("67.3", "42.3", "12.3", "56.7", "1,234"),
)
"""The block's numbers that a report measures; all others are fixed. Longer ones come first."""


NO_EVIDENCE = Evidence(None, None, [], None)


def text_of(validation: Validation, title: tuple[str, ...] = ()) -> str:
    """The report on a verdict with nothing beside it."""
    zipf = fit_zipf(np.ones(2))
    return report_text(Assessment(None, pd.DataFrame(), validation, NO_EVIDENCE, zipf, ()), title)


def pattern(line: str) -> str:
    """The specification's line as a pattern that takes any number for a measured one."""
    text = re.escape(line)
    for number in MEASURED:
        text = text.replace(re.escape(number), r"-?[\d,]+(?:\.\d+)?(?:e[+-]\d+)?")
    return text


def test_the_report_has_the_specifications_lines_in_order(make_frame):
    frame = make_frame(2000)
    validation = validate(frame)
    assert validation.supported
    lines = iter(text_of(validation).splitlines())
    for expected in EXPECTED_OUTPUT.splitlines():
        assert any(re.fullmatch(pattern(expected), line) for line in lines), expected


def test_the_reports_numbers_are_those_of_the_table(frame):
    text = text_of(validate(frame, Thresholds(20, 0.75)))
    frequency, entropy = frame["frequency"], frame["mean_entropy"]
    eligible = frame[(frequency > 20) & (entropy < 0.75)]
    assert f"Mean entropy: {entropy.mean():.4f}" in text
    assert f"Std entropy: {entropy.std():.4f}" in text
    assert f"Tokens with entropy < 0.75: {(entropy < 0.75).mean():.1%}" in text
    assert f"Spearman {RHO}: {frequency.corr(entropy, method='spearman'):.4f}" in text
    assert f"Mean consistency: {frame['routing_consistency'].mean():.4f}" in text
    assert f"Eligible tokens: {len(eligible)} ({len(eligible) / len(frame):.1%})" in text
    coverage = eligible["frequency"].sum() / frequency.sum()
    assert f"Token occurrence coverage: {coverage:.1%}" in text


def test_title_lines_and_sizes_stand_under_the_heading(frame):
    lines = text_of(validate(frame), ("Run: demo", "MoE layer: 2")).splitlines()
    assert lines[4:6] == ["Run: demo", "MoE layer: 2"]
    assert lines[6] == f"Tokens: 400 distinct, {frame['frequency'].sum():,} occurrences"


def test_each_failed_criterion_has_one_line(make_frame):
    validation = validate(make_frame(low_entropy=False), Thresholds(frequency=10**6))
    text = text_of(validation)
    summary = text.split("Validation Summary")[1].split("Grades")[0]
    assert "✗ VAR Hypothesis NOT SUPPORTED" in summary
    assert "SUPPORTED\n  - Low-entropy tokens: " in summary
    assert "  - Fast-path coverage: 0.0% of token occurrences; needs over 40%" in summary
    assert "Frequency-entropy correlation" not in summary
    assert "Fast-path coverage: Insufficient (0.0% of token occurrences)" in text


def test_all_three_criteria_are_needed(frame):
    assert validate(frame).verdict == "SUPPORTED"
    assert validate(frame, Thresholds(entropy=0.05)).verdict == "NOT SUPPORTED"
    assert validate(frame, Thresholds(frequency=10**6)).verdict == "NOT SUPPORTED"
    shuffled = frame.assign(frequency=np.random.default_rng(0).permutation(frame["frequency"]))
    assert not validate(shuffled).criteria[0].met


@pytest.mark.parametrize("constant", ["mean_entropy", "frequency"])
def test_constants_give_undefined_never_nan(frame, constant):
    frame[constant] = 1 if constant == "frequency" else 0.3
    validation = validate(frame)
    text = text_of(validation)
    assert "nan" not in text.lower()
    assert "None" not in text
    assert f"Spearman {RHO}: undefined: all" in text
    assert "P-value: undefined: all" in text
    assert "Significant: False" in text
    assert "correlation: undefined: all" in text.split("Validation Summary")[1]
    assert validation.verdict == "NOT SUPPORTED"


def test_a_correlation_without_pearson_says_why(frame, monkeypatch):
    found = Correlation(-0.5, 1e-9, -9.0, None)
    monkeypatch.setattr("gatehouse.reports.statistics.frequency_entropy", lambda *_: found)
    line = "Pearson r of ln(frequency + 1): undefined: the spread is below floating-point precision"
    assert line in text_of(validate(frame))


def test_rows_of_impossible_frequencies_change_nothing_but_their_count(frame):
    broken = frame.iloc[:3].assign(frequency=[0, -1, 2.5])
    broken["token_id"] += 10_000
    usable, excluded = usable_rows(pd.concat([broken, frame]))
    found = validate(usable, excluded=excluded)
    clean = validate(frame)
    assert (found.excluded_rows, found.excluded_occurrences) == (3, 0)
    assert "Excluded rows: 3 (not finite or impossible)\n" in text_of(found)
    for measure in ("tokens", "zipf", "correlation", "entropy", "consistency", "fast_path"):
        assert getattr(found, measure) == getattr(clean, measure)


def test_a_token_without_an_entropy_still_occurs(frame):
    """600 occurrences of unknown entropy, 300 low, 60 and 40 high: 30 % are covered, not 75 %."""
    rows = frame.iloc[:4].assign(
        frequency=[600, 300, 60, 40],
        mean_entropy=[np.nan, 0.1, 1.0, 1.1],
        routing_consistency=[0.5, 1.0, 1.0, 1.0],
    )
    usable, excluded = usable_rows(rows)
    found = validate(usable, excluded=excluded)
    assert found.fast_path.coverage == 0.3
    assert found.zipf == validate(rows.assign(mean_entropy=1.0)).zipf
    assert found.consistency.mean == 0.875
    assert (found.occurrences, found.all_occurrences, found.tokens) == (400, 1000, 3)
    assert found.entropy.low_entropy_share == 1 / 3
    assert "they hold 600 occurrences, 60.0% of all" in text_of(found)
    assert assess_table(usable, Thresholds(), None, excluded).zipf == fit_zipf(
        np.array([600, 300, 60, 40])
    )


def test_the_verdict_does_not_depend_on_row_order(frame):
    shuffled, _ = usable_rows(frame.sample(frac=1, random_state=3))
    assert validate(shuffled) == validate(frame)


def test_too_few_usable_rows_are_refused(frame):
    with pytest.raises(GatehouseError, match="at least 3 distinct tokens"):
        usable_rows(frame.assign(mean_entropy=np.nan))


def test_special_tokens_are_counted_by_id_or_by_shape(frame):
    start = frame[frame["token_str"] == "<s>"]
    share = start["frequency"].sum() / frame["frequency"].sum()
    by_id = validate(frame, special_token_ids={int(start["token_id"].iloc[0]), 999_999})
    by_shape = validate(frame.assign(token_str=frame["token_str"].replace("<s>", "[CLS]")))
    assert (by_id.special.tokens, by_id.special.recognised_by) == (1, "the tokenizer")
    assert by_id.special.occurrence_share == pytest.approx(share)
    assert f"Special tokens: 1 by the tokenizer, {share:.1%} of occurrences" in text_of(by_id)
    assert by_shape.special.tokens == 1
    assert "by the shape of token_str" in text_of(by_shape)
    assert validate(frame, special_token_ids=set()).special.tokens == 0
