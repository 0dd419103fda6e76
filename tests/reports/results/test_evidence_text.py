"""The lines of evidence say no more than was computed."""

from dataclasses import replace

import numpy as np

from gatehouse.reports.results.evidence_text import frequencies
from gatehouse.reports.statistics import fit_zipf


def test_a_goodness_of_fit_that_no_replicate_reached_is_an_upper_limit():
    fit = fit_zipf(np.arange(1, 80) ** 2, replicates=1)
    (first, *_) = frequencies(replace(fit, p_value=0.0, replicates=100))
    assert "the best of up to 36 cut-offs (goodness of fit p < 0.01, distance " in first
    assert "does not fit" in first
    (first, *_) = frequencies(replace(fit, p_value=0.4, replicates=100))
    assert "(goodness of fit p = 0.40, distance " in first
