"""What the page reads of a run: exact sums, quantised values, nothing that JSON lacks."""

import base64
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gatehouse.reports.figures.layer_panels import ratio_norm
from gatehouse.reports.marts import published
from gatehouse.reports.page.grids import ENTROPY_BINS, entropy_steps, frequency_steps
from gatehouse.reports.page.packing import packed, plain, script_json
from gatehouse.reports.page.payload import Links, payload
from gatehouse.reports.page.ranks import ranks
from gatehouse.reports.statistics import Mandelbrot
from tests.reports.made_up_findings import UNFITTED, with_findings
from tests.reports.made_up_page import made_up_page

DTYPES = {"u8": "<u1", "u16": "<u2", "u32": "<u4", "f64": "<f8"}


def unpacked(content: dict) -> np.ndarray:
    """Return what the page's script makes of packed numbers."""
    dtype = np.dtype(DTYPES[content["type"]])
    stored = np.frombuffer(base64.b64decode(content["data"]), dtype)
    if dtype.kind == "f":
        return stored / content["scale"]
    missing = stored == np.iinfo(dtype).max
    return np.where(missing, np.nan, stored / content["scale"])


@pytest.mark.parametrize(
    ("largest", "kind"), [(254, "u8"), (255, "u16"), (65_535, "u32"), (2**32 - 1, "f64")]
)
def test_whole_numbers_survive_packing(largest, kind):
    values = [0, 1, float("nan"), largest]
    content = packed(values)
    assert content["type"] == kind
    np.testing.assert_array_equal(unpacked(content), values)


def test_quantised_values_are_within_half_a_step():
    values = np.random.default_rng(0).uniform(0, 2, (3, 50))
    np.testing.assert_allclose(unpacked(packed(values, 1000)), values.ravel(), atol=0.0005)
    assert unpacked(packed([-1e-5], 1000)) == [0]


def test_json_holds_no_nan_and_no_markup():
    assert plain([np.nan, None, pd.NA, np.inf, 1.0, np.int64(3), True]) == [None] * 4 + [1, 3, True]
    text = script_json({"</script>": "<!--\u2028\u2029&"})
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {"</script>": "<!--\u2028\u2029&"}
    with pytest.raises(ValueError, match="JSON"):
        script_json([float("nan")])


def test_slider_steps_hold_the_reports_thresholds():
    assert frequency_steps(700, 30) == [0, 1, 2, 5, 10, 20, 30, 50, 100, 200, 500]
    assert frequency_steps(3, 50) == [0, 1, 2, 50]
    steps = entropy_steps(8, 0.33)
    assert steps[:8] == [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.33, 0.35]
    assert steps[-1] >= np.log(8) > steps[-2]
    assert 0.5 in entropy_steps(128, 0.5)


@pytest.mark.parametrize("shape", [(2, 400, 8), (1, 5, 2), (2, 300, 128)])
def test_any_setting_is_an_exact_sum_of_cells(shape):
    page = made_up_page(*shape)
    # values on the thresholds themselves are what rounding would get wrong
    page.marts.tokens.loc[::3, "mean_entropy"] = 0.5
    data = payload(page, Links())
    for place, (_, frame) in enumerate(page.marts.tokens.groupby("moe_index")):
        cells = {name: unpacked(content) for name, content in data["cells"][place].items()}
        width = len(data["steps"]["entropy"]) + 1
        row, column = np.divmod(cells["cell"], width)
        for i, over in enumerate(data["steps"]["frequency"]):
            for j, under in enumerate(data["steps"]["entropy"]):
                chosen = (row > i) & (column <= j)
                expected = frame[(frame["frequency"] > over) & (frame["mean_entropy"] < under)]
                assert cells["tokens"][chosen].sum() == len(expected)
                assert cells["occurrences"][chosen].sum() == expected["frequency"].sum()


def test_density_and_bins_count_every_token():
    page = made_up_page(2, 400)
    data = payload(page, Links())
    density, frame = data["density"], page.marts.tokens
    for place, layer in enumerate(density["layers"]):
        own = frame[frame["moe_index"] == place]
        assert unpacked(layer["tokens"]).sum() == len(own)
        assert unpacked(layer["occurrences"]).sum() == own["frequency"].sum()
        row = unpacked(layer["cell"]).astype(int) // ENTROPY_BINS
        assert row.max() < len(density["frequency"]) - 1
        assert sum(data["consistency"]["layers"][place]["tokens"]) == len(own)
        random = unpacked(data["consistency"]["layers"][place]["random"])
        assert np.nanmin(random) >= 1 / 8
        assert np.nanmax(random) <= 1


def test_the_tokens_values_are_the_marts_own():
    page = made_up_page(3, 200)
    tokens = payload(page, Links())["tokens"]
    frame = page.marts.tokens.set_index(["moe_index", "token_id"])
    for name, scale in (("mean_entropy", 1000), ("top_expert", 1), ("held_out_consistency", 1000)):
        matrix = unpacked(tokens[name]).reshape(3, -1)
        expected = [frame.loc[index].loc[tokens["id"], name] for index in range(3)]
        np.testing.assert_allclose(matrix, expected, atol=0.5 / scale)
    assert tokens["frequency_of"] == [0, 0, 0]
    np.testing.assert_array_equal(
        unpacked(tokens["frequency"][0]), frame.loc[0].loc[tokens["id"], "frequency"]
    )


def test_layers_that_read_different_tokens_keep_their_frequencies():
    page = made_up_page(2, 50)
    marts = page.marts
    missing = (marts.tokens["moe_index"] == 1) & (marts.tokens["token_id"] == 7)
    marts.tokens.drop(marts.tokens.index[missing], inplace=True)
    tokens = payload(page, Links())["tokens"]
    assert tokens["frequency_of"] == [0, 1]
    at = tokens["id"].index(7)
    assert np.isnan(unpacked(tokens["frequency"][1])[at])
    assert np.isnan(unpacked(tokens["mean_entropy"]).reshape(2, -1)[1, at])


def test_the_load_of_the_busiest_experts_adds_up():
    page = made_up_page(2, 60, 80)
    for index, shares in enumerate(payload(page, Links())["busiest"]):
        load = page.marts.expert_load
        own = load.loc[load["moe_index"] == index, "load_share"].sort_values(ascending=False)
        np.testing.assert_allclose(shares, own.cumsum(), atol=1e-6)


def test_pairs_keep_the_busiest_experts():
    page = made_up_page(2, 60, 80)
    data = payload(page, Links())
    pairs, load = data["coactivation"]["layers"][0], page.marts.expert_load
    busiest = load[load["moe_index"] == 0].nlargest(64, "load_share")["expert"]
    assert pairs["rows"] == pairs["columns"] == sorted(busiest)
    matrix = unpacked(pairs["probability"]).reshape(64, 64)
    assert np.isnan(np.diag(matrix)).all()
    first, last = data["transition"]["layers"]
    assert last is None
    assert first["columns"] != pairs["rows"]
    assert pairs["even"] == pytest.approx([1 / 79] * 64, rel=1e-5)
    expected = page.marts.transition.set_index(["expert", "next_expert"])
    ratios = unpacked(first["probability"]).reshape(64, 64) / first["even"]
    lifts = expected["lift"].unstack().loc[first["rows"], first["columns"]]
    np.testing.assert_allclose(ratios, lifts, atol=0.01)


def test_scales_are_the_print_figures_and_what_never_happened_is_0():
    page = made_up_page(2, 60, 8)
    never = page.marts.coactivation.index[[0, 3]]
    gone = page.marts.coactivation.loc[never, ["expert", "other_expert"]].to_numpy()
    page.marts.coactivation.drop(never, inplace=True)
    page.marts.domain_expert.drop(page.marts.domain_expert.index[5], inplace=True)
    data = payload(page, Links())
    pairs = unpacked(data["coactivation"]["layers"][0]["probability"]).reshape(8, 8)
    assert [pairs[expert, other] for expert, other in gone] == [0, 0]
    assert np.isnan(np.diag(pairs)).all()
    assert np.isfinite(pairs).sum() == 56
    assert unpacked(data["domains"]["layers"][0])[5] == 0
    frames = {"coactivation": page.marts.coactivation, "domains": page.marts.domain_expert}
    for name, (value, even) in {
        "coactivation": ("probability", "uniform_probability"),
        "domains": ("specialisation", "uniform_specialisation"),
    }.items():
        ratios = (frames[name][value] / frames[name][even]).to_numpy(dtype=float)
        assert data[name]["limit"] == ratio_norm([ratios]).vmax
    assert (
        data["load"]["limit"] == ratio_norm([page.marts.expert_load["load_ratio"].to_numpy()]).vmax
    )


def test_fitted_laws_are_drawn_where_they_are_defined():
    rank = np.arange(1, 2001)
    table = pd.DataFrame({"frequency": (90_000 / (rank + 4.0) ** 1.2).astype(int) + 1})
    assert [line["name"][:13] for line in ranks(table, UNFITTED)["lines"]] == ["Least squares"]
    law = Mandelbrot(shift=4.0, exponent=1.2, zipf_exponent=1.0, ratio=1.0, p_value=0.5)
    fit = replace(
        UNFITTED, alpha=1.83, alpha_error=0.02, rank_exponent=1.2, x_min=20, tail_tokens=900,
        p_value=0.4, replicates=100, mandelbrot=law, undefined=None,
    )  # fmt: skip
    drawn = ranks(table, fit)
    assert "power law with exponent 1.83 ± 0.02; goodness of fit p = 0.40" in drawn["note"]
    assert "goodness of fit p < 0.01 (" in ranks(table, replace(fit, p_value=0.0))["note"]
    _, mandelbrot, tail = (line["frequency"] for line in drawn["lines"])
    np.testing.assert_allclose(mandelbrot[:50], drawn["frequency"][:50], rtol=0.15)
    assert tail[-1] is None
    assert ranks(table, UNFITTED)["note"] == "No power law is fitted: fewer than 50 tokens."
    assert ranks(table.head(0), UNFITTED)["rank"] == []


def test_the_papers_repetition_stands_beside_the_papers_model_only():
    page = made_up_page(2, 60)

    def shown(model: str):
        other = replace(page, run=page.run | {"model": model})
        return payload(with_findings(other, page.findings), Links())["published"]

    assert shown("demo") is None
    found = shown("mistralai/Mixtral-8x7B-v0.1")
    assert found["layers"] == [0, 15, 31]
    wikipedia = published.MIXTRAL_REPETITION["Wikipedia"]["first_choice"]
    assert found["first_choice"][-1] == [share / 100 for share in wikipedia]
    assert len(found["first_or_second"]) == 8
