"""Every figure of a run can be drawn for every run: small, large, or with nothing to show."""

import dataclasses
from functools import cache

import numpy as np
import pytest

from gatehouse.reports.figures.gallery import RUN_FIGURES
from gatehouse.reports.results.files import _save
from gatehouse.reports.verdict.findings import Findings
from tests.reports.figures.drawn import draw, made_up, texts
from tests.reports.made_up_findings import UNFITTED


def undefined(findings: Findings) -> Findings:
    gone = [name for name in findings.layers if name not in ("moe_index", "verdict")]
    return dataclasses.replace(
        findings,
        layers=findings.layers.assign(**dict.fromkeys(gone, None)),
        minima=findings.minima.assign(spearman=None),
        sample_sizes=findings.sample_sizes.assign(spearman=np.nan),
        zipf=UNFITTED,
    )


EXTREMES = {
    "one layer, top-1": {"layers": 1, "tokens": 60, "top_k": 1},
    "61 layers": {"layers": 61, "tokens": 60},
    "256 experts": {"layers": 2, "tokens": 60, "experts": 256, "top_k": 8},
}


@cache
def extreme(name: str):
    """The run of ten tests, which leave it as it is."""
    return made_up(**EXTREMES[name])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", EXTREMES)
@pytest.mark.parametrize("stem", RUN_FIGURES)
def test_extreme_runs_draw_without_warnings(name, stem):
    marts, findings = extreme(name)
    figure = draw(stem, marts, findings)
    figure.canvas.draw()
    assert "n = 60 distinct" in texts(figure)
    if name.startswith("one") and stem in ("expert_coactivation", "expert_transition"):
        assert "one expert per token" in texts(figure) or "one MoE layer" in texts(figure)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("stem", RUN_FIGURES)
def test_undefined_findings_one_domain_and_nothing_held_out_draw_without_warnings(stem):
    marts, findings = made_up(layers=2, tokens=60)
    nothing = dict.fromkeys(["coverage", "set_agreement", "retained_gate_mass"], None)
    domain = marts.domain_expert
    bare = dataclasses.replace(
        marts,
        domain_expert=domain[domain["domain"] == "web"],
        repetition=marts.repetition.head(0),
        agreement=marts.agreement.assign(**nothing),
        thresholds=marts.thresholds.assign(**nothing),
    )
    figure = draw(stem, bare, undefined(findings))
    figure.canvas.draw()
    if stem == "layer_overview":
        assert "undefined in 2 of 2" in texts(figure)
    if stem == "expert_repetition":
        assert "No token follows another" in texts(figure)
    if stem == "coverage_agreement":
        assert "No text was held out" in texts(figure)


@pytest.mark.filterwarnings("error")
def test_hostile_names_of_domains_are_text_without_warnings(tmp_path):
    marts, findings = made_up(layers=2, tokens=60)
    odd = {"code": "\0\x1b[31m\u202e漢", "maths <i>": "$x_1$ $\\frac{ <b>", "web": "w" * 300}
    named = marts.domain_expert.assign(domain=marts.domain_expert["domain"].map(odd))
    figure = draw(
        "domain_specialisation", dataclasses.replace(marts, domain_expert=named), findings
    )
    assert "$x_1$" in texts(figure)
    assert _save(figure, tmp_path, "domains").stat().st_size > 0
