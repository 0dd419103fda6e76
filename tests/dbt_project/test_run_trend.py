"""The trend of a series, computed again from the lake's events: each run beside two before it."""

import numpy as np
import pandas as pd

SHARED = ("model", "dataset", "source", "max_length", "windows", "dtype", "quantization")
SETTINGS = [*SHARED, "generate", "temperature", "seed"]


def neighbours(runs: pd.DataFrame) -> dict[str, tuple[str | None, str]]:
    """Run -> the one before it in its series, and the first."""
    runs = runs.sort_values(["started_at", "run_id"])
    settings = [str(tuple(row)) for row in runs[SETTINGS].to_numpy()]
    found = {}
    for _, group in runs.groupby(settings, sort=False):
        series = list(group["run_id"])
        found |= {run: (before, series[0]) for before, run in zip([None, *series], series)}
    return found


def kept(layer) -> set[int]:
    """Return the half of the experts that are named most often; ties go to the smallest id."""
    selections = layer.selected().sum(axis=0)
    return set(np.argsort(-selections, kind="stable")[: -(-layer.num_experts // 2)].tolist())


def drift(layer, reference) -> tuple[float, float]:
    if reference is None or reference.num_experts != layer.num_experts:
        return np.nan, np.nan
    shares = [each.load() / each.load().sum() for each in (layer, reference)]
    return np.minimum(*shares).sum(), len(kept(layer) & kept(reference)) / len(kept(layer))


def test_run_trend(assert_mart, connection, layer_events, raw):
    """Measures are those of fct_layer_routing and fct_token_consistency, drifts those of events."""
    layers = {(layer.run_id, layer.moe_index): layer for layer in layer_events}
    runs = neighbours(raw["runs"])
    started = raw["runs"].set_index("run_id")["started_at"]
    measured = connection.table("fct_layer_routing").to_arrow_table().to_pandas()
    measured = measured.set_index(["run_id", "layer"])
    scored = connection.table("fct_token_consistency").to_arrow_table().to_pandas()
    scored = scored.groupby(["run_id", "layer"])[
        ["held_out_top_agreements", "held_out_occurrences"]
    ].sum(min_count=1)
    series = dict(connection.sql("select distinct run_id, series from fct_run_trend").fetchall())
    rows = []
    for (run_id, index), layer in layers.items():
        previous, first = runs[run_id]
        since_previous = drift(layer, layers.get((previous, index)))
        since_first = drift(layer, layers.get((first, index)) if previous else None)
        of_layer = measured.loc[(run_id, layer.layer)]
        agreements, occurrences = scored.reindex([(run_id, layer.layer)]).iloc[0]
        names = ("num_experts", "events", "mean_entropy", "normalised_entropy")
        rows.append(
            layer.keys
            | {name: of_layer[name] for name in (*names, "max_load_ratio", "dead_experts")}
            | {
                "series": series[run_id],
                "started_at": started[run_id],
                "previous_run_id": previous,
                "first_run_id": first,
                "held_out_consistency": agreements / occurrences if occurrences else np.nan,
                "kept_experts": len(kept(layer)),
                "shared_load_with_previous": since_previous[0],
                "shared_load_with_first": since_first[0],
                "keep_set_overlap_with_previous": since_previous[1],
                "keep_set_overlap_with_first": since_first[1],
            }
        )
    expected = pd.DataFrame(rows)
    assert expected["shared_load_with_first"].between(0.05, 0.95).any()
    assert expected["keep_set_overlap_with_previous"].nunique() > 1
    assert_mart("fct_run_trend", ["run_id", "layer"], expected)


def test_a_series_is_what_shares_its_settings(connection, raw):
    runs = raw["runs"].set_index("run_id")
    found = connection.sql(
        "select distinct run_id, series from fct_run_trend where run_id <> 'counted'"
    ).fetchall()
    of_series: dict[str, set[tuple[str, ...]]] = {}
    for run_id, series in found:
        of_series.setdefault(series, set()).add(tuple(map(str, runs.loc[run_id, SETTINGS])))
    assert len(of_series) > 1 and all(len(settings) == 1 for settings in of_series.values())
    assert len(set().union(*of_series.values())) == len(of_series)
