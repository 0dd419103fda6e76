"""Runs side by side as one HTML page: equal expert sets, verdicts, what differs, layer by layer."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from gatehouse.reports.marts import Pair
from gatehouse.reports.marts.facts import how_computed, run_title
from gatehouse.reports.marts.untold import EVENTS
from gatehouse.reports.page import text
from gatehouse.reports.page.html import rendered
from gatehouse.reports.page.packing import columns, plain, script_json
from gatehouse.reports.page.report import CORE, model_view, scripts
from gatehouse.reports.page.runs.agreement import Pairs, key, label, opening
from gatehouse.reports.page.runs.comparison_charts import FLIPS, LOADS, OVERLAP, shown
from gatehouse.reports.verdict.criteria import LIMITS, RHO
from gatehouse.reports.verdict.findings import MEASURE_COLUMNS, AssessedRun
from gatehouse.reports.verdict.validation import Validation
from gatehouse.warehouse.plain_text import counted

SCRIPTS = (*CORE, "charts/comparison.js")
NONE = "\N{EN DASH}"
"""An undefined value, one that a trace does not tell, or a layer that a run does not have."""

CAVEATS = (
    "Layers are matched by their index among the MoE layers: in models of different depth the "
    "same index is a different part of the model.",
    "Differences are those from the run named first to the other, and have no interval of their "
    "own.",
    "Runs on different datasets differ in their text, runs of different models in their experts "
    "too: entropies in nats are comparable only between routers with the same number of experts.",
)
OF_WHISKERS = "Each whisker belongs to one run; two that overlap do not show that the runs agree."


def render_comparison(
    sides: Sequence[AssessedRun], pairs: Pairs, left_out: Sequence[str] = ()
) -> str:
    """Return the page of two runs or more as HTML text.

    Args:
        sides: the runs; the first is A.
        pairs: what each two of them have in common, by their places in `sides`.
        left_out: names of runs that compare with none of these.
    """
    indices = sorted({int(each) for side in sides for each in side.marts.layers["moe_index"]})
    tested = any(side.layers for side in sides)
    content = _of_each(sides, indices)
    content["pairs"] = {key(ids): _common(pair, indices) for ids, pair in pairs.items()}
    # what is compared is shown first
    first = next((ids for ids, pair in pairs.items() if pair.is_compared), (0, 1))
    content["pair"] = key(first)
    drawn = {name for common in content["pairs"].values() for name in common}
    several = len(sides) > 2
    views = [_side(place, side) for place, side in enumerate(sides)]
    return rendered(
        "compare.html.j2",
        scripts=scripts(SCRIPTS),
        data=script_json(content),
        title=f"{run_title(sides[0].run)} and {_others(sides)}",
        heading=f"{len(sides)} runs compared" if several else "Two runs compared",
        several=several,
        left_out=left_out,
        agreement=opening(sides, pairs),
        sides=views,
        chosen=first,
        averages=_averages(sides),
        facts=_facts(sides),
        layers=[_layer(index, sides) for index in indices],
        tested=tested,
        charts=shown(tested, drawn),
        uncompared=None if several else _uncompared(sides, pairs[first]),
        mismatch=_sentence(pairs[first]),
        limits=(*CAVEATS, OF_WHISKERS) if tested else CAVEATS,
    )


def _others(sides: Sequence[AssessedRun]) -> str:
    others = len(sides) - 1
    return run_title(sides[1].run) if others == 1 else counted(others, "other run")


def _of_each(sides: Sequence[AssessedRun], indices: list[int]) -> dict[str, Any]:
    """Return what `comparison.js` draws of each run: a row per index, null where it has none."""
    return {
        "indices": indices,
        "limits": LIMITS,
        "runs": [_series(side, indices) for side in sides],
        "letters": [label(place) for place in range(len(sides))],
        "labels": [f"{label(place)}: {side.run['run_id']}" for place, side in enumerate(sides)],
    }


def _common(pair: Pair, indices: list[int]) -> dict[str, Any]:
    """Return what `comparison.js` draws of two runs together, without a key for what is absent."""
    common: dict[str, Any] = {}
    if pair.overlap is not None and pair.has_tokens:
        common["overlap"] = _by_index(pair.overlap, indices, OVERLAP)
    if pair.loads is not None:
        common["loads"] = _by_index(pair.loads.by_layer, indices, LOADS)
    if pair.flips is not None:
        common["flips"] = {
            "layers": _by_index(pair.flips.by_layer, indices, FLIPS),
            "margins": columns(pair.flips.by_margin, ("smallest_margin", *FLIPS)),
            "positions": columns(pair.flips.by_position, ("first_position", *FLIPS)),
        }
    if sentence := _sentence(pair):
        common["sentence"] = sentence
    return common


def _by_index(frame: pd.DataFrame, indices: list[int], names: tuple[str, ...]) -> dict[str, Any]:
    return columns(frame.set_index("moe_index").reindex(indices), names)


def _uncompared(sides: Sequence[AssessedRun], pair: Pair) -> str | None:
    """Return what is not compared of two runs and why; None if their tokens are."""
    if pair.has_tokens:
        return None
    if all(EVENTS not in side.untold for side in sides):
        return (
            "Overlap was not counted: the runs share no sequence of tokens (of one prompt, two "
            "runs may have made two texts), or their experts are not the same."
        )
    if pair.loads is not None:
        return "Tokens are not compared, only loads: counts tell nothing of tokens."
    return (
        "Neither tokens nor loads are compared: counts tell nothing of tokens, and the models or "
        "their experts are not the same."
    )


def _sentence(pair: Pair) -> str | None:
    sentence = pair.sentence
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else None


def _series(side: AssessedRun, indices: list[int]) -> dict[str, list[Any]]:
    layers = side.marts.layers.set_index("moe_index").reindex(indices)
    findings = side.findings.layers.set_index("moe_index").reindex(indices)
    return columns(findings, (*MEASURE_COLUMNS, "held_out_consistency")) | {
        "normalised_entropy": plain(layers["normalised_entropy"]),
        "max_load_ratio": plain(layers["max_load_ratio"]),
    }


def _side(place: int, side: AssessedRun) -> dict[str, Any]:
    return {
        "label": label(place),
        "run": side.run,
        "precision": how_computed(side.run),
        "model": model_view(side),
        "absent": text.absent(side, []),
    }


NUMBERS = (f"Spearman {RHO}", "Low-entropy share", "Coverage")


def _averages(sides: Sequence[AssessedRun]) -> list[dict[str, Any]]:
    """Return the numbers of the runs' averages over the layers, and of two the differences."""
    return _numbers([side.average.validation if side.average else None for side in sides])


def _numbers(validations: Sequence[Validation | None]) -> list[dict[str, Any]]:
    """Return rho, low-entropy share and coverage as text, and of two runs the differences."""
    by_number = zip(*map(_values, validations), strict=True)
    return [
        _compared(name, values, share=name != NUMBERS[0])
        for name, values in zip(NUMBERS, by_number, strict=True)
    ]


def _compared(name: str, values: Sequence[float | None], *, share: bool = False) -> dict[str, Any]:
    """Return a number of all runs as text, and of two the difference."""
    first, second, *_ = values
    change = None if first is None or second is None else second - first
    return {
        "name": name,
        "values": [_text(value, share) for value in values],
        "change": _change(change, share) if len(values) == 2 else None,
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


def _facts(sides: Sequence[AssessedRun]) -> list[dict[str, Any]]:
    """Return the facts of the runs side by side, and whether they differ."""
    every = [text.facts(side) for side in sides]
    # a run without a name has no such fact
    names = dict.fromkeys(name for facts in every for name in facts)
    rows = {name: [facts.get(name, NONE) for facts in every] for name in names}
    return [
        {"name": name, "values": values, "differs": len(set(values)) > 1}
        for name, values in rows.items()
    ]


def _layer(index: int, sides: Sequence[AssessedRun]) -> dict[str, Any]:
    """Return the verdicts on a layer, and of two runs their numbers."""
    found = [_validation_of(side, index) for side in sides]
    verdicts = [each.verdict if each else None for each in found]
    row = {"index": index, "verdicts": verdicts, "differs": len(set(verdicts)) > 1}
    if len(sides) > 2:
        return row | {"numbers": []}
    numbers = _numbers(found) if any(side.layers for side in sides) else []
    busiest = [_busiest(side, index) for side in sides]
    return row | {"numbers": [*numbers, _compared("Busiest expert / fair share", busiest)]}


def _busiest(side: AssessedRun, index: int) -> float | None:
    layers = side.marts.layers
    found = layers.loc[layers["moe_index"] == index, "max_load_ratio"]
    return None if found.empty else float(found.iloc[0])


def _validation_of(side: AssessedRun, index: int) -> Validation | None:
    return next((each.validation for each in side.layers if each.layer == index), None)
