"""Two runs side by side as one HTML page: verdicts, numbers, what differs, layer by layer."""

from dataclasses import replace
from typing import Any

import pandas as pd

from gatehouse.reports.marts import Flips
from gatehouse.reports.marts.facts import how_computed, run_facts, run_title
from gatehouse.reports.page import text
from gatehouse.reports.page.charts import Chart
from gatehouse.reports.page.html import rendered
from gatehouse.reports.page.packing import columns, plain, script_json
from gatehouse.reports.page.report import CORE, model_view, scripts
from gatehouse.reports.verdict.criteria import LIMITS, RHO
from gatehouse.reports.verdict.findings import MEASURE_COLUMNS, AssessedRun
from gatehouse.reports.verdict.validation import Validation

SCRIPTS = (*CORE, "charts/comparison.js")
LABELS = ("A", "B")
NONE = "\N{EN DASH}"
"""An undefined value, one that a trace does not tell, or a layer that a run does not have."""

OVERLAP = (
    "tokens",
    "expert_overlap",
    "set_agreement",
    "top_agreement",
    "mean_entropy_change",
    "mean_absolute_entropy_change",
)
CHARTS = (
    Chart(
        "numbers",
        "Layer by layer",
        "Whiskers are each run's own 95 % interval over its documents, dashed lines are the "
        "criteria. Where the whiskers of both runs are apart, the runs differ by more than "
        "their choice of documents explains.",
        of_layer=False,
        wide=True,
    ),
    Chart(
        "overlap",
        "The same occurrences in both runs",
        "On the text that both runs read: how often they chose the same experts and, if both "
        "tell it, how far entropy moved from A to B.",
        of_layer=False,
        wide=True,
    ),
    Chart(
        "flips",
        "Where the runs route differently",
        "Shares of the tokens that both runs read which go to another set of experts, or have "
        "another first choice. A margin is the first weight less the second: where it is small, "
        "little is needed to flip the first choice. What decides the set, the distance to the "
        "first expert that was not chosen, is not recorded.",
        of_layer=False,
        wide=True,
    ),
)
UNTESTED = replace(
    CHARTS[0],
    reading="Neither run has a verdict: what the traces tell is drawn, and there are no intervals.",
)
"""In the place of the first chart where neither run was tested."""

FLIPS = ("tokens", "set_flip_share", "top_flip_share")
CAVEATS = (
    "Layers are matched by their index among the MoE layers: in models of different depth the "
    "same index is a different part of the model.",
    "Differences are B minus A and have no interval of their own.",
    "Runs on different datasets differ in their text, runs of different models in their experts "
    "too: entropies in nats are comparable only between routers with the same number of experts.",
)
OF_WHISKERS = "Each whisker belongs to one run; two that overlap do not show that the runs agree."


def render_comparison(
    left: AssessedRun, right: AssessedRun, overlap: pd.DataFrame | None, flips: Flips | None
) -> str:
    """Return the page of two runs as HTML text.

    Args:
        left: run A.
        right: run B.
        overlap: rows of `fct_run_comparison`: moe_index and OVERLAP; None or no rows where the
            runs share no text or no experts.
        flips: where the runs do not agree; None where `overlap` is.
    """
    sides = (left, right)
    indices = sorted({int(each) for side in sides for each in side.marts.layers["moe_index"]})
    tested = any(side.layers for side in sides)
    numbers = CHARTS[0] if tested else UNTESTED
    shared = overlap if overlap is not None and len(overlap) else None
    return rendered(
        "compare.html.j2",
        scripts=scripts(SCRIPTS),
        data=script_json(_payload(sides, indices, shared, flips)),
        title=f"{run_title(left.run)} and {run_title(right.run)}",
        sides=[_side(label, side) for label, side in zip(LABELS, sides, strict=True)],
        averages=_numbers(*(side.average.validation if side.average else None for side in sides)),
        facts=_facts(left, right),
        layers=[_layer(index, left, right) for index in indices],
        tested=tested,
        charts=(numbers, *CHARTS[1:]) if shared is not None else (numbers,),
        shared=shared is not None,
        mismatch=_sentence(flips),
        limits=(*CAVEATS, OF_WHISKERS) if tested else CAVEATS,
    )


def _payload(
    sides: tuple[AssessedRun, AssessedRun],
    indices: list[int],
    overlap: pd.DataFrame | None,
    flips: Flips | None,
) -> dict[str, Any]:
    """Return what `comparison.js` draws: a row per index, null where a run has no such layer."""
    return {
        "indices": indices,
        "limits": LIMITS,
        "runs": [_series(side, indices) for side in sides],
        "labels": [
            f"{label}: {side.run['run_id']}" for label, side in zip(LABELS, sides, strict=True)
        ],
        "overlap": None
        if overlap is None
        else columns(overlap.set_index("moe_index").reindex(indices), OVERLAP),
        "flips": None
        if flips is None
        else {
            "layers": columns(flips.by_layer.set_index("moe_index").reindex(indices), FLIPS),
            "margins": columns(flips.by_margin, ("smallest_margin", *FLIPS)),
            "positions": columns(flips.by_position, ("first_position", *FLIPS)),
        },
    }


def _sentence(flips: Flips | None) -> str | None:
    return f"{flips.sentence[0].upper()}{flips.sentence[1:]}." if flips else None


def _series(side: AssessedRun, indices: list[int]) -> dict[str, list[Any]]:
    layers = side.marts.layers.set_index("moe_index").reindex(indices)
    findings = side.findings.layers.set_index("moe_index").reindex(indices)
    return columns(findings, (*MEASURE_COLUMNS, "held_out_consistency")) | {
        "normalised_entropy": plain(layers["normalised_entropy"]),
        "max_load_ratio": plain(layers["max_load_ratio"]),
    }


def _side(label: str, side: AssessedRun) -> dict[str, Any]:
    return {
        "label": label,
        "run": side.run,
        "precision": how_computed(side.run),
        "model": model_view(side),
        "absent": text.absent(side, []),
    }


def _numbers(left: Validation | None, right: Validation | None) -> list[dict[str, str]]:
    """Return rho, low-entropy share and coverage as text, and the differences."""
    names = (f"Spearman {RHO}", "Low-entropy share", "Coverage")
    return [
        _compared(name, *pair, share=name != names[0])
        for name, *pair in zip(names, _values(left), _values(right), strict=True)
    ]


def _compared(
    name: str, left: float | None, right: float | None, *, share: bool = False
) -> dict[str, str]:
    """Return a number of both runs as text, and the difference."""
    change = None if left is None or right is None else right - left
    return {
        "name": name,
        "left": _text(left, share),
        "right": _text(right, share),
        "change": _change(change, share),
    }


def _values(validation: Validation | None) -> tuple[float | None, float | None, float | None]:
    if validation is None:
        return None, None, None
    return (
        validation.correlation.spearman,
        validation.entropy.low_entropy_share,
        validation.fast_path.coverage,
    )


def _text(value: float | None, share: bool) -> str:
    if value is None:
        return NONE
    return f"{value:.1%}" if share else f"{value:.3f}"


def _change(value: float | None, share: bool) -> str:
    if value is None:
        return NONE
    # a change that rounds to zero must not show a sign: -0.0 + 0.0 is 0.0
    return (
        f"{round(100 * value, 1) + 0.0:+.1f} points" if share else f"{round(value, 3) + 0.0:+.3f}"
    )


def _facts(left: AssessedRun, right: AssessedRun) -> list[dict[str, Any]]:
    """Return the facts of both runs side by side, and whether they differ."""
    first, second = (run_facts(side.run, side.marts.layers) for side in (left, right))
    # a run without a name has no such fact
    pairs = {name: (first.get(name, NONE), second.get(name, NONE)) for name in first | second}
    return [
        {"name": name, "left": left, "right": right, "differs": left != right}
        for name, (left, right) in pairs.items()
    ]


def _layer(index: int, left: AssessedRun, right: AssessedRun) -> dict[str, Any]:
    first, second = (_validation_of(side, index) for side in (left, right))
    numbers = _numbers(first, second) if left.layers or right.layers else []
    busiest = (_busiest(side, index) for side in (left, right))
    return {
        "index": index,
        "left": first.verdict if first else None,
        "right": second.verdict if second else None,
        "numbers": [*numbers, _compared("Busiest expert / fair share", *busiest)],
    }


def _busiest(side: AssessedRun, index: int) -> float | None:
    layers = side.marts.layers
    found = layers.loc[layers["moe_index"] == index, "max_load_ratio"]
    return None if found.empty else float(found.iloc[0])


def _validation_of(side: AssessedRun, index: int) -> Validation | None:
    return next((each.validation for each in side.layers if each.layer == index), None)
