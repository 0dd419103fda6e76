"""A run's assessment: evidence that agrees with the verdict's own numbers, and what follows."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from gatehouse.reports.results.document import document
from gatehouse.reports.results.model_text import model_text
from gatehouse.reports.results.report_text import report_text
from gatehouse.reports.statistics import Correlation
from gatehouse.reports.verdict.assessment import assess_run, assess_table
from gatehouse.reports.verdict.criteria import RHO
from gatehouse.reports.verdict.findings import AssessedRun
from gatehouse.reports.verdict.thresholds import DEFAULT, Thresholds
from gatehouse.warehouse.errors import GatehouseError
from tests.reports.made_up import made_up_marts
from tests.reports.made_up_blocks import made_up_blocks

MEASURES = ("spearman", "low_entropy_share", "coverage")


@pytest.fixture(scope="module")
def marts():
    return made_up_marts()


@pytest.fixture(scope="module")
def assessed(marts):
    return assessed_run(marts)


def assessed_run(marts, thresholds=DEFAULT, chosen=None) -> AssessedRun:
    blocks = partial(made_up_blocks, marts)
    return AssessedRun({}, marts, *assess_run(marts, blocks, thresholds, chosen))


def measures(validation) -> tuple[float, float, float]:
    return (
        validation.correlation.spearman,
        validation.entropy.low_entropy_share,
        validation.fast_path.coverage,
    )


def test_the_bootstrap_is_about_the_verdicts_own_numbers(assessed):
    for each in (*assessed.layers, assessed.average):
        intervals = [getattr(each.evidence.bootstrap, name) for name in MEASURES]
        assert [one.estimate for one in intervals] == pytest.approx(measures(each.validation))
        assert all(one.low <= one.estimate <= one.high for one in intervals)
        assert all(one.blocks == 64 for one in intervals)


def test_all_of_the_documents_give_the_verdicts_own_numbers(assessed):
    for each in (*assessed.layers, assessed.average):
        whole = each.evidence.sample_sizes[-1]
        assert whole.share == 1
        assert (whole.occurrences, whole.tokens) == (
            each.validation.occurrences,
            each.validation.tokens,
        )
        assert [getattr(whole, name) for name in MEASURES] == pytest.approx(
            measures(each.validation)
        )


def test_the_average_is_that_of_the_tokens_values(marts, assessed):
    average = marts.tokens.groupby("token_id")["mean_entropy"].mean()
    frame = assessed.average.frame.set_index("token_id")
    assert frame["mean_entropy"].sort_index().to_numpy() == pytest.approx(average.to_numpy())
    assert assessed.average.layer is None


def test_layers_that_score_in_different_ways_are_not_averaged(marts):
    scoring = ["sigmoid", "softmax", "softmax"]
    mixed = replace(marts, layers=marts.layers.assign(scoring=scoring))
    found = assessed_run(mixed)
    assert found.average is None and found.findings.average.empty
    assert "none, since the layers score by sigmoid and softmax" in model_text(found, "mixed")
    content = json.loads(document(found.layers, found, {}))
    assert content["model"]["average"] is None and "sigmoid" in content["model"]["no_average"]
    assert assessed_run(mixed, chosen=[1, 2]).average is not None


def test_the_models_verdict_is_about_its_layers(assessed):
    """The average of -0.36 and -0.30 was -0.93: SUPPORTED by it, and by no layer."""
    layers = [rho_of(each, -0.39) for each in assessed.layers]
    average = rho_of(assessed.average, -0.93)
    none = replace(assessed, layers=layers, average=average)
    assert not none.verdict.supported and not any(none.verdict.supporting)
    assert "0 of 3 MoE layers meet all three criteria" in model_text(none, "none")
    good = [rho_of(each, -0.7) for each in assessed.layers]
    every = replace(assessed, layers=good)
    assert every.verdict.supported and every.verdict.verdict == "SUPPORTED"
    one_weak = [replace(good[0], evidence=replace(good[0].evidence, holm_log10_p=-1.9)), *good[1:]]
    assert replace(assessed, layers=one_weak).verdict.supporting == (False, True, True)
    assert "2 of 3 MoE layers" in replace(assessed, layers=one_weak).verdict.sentence


def rho_of(assessment, rho: float):
    """The assessment with this rho, a small p, and both shares met."""
    validation = replace(
        assessment.validation,
        correlation=Correlation(rho, 1e-9, -9.0, rho),
        entropy=replace(assessment.validation.entropy, low_entropy_share=0.5),
        fast_path=replace(assessment.validation.fast_path, coverage=0.5),
    )
    evidence = replace(assessment.evidence, holm_log10_p=-8.5)
    return replace(assessment, validation=validation, evidence=evidence)


def test_one_layer_alone_has_the_same_evidence(marts, assessed):
    alone = assessed_run(marts, chosen=[1])
    (layer,) = alone.layers
    together = assessed.layers[1].evidence
    assert replace(layer.evidence, permutation=None) == replace(together, permutation=None)
    assert layer.evidence.permutation.low == pytest.approx(together.permutation.low)
    assert layer.validation == assessed.layers[1].validation
    assert layer.advice == assessed.layers[1].advice


def test_holm_counts_every_layer_of_the_run(assessed):
    raw = [each.validation.correlation.log10_p for each in assessed.layers]
    corrected = [each.evidence.holm_log10_p for each in assessed.layers]
    smallest = int(np.argmin(raw))
    assert corrected[smallest] == pytest.approx(raw[smallest] + np.log10(len(raw)))
    assert all(after >= before for before, after in zip(raw, corrected))


def test_consistency_is_compared_over_the_tokens_in_both_halves(marts, assessed):
    for each in assessed.layers:
        rows = marts.tokens[marts.tokens["moe_index"] == each.layer]
        both = rows[rows["held_out_consistency"].notna()]
        found = each.evidence.consistency
        assert found.held_out_tokens == len(both)
        assert found.held_out == pytest.approx(both["held_out_consistency"].mean())
        assert found.plain == pytest.approx(both["routing_consistency"].mean())
        assert 1 / 8 < found.random < 1


def test_the_lookup_table_is_that_of_the_thresholds(marts, assessed):
    grid = marts.thresholds.set_index(["moe_index", "frequency_threshold", "entropy_threshold"])
    for each in assessed.layers:
        row = grid.loc[(each.layer, 50, 0.5)]
        assert each.evidence.table.coverage == row["coverage"]
        assert each.evidence.table.set_agreement == row["set_agreement"]
    off = assessed_run(marts, Thresholds(33, 0.5), [0])
    assert off.layers[0].evidence.table is None


def test_both_shares_are_also_given_for_the_same_part_of_the_range(marts):
    """Half a nat of ln 8 is a quarter; so it is of ln 64."""
    many = replace(marts, layers=marts.layers.assign(num_experts=64))
    found = assessed_run(many, Thresholds(5, 0.5), [1]).layers[0]
    scaled, frame = found.evidence.scaled, found.frame
    assert scaled.threshold == pytest.approx(1.0)
    low = frame["mean_entropy"] / np.log(64) < 0.5 / np.log(8)
    assert scaled.low_entropy_share == pytest.approx(low.mean())
    covered = frame.loc[low & (frame["frequency"] > 5), "frequency"].sum()
    assert scaled.coverage == pytest.approx(covered / frame["frequency"].sum())
    text = report_text(found)
    assert (
        "Entropy reaches ln 64 = 4.16 nats" in text
        and "scaled by ln 64 / ln 8 the threshold is 1:" in text
    )
    eight = assessed_run(marts, Thresholds(5, 0.5), [1]).layers[0]
    assert eight.evidence.scaled.coverage == eight.validation.fast_path.coverage


def test_a_token_without_an_entropy_still_occurs_in_a_run(marts):
    """Among 8 experts the threshold that follows their number is the specified one."""
    (most, *_), (occurrences, *_) = (
        marts.frequency_rank[each] for each in ("token_id", "frequency")
    )
    tokens = marts.tokens.copy()
    tokens.loc[(tokens["token_id"] == most) & (tokens["moe_index"] == 1), "mean_entropy"] = np.nan
    (found,) = assessed_run(replace(marts, tokens=tokens), chosen=[1]).layers
    whole = marts.frequency_rank["frequency"].sum()
    assert found.validation.excluded_occurrences == occurrences
    assert found.validation.all_occurrences == whole
    frame = found.frame
    eligible = frame[(frame["frequency"] > 50) & (frame["mean_entropy"] < 0.5)]
    assert found.validation.fast_path.coverage == eligible["frequency"].sum() / whole
    assert found.evidence.scaled.coverage == pytest.approx(found.validation.fast_path.coverage)


def test_layers_of_different_tokens_are_refused(marts):
    tokens = marts.tokens.copy()
    last = tokens.index[tokens["moe_index"] == 2]
    tokens.loc[last[:2], "token_id"] = tokens.loc[last[:2], "token_id"].to_numpy()[::-1]
    broken = type(marts)(**(vars(marts) | {"tokens": tokens}))
    with pytest.raises(GatehouseError, match="different tokens"):
        assess_run(broken, lambda layer: made_up_blocks(marts, layer), Thresholds())


def test_a_table_has_no_documents_and_says_so(frame):
    found = assess_table(frame, Thresholds())
    assert found.evidence.bootstrap is None
    assert found.evidence.kendall < 0
    assert "is unknown" in found.strength
    assert "interval" not in report_text(found).split("Evidence")[0]


def test_findings_are_the_assessments_rows(assessed):
    frames = assessed.findings
    assert list(frames.layers["moe_index"]) == [0, 1, 2]
    for (_, row), each in zip(frames.layers.iterrows(), assessed.layers):
        assert [row[name] for name in MEASURES] == pytest.approx(measures(each.validation))
        assert row["spearman_low"] == each.evidence.bootstrap.spearman.low
        assert row["verdict"] == each.validation.verdict
    assert frames.average["coverage"].item() == assessed.average.validation.fast_path.coverage
    assert len(frames.minima) == 3 * 5
    assert set(frames.sample_sizes["moe_index"]) == {0, 1, 2}


def test_the_document_is_json_without_nan_and_says_what_the_report_says(assessed):
    text = document(assessed.layers, assessed, {"run_id": "made-up", "pad": np.float64("nan")})
    content = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert content["source"] == {"run_id": "made-up", "pad": None}
    assert content["thresholds"] == {"frequency": 50, "entropy_nats": 0.5}
    for entry, each in zip(content["layers"], assessed.layers):
        assert entry["layer"] == each.layer
        assert entry["verdict"] == each.validation.verdict
        assert entry["statistics"]["correlation"]["spearman"] == pytest.approx(
            each.validation.correlation.spearman
        )
        low = entry["evidence"]["bootstrap"]["spearman"]["low"]
        assert low == each.evidence.bootstrap.spearman.low
    assert content["model"]["verdict"] == assessed.verdict.verdict
    assert content["model"]["supporting"] == sum(assessed.verdict.supporting)
    described = content["model"]["average"]["statistics"]["fast_path"]["coverage"]
    assert described == assessed.average.validation.fast_path.coverage
    assert content["zipf"]["alpha"] == assessed.layers[0].zipf.alpha


def test_the_report_puts_the_evidence_below_the_specifications_lines(assessed):
    each = assessed.layers[0]
    text = report_text(each, ["made-up, MoE layer 0"])
    interval = each.evidence.bootstrap.spearman
    assert f"95% interval of {RHO}: {interval.low:.4f} to {interval.high:.4f}" in text
    lines = text.splitlines()
    plain = next(i for i, line in enumerate(lines) if line.startswith(f"   Spearman {RHO}:"))
    honest = next(i for i, line in enumerate(lines) if "95% interval of" in line)
    assert plain < honest < lines.index("3. Analyzing entropy distribution...")
    for part in ("Kendall", "position held fixed", "Holm", "held-out documents", "by share of"):
        assert part in text
    assert f"Evidence\n  {each.strength}" in text
