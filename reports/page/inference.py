"""What the charts for inference draw and say: caches, predictions, placement, calibration."""

from typing import Any

import pandas as pd

from gatehouse.reports.inference import cache_sentences, recalls
from gatehouse.reports.inference.cache_curve import CacheCurves, cache_curves, cliff
from gatehouse.reports.inference.calibration import never_reached, reached
from gatehouse.reports.inference.placements import Measured, no_usual_placement, usual_placements
from gatehouse.reports.marts import Marts
from gatehouse.reports.marts.untold import EVENTS, WEIGHTS
from gatehouse.reports.page import needed_experts
from gatehouse.reports.page.packing import plain
from gatehouse.reports.verdict.findings import AssessedRun


def for_inference(assessed: AssessedRun) -> dict[str, dict[str, Any]]:
    """Return the data of each chart by its id; `advice` of each are sentences, maybe none."""
    marts = assessed.marts
    charts = {"placement": _placement(marts), "tuning": needed_experts.tuned(marts)}
    if EVENTS not in assessed.untold:
        charts["cache"] = _caches(marts)
        charts["prefetch"] = _predictions(marts)
        charts["calibration"] = _calibration(marts, int(assessed.run["samples"]))
        charts["batch-experts"] = needed_experts.batches(marts)
        charts["keep-sets"] = needed_experts.kept(marts)
        if WEIGHTS not in assessed.untold:
            charts["adaptive-k"] = needed_experts.adaptive(marts)
    return charts


def _caches(marts: Marts) -> dict[str, Any]:
    experts = cache_sentences.experts_of(marts.layers)
    curves = cache_curves(marts.cached_documents, experts.num_experts)
    advice, shared = [], marts.shared_caches
    for each in curves:
        words = cache_sentences.most_telling(each, shared, experts)
        advice += [_of_phase(each.phase, sentence, len(curves)) for sentence in words]
    notes = []
    if curves and "static_train" not in curves[0].hits:
        notes.append("No cache is filled from a train split: the run has none, or no other text.")
    if experts.slot_bytes is None:
        notes.append("How large an expert is, the run does not tell.")
    return {
        "advice": advice,
        "note": " ".join(notes),
        "names": cache_sentences.NAMES,
        "slot_bytes": experts.slot_bytes,
        "phases": [
            {
                "phase": each.phase,
                "text": _title(each.phase, len(curves)),
                "own": _own_caches(each),
                "shared": _shared_caches(shared[shared["phase"] == each.phase]),
            }
            for each in curves
        ],
    }


def _title(phase: str, phases: int) -> str:
    return f", {cache_sentences.PHASES[phase]}" if phases > 1 else ""


def _of_phase(phase: str, sentence: str, phases: int) -> str:
    text = cache_sentences.PHASES[phase].capitalize()
    return f"{text}: {sentence}" if phases > 1 else sentence


def _own_caches(curves: CacheCurves) -> dict[str, Any]:
    best = curves.best(curves.usable, curves.most_telling)
    low, high = curves.band(best) or (None, None)
    return {
        "slots": plain(curves.sizes),
        "chance": plain(curves.chances),
        "rates": {name: plain(curves.rates(name)) for name in (*curves.usable, "belady")},
        "best": best,
        "low": None if low is None else plain(low),
        "high": None if high is None else plain(high),
        "documents": curves.documents,
    }


def _shared_caches(shared: pd.DataFrame) -> dict[str, Any]:
    table = shared.pivot(index="slots", columns="policy", values="hit_rate")
    chance = shared.groupby("slots")["chance_hit_rate"].first()
    return {
        "slots": plain(table.index),
        "chance": plain(chance),
        "rates": {name: plain(table[name]) for name in ("lru", "lfu", "belady")},
        "working_set": cliff(shared),
    }


def _predictions(marts: Marts) -> dict[str, Any]:
    found = recalls.recalls(marts.predictions)
    top_k = marts.layers["top_k"].unique()
    return {
        "advice": [
            _of_phase(each.phase, each.sentence(int(top_k[0])), len(found))
            for each in found
            if len(top_k) == 1 and top_k[0] in each.budgets
        ],
        "note": recalls.untold(found[0].by_predictor) if found else "",
        "names": recalls.NAMES,
        "phases": [
            {
                "phase": each.phase,
                "text": _title(each.phase, len(found)),
                "budgets": plain(each.budgets),
                "chance": plain(each.chance),
                "recall": {name: plain(values) for name, values in each.by_predictor.items()},
                "horizons": {
                    str(tokens): plain(values) for tokens, values in each.by_horizon.items()
                },
            }
            for each in found
        ],
    }


def _placement(marts: Marts) -> dict[str, Any]:
    if reason := no_usual_placement(marts.layers["num_experts"]):
        return {"advice": [], "empty": reason}
    found = usual_placements(marts.layers["num_experts"], marts.load_windows)
    measured = {"EPLB": found.eplb, "contiguous": found.contiguous, "random": found.random}
    notes = [
        f"{found.placement.gpus} GPUs; EPLB places the experts by "
        f"{'the train split' if found.loads.by_train else 'all text, as no split is known'}. "
        "Contiguous is the order of their numbers, random the mean of random placements."
    ]
    if found.loads.held_out is None:
        notes.append("Nothing is held out.")
    if not found.loads.windows.size:
        notes.append("The counts tell of no part of the text: there are no windows.")
    return {
        "advice": [found.advice],
        "note": " ".join(notes),
        "learned": "Train split" if found.loads.by_train else "All text",
        "balance": {name: _balances(each) for name, each in measured.items()},
    }


def _balances(measured: Measured) -> dict[str, list[Any] | None]:
    held_out = measured.held_out
    return {
        "learned": plain(measured.learned.layers),
        "held_out": None if held_out is None else plain(held_out.layers),
        "windows": plain(measured.windows),
    }


def _calibration(marts: Marts, samples: int) -> dict[str, Any]:
    curves = reached(marts.calibration)
    return {
        "advice": [never_reached(curves)] if curves else [],
        "samples": samples,
        "curves": [
            {
                "tokens": each.tokens,
                "samples": plain(each.samples),
                "experts": plain(each.experts),
                "all_experts": each.all_experts,
            }
            for each in curves
        ],
    }
