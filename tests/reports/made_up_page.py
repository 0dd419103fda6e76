"""A made-up run as its page takes it, some of its tokens hostile."""

import datetime

import numpy as np
import pandas as pd

from gatehouse.reports.statistics import fit_zipf
from gatehouse.reports.verdict.assessment import Assessment
from gatehouse.reports.verdict.evidence import Evidence
from gatehouse.reports.verdict.findings import AssessedRun
from gatehouse.reports.verdict.validation import validate
from tests.reports.made_up import SAMPLES, made_up_marts
from tests.reports.made_up_findings import made_up_findings, with_findings

ODD_TOKENS = (
    "<s>",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\n",
    "=cmd|' /C calc'!A0",
    "\u2028",
    "",
    "<script>alert(1)</script>",
    '"onload="alert(1)',
    "&amp;",
    "-1",
    "@SUM",
    "\t=1",
    "\r",
    "\0",
    "\u202ereversed",
    "\x1b[31m",
    "$x_1$",
    "<!--",
)


def made_up_page(
    layers: int = 3, tokens: int = 300, experts: int = 8, top_k: int = 2, seed: int = 0
) -> AssessedRun:
    """A run whose validations, findings and marts are of the same made-up events."""
    marts = made_up_marts(layers, tokens, experts, top_k, seed)
    ranks = marts.frequency_rank
    odd = min(len(ODD_TOKENS), tokens)
    ranks["token_str"] = [*ODD_TOKENS[:odd], *ranks["token_str"].iloc[odd:]]
    of_token = ranks.set_index("token_id")["token_str"]
    if top_k == 1:
        marts.coactivation.drop(marts.coactivation.index, inplace=True)
    frames = dict(iter(marts.tokens.groupby("moe_index")))
    values = ["frequency", "mean_entropy", "mean_confidence", "routing_consistency"]
    averaged = marts.tokens.groupby("token_id", as_index=False)[values].mean()
    run = AssessedRun(
        run=_run(int(frames[0]["frequency"].sum()), layers),
        marts=marts,
        layers=[_assessment(index, frame, of_token) for index, frame in frames.items()],
        average=_assessment(None, averaged, of_token),
    )
    return with_findings(run, made_up_findings(marts))


def _assessment(layer: int | None, frame: pd.DataFrame, of_token: pd.Series) -> Assessment:
    named = frame.assign(token_str=frame["token_id"].map(of_token)).astype({"frequency": np.int64})
    validation = validate(named, special_token_ids=set())
    advice = () if validation.supported or layer is None else ("Capture more text.",)
    little = Evidence(None, None, [], None, holm_log10_p=validation.correlation.log10_p)
    no_fit = fit_zipf(np.ones(3, dtype=np.int64))
    made = Assessment(layer, named, validation, little, no_fit, advice)
    sentence = "" if layer is None else f"The evidence in layer {layer} is strong."
    made.__dict__["strength"] = sentence  # where a cached property keeps its value
    return made


def _run(tokens: int, layers: int) -> dict:
    finished = datetime.datetime(2025, 11, 2, 9, 30, tzinfo=datetime.UTC)
    return {
        "run_id": "made_up-{web}-0123456789",
        "model": "mistralai/Mixtral-8x7B-v0.1",
        "dataset": "<b>web</b>",
        "name": None,
        "source": "capture",
        "has_token_ids": True,
        "max_length": 512,
        "dtype": "bfloat16",
        "quantization": "none",
        "attention_implementation": "sdpa",
        "experts_implementation": "grouped_mm",
        "batch_size": 8,
        "device": "cpu",
        "versions": "gatehouse 0.1.0, torch 2.13.0",
        "finished_at": pd.Timestamp(finished),
        "capture_seconds": 31.4,
        "samples": SAMPLES,
        "tokens": tokens,
        "duplicate_samples": 0,
        "dropped_tokens": 7,
        "moe_layers": layers,
        "events": tokens * layers,
    }
