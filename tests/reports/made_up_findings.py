"""Made-up findings about a made-up run, intervals around the run's own numbers."""

import itertools

import numpy as np
import pandas as pd

from gatehouse.reports.marts import Marts
from gatehouse.reports.statistics import ZipfFit, fit_zipf
from gatehouse.reports.verdict.criteria import met
from gatehouse.reports.verdict.findings import AssessedRun, Findings
from gatehouse.reports.verdict.thresholds import DEFAULT

UNFITTED = fit_zipf(np.ones(3, dtype=np.int64))


def with_findings(run: AssessedRun, findings: Findings) -> AssessedRun:
    """Return the run with findings that are given, not computed, and the tokens of its marts."""
    # where cached properties keep their values
    run.__dict__.update(findings=findings, tokens=run.marts.tokens)
    return run


def made_up_findings(marts: Marts, zipf: ZipfFit = UNFITTED) -> Findings:
    """Findings with intervals about the run's own numbers; thresholds 50 and 0.5."""
    rows = [_finding(index, frame) for index, frame in marts.tokens.groupby("moe_index")]
    averaged = marts.tokens.groupby("token_id", as_index=False).mean()
    shares = (0.125, 0.25, 0.5, 1.0)
    return Findings(
        layers=pd.DataFrame(rows),
        average=pd.DataFrame([_finding(None, averaged)]),
        minima=pd.DataFrame(
            [
                {
                    "moe_index": index,
                    "minimum": least,
                    "tokens": int((frame["frequency"] >= least).sum()),
                    "spearman": _rho(frame[frame["frequency"] >= least]),
                }
                for index, frame in marts.tokens.groupby("moe_index")
                for least in (1, 5, 20, 50, 100)
            ]
        ),
        sample_sizes=pd.DataFrame(
            [
                {
                    "moe_index": row["moe_index"],
                    "share": share,
                    "occurrences": int(row["occurrences"] * share),
                    "tokens": int(row["tokens"] * share**0.5),
                    "spearman": row["spearman"] * share**0.1,
                    "low_entropy_share": row["low_entropy_share"],
                    "coverage": row["coverage"] * share**0.3,
                }
                for row, share in itertools.product(rows, shares)
            ]
        ),
        zipf=zipf,
        thresholds=DEFAULT,
    )


def _rho(frame) -> float | None:
    if len(frame) < 3 or frame["frequency"].nunique() == 1:
        return None
    return float(frame["frequency"].corr(frame["mean_entropy"], method="spearman"))


def _finding(index, frame) -> dict:
    rho = _rho(frame)
    low = float((frame["mean_entropy"] < 0.5).mean())
    chosen = (frame["mean_entropy"] < 0.5) & (frame["frequency"] > 50)
    coverage = float(frame.loc[chosen, "frequency"].sum() / frame["frequency"].sum())
    is_met = met(float("nan") if rho is None else rho, -40.0, low, coverage)
    consistency = float(frame["routing_consistency"].mean())
    return {
        "moe_index": index,
        "verdict": "SUPPORTED" if all(is_met) else "NOT SUPPORTED",
        "criteria_met": sum(is_met),
        "tokens": len(frame),
        "occurrences": int(frame["frequency"].sum()),
        "spearman": rho,
        "spearman_low": rho - 0.05,
        "spearman_high": min(rho + 0.05, 1),
        "log10_p": -40.0,
        "holm_log10_p": -39.5,
        "null_low": -0.11,
        "null_high": 0.11,
        "kendall": 0.7 * rho,
        "partial_spearman": 0.95 * rho,
        "low_entropy_share": low,
        "low_entropy_share_low": max(low - 0.03, 0),
        "low_entropy_share_high": min(low + 0.03, 1),
        "coverage": coverage,
        "coverage_low": max(coverage - 0.04, 0),
        "coverage_high": min(coverage + 0.04, 1),
        "consistency": consistency,
        "held_out_consistency": 0.9 * consistency,
        "random_consistency": 0.5 * consistency,
        "specialisation": consistency,
        "held_out_specialisation": 0.92 * consistency,
        "random_specialisation": 0.6 * consistency,
    }
