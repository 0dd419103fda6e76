"""The data of the expert cards: the numbers of their frames, whatever is missing or left out."""

import json

import numpy as np
import pytest

from gatehouse.reports.marts.untold import ENTROPY, EVENTS, ORDER, TOKEN_IDS, WEIGHTS
from gatehouse.reports.page.sections.card_budget import LAYER_BYTES, MOST_BYTES, SHORT
from gatehouse.reports.page.sections.cards import for_cards
from gatehouse.reports.statistics import discoveries
from tests.reports.made_up_cards import CONTEXTS, PLANTED, TOKENS
from tests.reports.made_up_page import made_up_page
from tests.reports.made_up_untold import untold_page
from tests.reports.page.test_payload import unpacked


def test_the_numbers_are_those_of_the_frames():
    run = made_up_page(2, 90, 20, 3)
    frames, content = run.marts.cards, for_cards(run)["cards"]
    judged = discoveries(frames.domains["z"])
    frames.domains["found"] = judged.found
    strings = frames.words.set_index("token_id")["token_str"]
    for place, layer in enumerate(content["layers"]):
        of_layer = frames.experts[frames.experts["moe_index"] == place]
        assert layer["expert"] == of_layer["expert"].to_list()
        assert layer["load_ratio"] == pytest.approx(of_layer["load_ratio"].to_list(), rel=1e-5)
        for row, expert in enumerate(layer["expert"]):

            def own(frame, place=place, expert=expert):
                return frame[(frame["moe_index"] == place) & (frame["expert"] == expert)]

            def shown(name, layer=layer, row=row):
                numbers = unpacked(layer[name]).reshape(len(layer["expert"]), -1)[row]
                return numbers[~np.isnan(numbers)]

            tokens = [content["tokens"]["id"][int(each)] for each in shown("token")]
            assert tokens == own(frames.tokens)["token_id"].to_list()
            np.testing.assert_allclose(shown("token_lift"), own(frames.tokens)["lift"], atol=0.005)
            neighbours = own(frames.neighbours)
            assert shown("neighbour").tolist() == neighbours["other_expert"].to_list()
            domains = own(frames.domains).set_index("domain").loc[content["domains"]]
            lift = np.exp2(domains["log2_lift"]).fillna(0)
            np.testing.assert_allclose(shown("domain_lift"), lift, atol=0.0005)
            np.testing.assert_allclose(shown("domain_z"), domains["z"].abs(), atol=0.005)
            assert shown("discovery").tolist() == domains["found"].to_list()
            contexts = own(frames.contexts)
            ids = np.concatenate([*contexts["token_ids"], []])
            words = [content["words"][int(each)] for each in shown("context")]
            assert words == strings[ids].to_list()
            before = contexts["tokens_before"].to_list()
            assert shown("context_before").tolist() == before and len(before) in (0, CONTEXTS)
    found = frames.domains[judged.found]
    assert set(zip(found["expert"], found["domain"], strict=True)) == {PLANTED}
    said = content["advice"][0]
    assert said.startswith(f"2 of the {judged.tests} tests of an expert and a domain are discov")


def test_a_random_router_is_said_to_have_no_speciality():
    run = made_up_page(1, 60)
    domains = run.marts.cards.domains
    domains.loc[domains["z"] == 9, "z"] = 0.5
    assert "None of the 24 tests" in for_cards(run)["cards"]["advice"][0]
    domains["z"] = np.nan
    content = for_cards(run)["cards"]
    assert "is not tested" in content["advice"][0]
    assert np.isnan(unpacked(content["layers"][0]["discovery"])).all()


def test_of_many_experts_the_busiest_have_cards_and_it_is_said():
    run = made_up_page(48, 300, 128, 8)
    content = for_cards(run)["cards"]
    for layer in content["layers"]:
        kept = len(layer["expert"])
        assert TOKENS < kept < 128
        assert layer["load_ratio"] == sorted(layer["load_ratio"], reverse=True)
        assert f"the {kept} busiest of up to 128" in content["advice"][1]
        assert len(unpacked(layer["token"])) == SHORT["tokens"] * kept
        assert len(unpacked(layer["context_sample"])) == SHORT["contexts"] * kept
    assert len(json.dumps(content)) < MOST_BYTES - 48 * LAYER_BYTES


@pytest.mark.parametrize(
    ("untold", "lists"),
    [
        ((WEIGHTS,), {"token", "neighbour", "context"}),
        ((ENTROPY,), {"token", "neighbour"}),
        ((ORDER,), {"token", "neighbour"}),
        ((TOKEN_IDS, ENTROPY), {"neighbour"}),
    ],
)
def test_what_the_source_does_not_tell_has_no_key(untold, lists):
    layer = for_cards(untold_page(*untold))["cards"]["layers"][0]
    assert {"token", "neighbour", "context"} & layer.keys() == lists
    assert (layer["half_tokens"] is None) == (TOKEN_IDS in untold)


def test_a_run_of_counts_has_no_cards():
    assert for_cards(untold_page(EVENTS)) == {}
