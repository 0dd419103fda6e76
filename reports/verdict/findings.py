"""`AssessedRun`: a run with its assessment, and its findings as frames to draw."""

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from gatehouse.reports.marts import Marts
from gatehouse.reports.statistics import Interval, UnbiasedConsistency, ZipfFit, fit_zipf
from gatehouse.reports.verdict.assessment import Assessment, untested_tokens
from gatehouse.reports.verdict.model_verdict import ModelVerdict, model_verdict
from gatehouse.reports.verdict.thresholds import DEFAULT, Thresholds

MEASURE_COLUMNS = tuple(
    f"{measure}{end}"
    for measure in ("spearman", "low_entropy_share", "coverage")
    for end in ("", "_low", "_high")
)
"""The measures of the three criteria in `Findings.layers`, each with its 95 % interval."""

CONSISTENCY_COLUMNS = ("consistency", "held_out_consistency", "random_consistency")
"""A token's consistency in `Findings.layers`: plain, on held-out documents, by chance."""


@dataclass(frozen=True)
class Findings:
    """What the statistics say about a run, as frames to draw; undefined values are null.

    layers: one row per MoE layer: moe_index, verdict (SUPPORTED or NOT SUPPORTED), criteria_met
        (0 to 3), tokens, occurrences, spearman, spearman_low, spearman_high (95 %, bootstrap over
        documents), log10_p, holm_log10_p, null_low, null_high (95 % of rho under permutation),
        kendall, partial_spearman (position held fixed), low_entropy_share, low_entropy_share_low,
        low_entropy_share_high, coverage, coverage_low, coverage_high, and, as means over the
        tokens in both halves of the documents, consistency, held_out_consistency,
        random_consistency, specialisation, held_out_specialisation, random_specialisation.
    average: the same columns, each token's values averaged over the layers; moe_index null; no row
        where the layers cannot be averaged.
    minima: moe_index, minimum (occurrences), tokens, spearman.
    sample_sizes: moe_index, share (of the documents), occurrences, tokens, spearman,
        low_entropy_share, coverage.
    zipf: `reports.statistics.fit_zipf` of the frequencies.
    thresholds: of the fast path.
    """

    layers: pd.DataFrame
    average: pd.DataFrame
    minima: pd.DataFrame
    sample_sizes: pd.DataFrame
    zipf: ZipfFit
    thresholds: Thresholds


@dataclass(frozen=True)
class AssessedRun:
    """One run with all that was found of it, as figures, pages and texts take it.

    `run` is the row of `dim_run` and the run's `name`, None if it has none; `layers` are the
    assessments of the chosen MoE layers in their order, `average` is that of the token values
    averaged over them: None where the layers score in different ways, since their entropies are
    not of one kind. `untold` names what the run's source did not tell; where a verdict needs some
    of it (`reports.marts.untold.A_VERDICT`), there are no assessments.
    """

    run: dict[str, Any]
    marts: Marts
    layers: list[Assessment]
    average: Assessment | None
    untold: tuple[str, ...] = ()

    @cached_property
    def verdict(self) -> ModelVerdict:
        """The verdict on the model, which is about its layers."""
        return model_verdict(self.layers)

    @property
    def no_average(self) -> str:
        """Why there is no average of the layers, as part of a sentence."""
        kinds = sorted(self.marts.layers["scoring"].unique())
        return f"since the layers score by {' and '.join(kinds)}: their entropies are not pooled"

    @cached_property
    def tokens(self) -> pd.DataFrame:
        """`marts.tokens` of the layers, with token_str, mean_position and random_consistency."""
        if not self.layers:
            return untested_tokens(self.marts)
        return pd.concat([each.frame for each in self.layers], ignore_index=True)

    @cached_property
    def findings(self) -> Findings:
        """What the statistics say of the run, as frames; without rows where nothing was tested."""
        if not self.layers:
            return _nothing_found(self.marts)
        return _findings(self.layers, self.average)


def _findings(layers: list[Assessment], average: Assessment | None) -> Findings:
    minima = [
        {"moe_index": each.layer} | dataclasses.asdict(row)
        for each in layers
        for row in each.evidence.minima
    ]
    sizes = [
        {"moe_index": each.layer} | dataclasses.asdict(row)
        for each in layers
        for row in each.evidence.sample_sizes
    ]
    rows = [_row(each) for each in layers]
    return Findings(
        layers=pd.DataFrame(rows),
        average=pd.DataFrame([_row(average)] if average else [], columns=list(rows[0])),
        minima=pd.DataFrame(minima),
        sample_sizes=pd.DataFrame(sizes),
        zipf=layers[0].zipf,
        thresholds=layers[0].validation.thresholds,
    )


def _nothing_found(marts: Marts) -> Findings:
    measured = pd.DataFrame(columns=["moe_index", *MEASURE_COLUMNS, *CONSISTENCY_COLUMNS])
    return Findings(
        layers=measured,
        average=measured,
        minima=pd.DataFrame(),
        sample_sizes=pd.DataFrame(),
        zipf=fit_zipf(marts.frequency_rank["frequency"].to_numpy()),
        thresholds=DEFAULT,
    )


def _row(assessment: Assessment) -> dict[str, Any]:
    validation, evidence = assessment.validation, assessment.evidence
    null = evidence.permutation
    return {
        "moe_index": assessment.layer,
        "verdict": validation.verdict,
        "criteria_met": sum(criterion.met for criterion in validation.criteria),
        "tokens": validation.tokens,
        "occurrences": validation.occurrences,
        "log10_p": validation.correlation.log10_p,
        "holm_log10_p": evidence.holm_log10_p,
        "null_low": null.low if null else None,
        "null_high": null.high if null else None,
        "kendall": evidence.kendall,
        "partial_spearman": evidence.partial_spearman,
        **_measures(assessment),
        **_unbiased("consistency", evidence.consistency),
        **_unbiased("specialisation", evidence.specialisation),
    }


def _measures(assessment: Assessment) -> dict[str, float | None]:
    """Return the three criteria's measures with the ends of their intervals."""
    validation, bootstrap = assessment.validation, assessment.evidence.bootstrap
    measures = {
        "spearman": validation.correlation.spearman,
        "low_entropy_share": validation.entropy.low_entropy_share,
        "coverage": validation.fast_path.coverage,
    }
    row: dict[str, float | None] = {}
    for name, value in measures.items():
        interval: Interval | None = getattr(bootstrap, name) if bootstrap else None
        row |= {
            name: value,
            f"{name}_low": interval.low if interval else None,
            f"{name}_high": interval.high if interval else None,
        }
    return row


def _unbiased(name: str, found: UnbiasedConsistency | None) -> dict[str, float | None]:
    return {
        name: found.plain if found else None,
        f"held_out_{name}": found.held_out if found else None,
        f"random_{name}": found.random if found else None,
    }
