"""A made-up run's figures, and what to look for in them."""

import dataclasses

import matplotlib
import numpy as np

from gatehouse.reports.figures.gallery import RUN_FIGURES
from gatehouse.reports.marts import Marts
from gatehouse.reports.statistics import fit_zipf
from gatehouse.reports.verdict.findings import AssessedRun, Findings
from tests.reports.made_up import SAMPLES, made_up_marts
from tests.reports.made_up_findings import made_up_findings, with_findings

RUN = {
    "run_id": "run $x^2$",
    "model": "mistralai/Mixtral-8x7B-v0.1",
    "source": "capture",
    "dtype": "float32",
    "quantization": "none",
    "samples": SAMPLES,
}


def made_up(**options):
    marts = made_up_marts(**options)
    if options.get("top_k") == 1:
        marts = dataclasses.replace(marts, coactivation=marts.coactivation.head(0))
    return marts, made_up_findings(marts, fit_zipf(marts.frequency_rank["frequency"], 0))


def assessed(marts: Marts, findings: Findings, run: dict = RUN) -> AssessedRun:
    """A run of which figures see marts and findings only."""
    return with_findings(AssessedRun(run, marts, [], None), findings)


def draw(stem, marts, findings):
    return RUN_FIGURES[stem](assessed(marts, findings))


def panels(figure):
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def texts(figure) -> str:
    written = "\n".join(each.get_text() for each in figure.findobj(matplotlib.text.Text))
    return " ".join(written.split())


def line(axes, label):
    return next(each for each in axes.lines if each.get_label() == label)


def images(figure) -> list[np.ndarray]:
    return [
        np.ma.filled(axes.images[0].get_array(), np.nan) for axes in panels(figure) if axes.images
    ]
