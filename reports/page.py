"""The report as one HTML page: no network, no scripts, everything inside."""

import base64
import math
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reports import statistics
from reports.analysis import Analysis
from reports.criteria import RHO
from reports.hypothesis import Validation
from reports.summary import run_facts, shown

TOP_TOKENS = 100
TEMPLATES = Path(__file__).parent / "templates"


def render(analysis: Analysis, validation: Validation, figures: dict[str, bytes]) -> str:
    """Return the page as HTML text.

    Args:
        analysis: what was run.
        validation: of the analysis' own frame.
        figures: stem of `reports.figures.FIGURES` -> PNG, in the order to show.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        name=analysis.name,
        facts=run_facts(analysis),
        layers=analysis.layers.to_dict("records"),
        layer=analysis.layer,
        validation=validation,
        measures=_measures(validation),
        figures=[_figure(stem, png, validation) for stem, png in figures.items()],
        tokens=_top_tokens(analysis.frame, validation),
        limits=_limits(analysis, validation),
    )


def _measures(validation: Validation) -> dict[str, str]:
    """Return every measure of the validation report by name."""
    zipf, entropy = validation.zipf, validation.entropy
    consistency, fast_path = validation.consistency, validation.fast_path
    correlation = validation.correlation
    fit = zipf.undefined if zipf.r_squared is None else f"{zipf.r_squared:.4f}"
    pearson = "undefined" if correlation.pearson is None else f"{correlation.pearson:.4f}"
    return {
        "Zipf R²": f"{fit}",
        **{f"Coverage, top {top:,}": f"{share:.1%}" for top, share in zipf.coverage.items()},
        f"Spearman {RHO}, p": validation.criteria[0].found,
        "Pearson r of ln(frequency + 1)": pearson,
        "Entropy, mean": f"{entropy.mean:.4f} nats",
        "Entropy, standard deviation": f"{entropy.std:.4f} nats",
        "Entropy, median": f"{entropy.median:.4f} nats",
        "Consistency, mean": f"{consistency.mean:.4f}",
        f"Consistency, top {consistency.top_tokens:,}": f"{consistency.top_mean:.4f}",
        "Eligible tokens": f"{fast_path.eligible_tokens:,} ({fast_path.eligible_share:.1%})",
    }


READING = {
    "frequency_vs_entropy": (
        "Frequency and entropy",
        "Each point is a distinct token: if frequent tokens are routed more decisively, the cloud "
        "and its median fall to the right, and many points lie in the shaded fast-path region.",
    ),
    "entropy_distribution": (
        "Entropy",
        "Where the outline (occurrences) lies left of the bars (distinct tokens), running text "
        "is routed with less entropy than its vocabulary; c and d show how that follows frequency.",
    ),
    "routing_consistency": (
        "Routing consistency",
        "Consistency is the share of a token's occurrences that went to its most usual top expert: "
        "read frequent tokens (right in a and d), since rare tokens are consistent by chance.",
    ),
    "fastpath_coverage": (
        "Fast-path coverage",
        "Green is what a lookup table of eligible tokens would answer; the heatmap shows how far "
        "that share depends on the two thresholds (outlined: the ones of this report).",
    ),
}
"""Stem -> heading, and one sentence on how to read the figure."""


def _figure(stem: str, png: bytes, validation: Validation) -> dict[str, str]:
    heading, reading = READING[stem]
    return {
        "stem": stem,
        "heading": heading,
        "reading": reading,
        "alt": f"{heading}: {_alt(stem, validation)}",
        "source": f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}",
    }


def _alt(stem: str, validation: Validation) -> str:
    """Return what the figure shows, for those who cannot see it."""
    entropy, consistency = validation.entropy, validation.consistency
    fast_path = validation.fast_path
    return {
        "frequency_vs_entropy": f"scatter of mean entropy over frequency for "
        f"{validation.tokens:,} tokens, {validation.criteria[0].found}.",
        "entropy_distribution": f"four panels, histogram, cumulative distribution, bin means and "
        f"box plots; mean {entropy.mean:.2f} nats, {validation.criteria[1].found}.",
        "routing_consistency": f"four panels, over frequency, distribution, over entropy and bin "
        f"means; mean {consistency.mean:.2f}, {consistency.top_mean:.2f} for the "
        f"{consistency.top_tokens:,} most frequent tokens.",
        "fastpath_coverage": f"four panels, eligible tokens, coverage bars, threshold heatmap and "
        f"cumulative coverage; {fast_path.eligible_tokens:,} eligible tokens cover "
        f"{validation.criteria[2].found}.",
    }[stem]


def _top_tokens(frame: pd.DataFrame, validation: Validation) -> list[dict[str, Any]]:
    top = frame.head(TOP_TOKENS)
    share = top["frequency"] / frame["frequency"].sum()
    table = top.assign(
        shown=top["token_str"].map(shown),
        share=share,
        cumulative_share=share.cumsum(),
        eligible=statistics.eligible(
            top["frequency"].to_numpy(),
            top["mean_entropy"].to_numpy(),
            validation.frequency_threshold,
            validation.entropy_threshold,
        ),
    )
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _limits(analysis: Analysis, validation: Validation) -> list[str]:
    """Return what the numbers do not say, one sentence or two each."""
    run, layers = analysis.run, analysis.layers
    experts = int(layers.loc[layers["moe_index"] == analysis.layer, "num_experts"].iloc[0])
    ceiling = math.log(experts)
    special = validation.special
    return [
        "One model, one dataset, one layer: the verdict holds for these and no others.",
        f"The entropy threshold is absolute. With {experts} experts entropy can reach "
        f"ln {experts} = {ceiling:.2f} nats, so {validation.entropy_threshold:g} nats is "
        f"{validation.entropy_threshold / ceiling:.0%} of the range.",
        "A token seen once has consistency 1 and its entropy has no spread: rare tokens carry "
        "noise that frequent ones do not, which alone can tilt a comparison by frequency.",
        f"With {validation.tokens:,} tokens even a weak correlation has a small p: judge {RHO}, "
        "not p. Tokens of one text are not independent, so p is smaller than it should be.",
        "Coverage says how often a lookup table would answer, not that its answer is the expert "
        "that the router would have chosen.",
        f"Special tokens are included: {special.tokens:,} (by {special.recognised_by}) with "
        f"{special.occurrence_share:.1%} of the occurrences.",
        f"{run['dropped_tokens']:,} tokens past the maximum length of {run['max_length']:,} "
        "were never seen by the model.",
        f"{validation.excluded_rows:,} rows with values that are not finite or not possible "
        "were excluded.",
    ]
