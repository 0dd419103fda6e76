"""Statistics of per-token routing: arrays in, frozen dataclasses out, never a silent nan.

Entropy is in nats. What the data cannot define (a correlation with a constant, say) is None, and
`undefined` says why wherever there is more than one possible reason. Everything random is seeded.
"""

from gatehouse.reports.statistics.arrays import LEAST_TOKENS
from gatehouse.reports.statistics.blocks import Blocks
from gatehouse.reports.statistics.correlation import (
    MINIMA,
    Correlation,
    MinimumFrequency,
    frequency_entropy,
    holm,
    kendall,
    p_text,
    partial_spearman,
    spearman_by_minimum,
)
from gatehouse.reports.statistics.description import (
    CONSISTENCY_RANKS,
    COVERAGE_RANKS,
    Consistency,
    EntropyDistribution,
    Zipf,
    ZipfLine,
    consistency,
    entropy_distribution,
    zipf,
    zipf_line,
)
from gatehouse.reports.statistics.discoveries import (
    FALSE_DISCOVERY_RATE,
    Discoveries,
    discoveries,
)
from gatehouse.reports.statistics.fast_path import (
    ENTROPY_THRESHOLDS,
    FREQUENCY_THRESHOLDS,
    FURTHER_ENTROPY_THRESHOLDS,
    FastPath,
    coverage_grid,
    eligible,
    entropy_thresholds,
    fast_path,
    pareto_front,
)
from gatehouse.reports.statistics.intervals import Interval
from gatehouse.reports.statistics.mandelbrot import Mandelbrot, fit_mandelbrot
from gatehouse.reports.statistics.permutation import PermutationNull, permutation_nulls
from gatehouse.reports.statistics.power_law import Lognormal, ZipfFit, fit_zipf
from gatehouse.reports.statistics.random_router import (
    UnbiasedConsistency,
    random_consistency,
    random_specialisation,
    unbiased_consistency,
)
from gatehouse.reports.statistics.resampling import (
    Bootstrapped,
    BootstrappedRun,
    SampleSize,
    bootstrap,
    halves,
    rarefaction,
)
from gatehouse.reports.statistics.tail import CANDIDATES

__all__ = [
    "CANDIDATES",
    "CONSISTENCY_RANKS",
    "COVERAGE_RANKS",
    "ENTROPY_THRESHOLDS",
    "FALSE_DISCOVERY_RATE",
    "FREQUENCY_THRESHOLDS",
    "FURTHER_ENTROPY_THRESHOLDS",
    "LEAST_TOKENS",
    "MINIMA",
    "Blocks",
    "Bootstrapped",
    "BootstrappedRun",
    "Consistency",
    "Correlation",
    "Discoveries",
    "EntropyDistribution",
    "FastPath",
    "Interval",
    "Lognormal",
    "Mandelbrot",
    "MinimumFrequency",
    "PermutationNull",
    "SampleSize",
    "UnbiasedConsistency",
    "Zipf",
    "ZipfFit",
    "ZipfLine",
    "bootstrap",
    "consistency",
    "coverage_grid",
    "discoveries",
    "eligible",
    "entropy_distribution",
    "entropy_thresholds",
    "fast_path",
    "fit_mandelbrot",
    "fit_zipf",
    "frequency_entropy",
    "halves",
    "holm",
    "kendall",
    "p_text",
    "pareto_front",
    "partial_spearman",
    "permutation_nulls",
    "random_consistency",
    "random_specialisation",
    "rarefaction",
    "spearman_by_minimum",
    "unbiased_consistency",
    "zipf",
    "zipf_line",
]
