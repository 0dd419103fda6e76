"""Two runs side by side as one HTML page: verdicts, numbers, what differs, layer by layer."""

from collections.abc import Collection
from typing import Any

import pandas as pd

from gatehouse.reports.marts import Flips, Loads
from gatehouse.reports.marts.facts import how_computed, run_title
from gatehouse.reports.marts.untold import EVENTS
from gatehouse.reports.page import text
from gatehouse.reports.page.comparison_charts import FLIPS, LOADS, OVERLAP, shown
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

CAVEATS = (
    "Layers are matched by their index among the MoE layers: in models of different depth the "
    "same index is a different part of the model.",
    "Differences are B minus A and have no interval of their own.",
    "Runs on different datasets differ in their text, runs of different models in their experts "
    "too: entropies in nats are comparable only between routers with the same number of experts.",
)
OF_WHISKERS = "Each whisker belongs to one run; two that overlap do not show that the runs agree."


def render_comparison(
    left: AssessedRun,
    right: AssessedRun,
    overlap: pd.DataFrame | None,
    flips: Flips | None,
    loads: Loads | None,
) -> str:
    """Return the page of two runs as HTML text.

    Args:
        left: run A.
        right: run B.
        overlap: rows of `fct_run_comparison`: moe_index and OVERLAP; None or no rows where the
            runs share no text or no experts.
        flips: where the runs do not agree; None where `overlap` is.
        loads: whether they keep the same experts busy; None where that is not compared.
    """
    sides = (left, right)
    indices = sorted({int(each) for side in sides for each in side.marts.layers["moe_index"]})
    tested = any(side.layers for side in sides)
    common = _common(indices, overlap, flips, loads)
    return rendered(
        "compare.html.j2",
        scripts=scripts(SCRIPTS),
        data=script_json(_of_each(sides, indices) | common),
        title=f"{run_title(left.run)} and {run_title(right.run)}",
        sides=[_side(label, side) for label, side in zip(LABELS, sides, strict=True)],
        averages=_numbers(*(side.average.validation if side.average else None for side in sides)),
        facts=_facts(left, right),
        layers=[_layer(index, left, right) for index in indices],
        tested=tested,
        charts=shown(tested, common),
        uncompared=_uncompared(sides, common),
        mismatch=_sentence(flips or loads),
        limits=(*CAVEATS, OF_WHISKERS) if tested else CAVEATS,
    )


def _of_each(sides: tuple[AssessedRun, AssessedRun], indices: list[int]) -> dict[str, Any]:
    """Return what `comparison.js` draws of each run: a row per index, null where it has none."""
    return {
        "indices": indices,
        "limits": LIMITS,
        "runs": [_series(side, indices) for side in sides],
        "labels": [
            f"{label}: {side.run['run_id']}" for label, side in zip(LABELS, sides, strict=True)
        ],
    }


def _common(
    indices: list[int],
    overlap: pd.DataFrame | None,
    flips: Flips | None,
    loads: Loads | None,
) -> dict[str, Any]:
    """Return what `comparison.js` draws of both runs together, without a key for what is absent."""
    common: dict[str, Any] = {}
    if overlap is not None and len(overlap):
        common["overlap"] = _by_index(overlap, indices, OVERLAP)
    if loads is not None:
        common["loads"] = _by_index(loads.by_layer, indices, LOADS)
    if flips is not None:
        common["flips"] = {
            "layers": _by_index(flips.by_layer, indices, FLIPS),
            "margins": columns(flips.by_margin, ("smallest_margin", *FLIPS)),
            "positions": columns(flips.by_position, ("first_position", *FLIPS)),
        }
    return common


def _by_index(frame: pd.DataFrame, indices: list[int], names: tuple[str, ...]) -> dict[str, Any]:
    return columns(frame.set_index("moe_index").reindex(indices), names)


def _uncompared(sides: tuple[AssessedRun, AssessedRun], common: Collection[str]) -> str | None:
    """Return what is not compared of the two runs and why; None if their tokens are."""
    if "overlap" in common:
        return None
    if all(EVENTS not in side.untold for side in sides):
        return (
            "Overlap was not counted: the runs share no sequence of tokens (of one prompt, two "
            "runs may have made two texts), or their experts are not the same."
        )
    if "loads" in common:
        return "Tokens are not compared, only loads: counts tell nothing of tokens."
    return (
        "Neither tokens nor loads are compared: counts tell nothing of tokens, and the models or "
        "their experts are not the same."
    )


def _sentence(most_told: Flips | Loads | None) -> str | None:
    if most_told is None:
        return None
    return f"{most_told.sentence[0].upper()}{most_told.sentence[1:]}."


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
    first, second = (text.facts(side) for side in (left, right))
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
