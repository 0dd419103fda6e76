"""What the page reads of its passages, and the hues of experts."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest

from gatehouse.reports.page.expert_hues import HUES, hues
from gatehouse.reports.page.html import ASSETS
from gatehouse.reports.page.matrices import MOST_TOKENS
from gatehouse.reports.page.passages import TEXT_BYTES, budget, colourings, passages
from gatehouse.reports.page.payload import Links, payload
from tests.reports.made_up_page import made_up_page
from tests.reports.made_up_texts import made_up_texts
from tests.reports.page.test_payload import unpacked


def test_the_numbers_are_those_of_the_routes():
    run = made_up_page(2, 90, 300, 3)
    texts = made_up_texts(run)
    content = payload(run, Links(), texts)["text"]
    tokens = texts.tokens
    found = [content["id"][int(word)] for word in unpacked(content["word"])]
    assert found == tokens["token_id"].to_list()
    assert [content["text"][int(word)] for word in unpacked(content["word"])] == tokens[
        "token_str"
    ].to_list()
    assert sum(each["shown"] for each in content["passages"]) == len(tokens)
    for place, layer in enumerate(content["layers"]):
        routes = texts.routes[texts.routes["moe_index"] == place]
        chosen = unpacked(layer["chosen"]).reshape(-1, 3)
        np.testing.assert_array_equal(chosen, np.stack(routes["experts"]))
        assert chosen.max() > 255
        weights = np.stack(routes["weights"])
        np.testing.assert_allclose(unpacked(layer["weights"]), weights.ravel(), atol=0.01)
        for name in ("entropy", "confidence"):
            np.testing.assert_allclose(unpacked(layer[name]), routes[name], atol=0.005)
        for name, column in (("shared", "shared"), ("first", "first_agrees")):
            np.testing.assert_array_equal(
                unpacked(layer[name]), routes[column].to_numpy(dtype=float)
            )
        assert set(unpacked(layer["hue"])) == set(range(HUES))


def test_a_weight_is_0_only_where_the_expert_did_not_run():
    run = made_up_page(1, 60)
    texts = made_up_texts(run, passages=1)
    texts.routes.at[0, "weights"] = [0.9999, 1e-5]
    texts.routes.at[1, "weights"] = [1.0, 0.0]
    layer = passages(texts, run.marts.layers, None, ranked=True)["layers"][0]
    weights = unpacked(layer["weights"]).reshape(-1, 2)
    assert weights[:2].tolist() == [[1, 0.01], [1, 0]]


def test_what_is_not_told_cannot_be_chosen():
    run = made_up_page(1, 60)
    texts = made_up_texts(run)
    every = passages(texts, run.marts.layers, None, ranked=True)
    assert len(colourings(every)) == 5
    bare = texts.routes.assign(
        weights=None, entropy=np.nan, confidence=np.nan, shared=np.nan, first_agrees=np.nan
    )
    texts.__dict__["routes"] = bare
    content = passages(texts, run.marts.layers, None, ranked=True)
    assert content["layers"][0].keys() == {"experts", "top_k", "hue", "chosen"}
    assert [name for name, _ in colourings(content)] == ["expert"]


def test_the_second_stack_may_lack_a_token():
    run = made_up_page(2, 60)
    texts = made_up_texts(run, passages=1)
    last = (texts.routes["moe_index"] == 1) & (texts.routes["position"] == 59)
    texts.__dict__["routes"] = texts.routes[~last]
    first, second = passages(texts, run.marts.layers, None, ranked=True)["layers"]
    assert not np.isnan(unpacked(first["chosen"])).any()
    assert np.isnan(unpacked(second["chosen"])).nonzero()[0].tolist() == [118, 119]


def test_the_budget_keeps_the_bytes():
    for layers, k in ((4, 2), (32, 2), (48, 8), (94, 8)):
        frame = pd.DataFrame({"top_k": [k] * layers})
        assert budget(frame) * layers * (2 * k + 4) <= TEXT_BYTES
        assert budget(frame) >= 200


def test_a_token_of_a_text_is_in_the_table_however_rare():
    run = made_up_page(1, MOST_TOKENS + 500)
    ranks = run.marts.frequency_rank
    rare = ranks["token_id"].iloc[-1]
    texts = made_up_texts(run)
    texts.tokens.loc[0, "token_id"] = rare
    tokens = payload(run, Links(), texts)["tokens"]
    assert len(tokens["id"]) == MOST_TOKENS and rare in tokens["id"]
    assert (tokens["others"], tokens["distinct"]) == (1, len(ranks))
    assert tokens["id"][:-1] == ranks["token_id"].iloc[: MOST_TOKENS - 1].to_list()


def test_few_experts_have_a_hue_each_and_many_are_grouped_by_company():
    assert hues(None, 5).tolist() == [0, 1, 2, 3, 4]
    random = np.random.default_rng(0)
    team = random.permutation(np.arange(256) % HUES)
    together = np.where(team[:, None] == team, 1.0, 0.01) * random.uniform(0.9, 1, (256, 256))
    np.fill_diagonal(together, 0)
    found = hues(together, 256)
    for one, other in itertools.product(range(0, 256, 5), repeat=2):
        assert (found[one] == found[other]) == (team[one] == team[other])
    # named by the smallest ids
    _, first = np.unique(found, return_index=True)
    assert list(first) == sorted(first)
    for nothing in (None, np.zeros((128, 128))):
        assert hues(nothing, 128).tolist() == sorted(hues(nothing, 128))


# Machado, Oliveira, Fernandes (2009), severity 1.0: what is seen without one kind of cone
VISIONS = {
    "all cones": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
# Ottosson (2020), from linear sRGB to OKLab
TO_CONES = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
]
TO_OKLAB = [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]


def linear(code: str) -> np.ndarray:
    encoded = np.array([int(code[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def colours() -> tuple[list[np.ndarray], np.ndarray]:
    style = (ASSETS / "page.css").read_text(encoding="utf-8")
    codes = re.findall(r"--hue-\d: (#\w{6})", style)
    assert len(codes) == HUES
    return [linear(code) for code in codes], linear(re.search(r"--on-hue: (#\w{6})", style)[1])


@pytest.mark.parametrize("vision", VISIONS)
def test_hues_are_told_apart_by_anyone(vision):
    """0.02 is about the least difference that is seen; a palette of Okabe and Ito has 0.02."""
    seen = [np.clip(np.array(VISIONS[vision]) @ each, 0, 1) for each in colours()[0]]
    lab = [np.array(TO_OKLAB) @ np.cbrt(np.array(TO_CONES) @ each) for each in seen]
    for one, other in itertools.combinations(lab, 2):
        assert np.linalg.norm(one - other) > 0.08


def test_words_are_read_on_every_hue():
    luminance = np.array([0.2126, 0.7152, 0.0722])
    found, ink = colours()
    for each in found:
        assert (luminance @ each + 0.05) / (luminance @ ink + 0.05) > 4.5
