"""The lines of evidence below each section of the validation report."""

import math
from fractions import Fraction

from gatehouse.reports import statistics
from gatehouse.reports.verdict.criteria import COVERAGE, LOW_ENTROPY, RHO, p_text
from gatehouse.reports.verdict.evidence import SPECIFIED_EXPERTS, Evidence

TAU = "\N{GREEK SMALL LETTER TAU}"
LEAST_FIT = 0.1
"""Under this p a tail is not a power law (Clauset, Shalizi & Newman 2009)."""

SMALLEST_P = 1e-99
SIZES = 4
"""The largest samples show whether coverage still grows."""


def frequencies(zipf: statistics.ZipfFit) -> list[str]:
    """Return the maximum-likelihood fits of the frequencies."""
    if zipf.undefined:
        return [f"   Power law by maximum likelihood: undefined: {zipf.undefined}"]
    fits = "fits" if zipf.p_value is not None and zipf.p_value >= LEAST_FIT else "does not fit"
    lines = [
        f"   Power law by maximum likelihood: {fits} the {zipf.tail_tokens:,} tokens seen at least "
        f"{zipf.x_min:,} times, the best of up to {statistics.CANDIDATES} cut-offs "
        f"(goodness of fit {zipf.p_text}, distance {zipf.distance:.4f})",
        f"   Its exponent: {zipf.alpha:.3f} ± {zipf.alpha_error:.3f} of frequencies, "
        f"{zipf.rank_exponent:.3f} of ranks",
    ]
    if lognormal := zipf.lognormal:
        likelier = f"the {lognormal.preferred} is likelier" if lognormal.preferred else "undecided"
        lines.append(
            f"   Against a lognormal: {likelier} (likelihood ratio {lognormal.ratio:.2f}, "
            f"{_p(lognormal.p_value)})"
        )
    if mandelbrot := zipf.mandelbrot:
        lines.append(
            f"   Zipf-Mandelbrot: exponent {mandelbrot.exponent:.3f}, "
            f"shift {mandelbrot.shift:.2f}, "
            f"without it {mandelbrot.zipf_exponent:.3f} "
            f"(likelihood ratio {mandelbrot.ratio:.1f}, {_p(mandelbrot.p_value)})"
        )
    return lines


def correlation(evidence: Evidence) -> list[str]:
    """Return the evidence beside Spearman's rho, its interval first."""
    lines = []
    if evidence.bootstrap and (interval := evidence.bootstrap.spearman):
        lines.append(
            f"   95% interval of {RHO}: {interval.low:.4f} to {interval.high:.4f} "
            f"({resampling(interval)})"
        )
    if null := evidence.permutation:
        lines.append(
            f"   {RHO} of permuted entropies: 95% in {null.low:.4f} to {null.high:.4f}, "
            f"p={null.p_value:.3g} of {null.permutations:,} permutations"
        )
    if evidence.holm_log10_p is not None:
        lines.append(f"   P-value, Holm over all layers: {p_text(evidence.holm_log10_p)}")
    if evidence.kendall is not None:
        lines.append(f"   Kendall {TAU}: {evidence.kendall:.4f}")
    if evidence.partial_spearman is not None:
        lines.append(f"   {RHO} with position held fixed: {evidence.partial_spearman:.4f}")
    for each in evidence.minima:
        found = "undefined" if each.spearman is None else f"{each.spearman:.4f}"
        lines.append(
            f"   {RHO} of the {each.tokens:,} tokens seen at least {each.minimum} times: {found}"
        )
    return lines


def low_entropy(evidence: Evidence) -> list[str]:
    """Return the interval of the share of low-entropy tokens, and what the threshold means here."""
    lines = _share_interval(evidence.bootstrap.low_entropy_share if evidence.bootstrap else None)
    if scaled := evidence.scaled:
        ceiling = math.log(scaled.experts)
        lines.append(
            f"   Entropy reaches ln {scaled.experts} = {ceiling:.2f} nats; scaled by "
            f"ln {scaled.experts} / ln {SPECIFIED_EXPERTS} the threshold is "
            f"{scaled.threshold:.4g}: {LOW_ENTROPY.text(scaled.low_entropy_share)} of tokens"
        )
    return lines


def consistency(evidence: Evidence) -> list[str]:
    """Return consistency without the bias of small samples, beside the plain one and chance."""
    lines = []
    for name, found in (
        ("Consistency", evidence.consistency),
        ("Vocabulary specialisation", evidence.specialisation),
    ):
        if found and found.held_out is not None:
            lines.append(
                f"   {name} on held-out documents: {found.held_out:.4f} "
                f"(plain {found.plain:.4f}, a random router {found.random:.4f}; "
                f"{found.held_out_tokens:,} tokens in both halves)"
            )
    return lines


def fast_path(evidence: Evidence) -> list[str]:
    """Return coverage's interval, its agreement on held-out documents, and its growth."""
    lines = _share_interval(evidence.bootstrap.coverage if evidence.bootstrap else None)
    if (table := evidence.table) and table.set_agreement is not None:
        lines.append(
            f"   On held-out documents (frequency > {table.thresholds.frequency:,} in the train "
            f"split, entropy < {table.thresholds.entropy:g}): covers {table.coverage:.1%}, "
            f"agrees with the router on {table.set_agreement:.1%} of it, "
            f"keeps {table.retained_gate_mass:.1%} of the gate mass"
        )
    if scaled := evidence.scaled:
        lines.append(
            f"   With the entropy threshold scaled to {scaled.threshold:.4g} nats: "
            f"{COVERAGE.text(scaled.coverage)}"
        )
    if evidence.sample_sizes:
        sizes = ", ".join(
            f"{each.coverage:.1%} on {Fraction(each.share).limit_denominator(64)}"
            for each in evidence.sample_sizes[-SIZES:]
        )
        lines.append(f"   Coverage by share of the documents: {sizes}")
    return lines


def resampling(interval: statistics.Interval) -> str:
    """Return how an interval was made."""
    return f"bootstrap over {interval.blocks} blocks of documents"


def _p(p_value: float) -> str:
    return f"p={p_value:.2g}" if p_value >= SMALLEST_P else f"p<{SMALLEST_P:g}"


def _share_interval(interval: statistics.Interval | None) -> list[str]:
    if interval is None:
        return []
    return [f"   95% interval: {interval.low:.1%} to {interval.high:.1%} ({resampling(interval)})"]
