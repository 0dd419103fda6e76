"""Any lawful shard may land; with a single change that breaks a law, none may."""

import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.events import Events
from gatehouse.warehouse.integrity import checked_events
from gatehouse.warehouse.records import CAPTURED, EVENTS, LAYERS, SAMPLES
from tests.warehouse.conftest import sample_row

HALVES = [1, 0.75, 0.5, 0.25, 0.125, 2.0**-24, 0.0]
"""Weights that float16 holds exactly."""

Shard = tuple[list[dict], list[dict], list[dict]]


@st.composite
def shards(draw) -> Shard:
    """Rows of events, samples and layers that keep every law; at least one token."""
    lengths = draw(st.lists(st.integers(0, 4), min_size=1, max_size=4).filter(any))
    first = draw(st.integers(0, 1000))
    samples = [sample_row(first + index, tokens) for index, tokens in enumerate(lengths)]
    layers = [
        draw(layer_rows(index, block))
        for index, block in enumerate(sorted(draw(st.sets(st.integers(0, 40), min_size=1))))
    ][:3]
    texts = {
        sample["sample_id"]: draw(
            st.lists(st.integers(0, 9), min_size=sample["tokens"], max_size=sample["tokens"])
        )
        for sample in samples
    }
    events = [
        draw(event_rows(layer))
        | {"layer": layer["layer"], "sample_id": sample_id}
        | {"position": position, "token_id": token_id}
        for layer in layers
        for sample_id, token_ids in texts.items()
        for position, token_id in enumerate(token_ids)
    ]
    for place, event in enumerate(events):
        # all different, so that no layer seems to give every token the same answer
        limit = math.log(layer_of(event, layers)["num_experts"])
        event["entropy"] = limit * place / max(len(events) - 1, 1)
    return events, samples, layers


@st.composite
def layer_rows(draw, index: int, block: int) -> dict:
    num_experts = draw(st.integers(2, 6))
    return {
        "layer": block,
        "moe_index": index,
        "stack": "decoder",
        "block": block,
        "router_path": f"layers.{block}.gate",
        "scoring": "softmax",
        "num_experts": num_experts,
        "top_k": draw(st.integers(1, min(num_experts, 3))),
        "weights_sum_to_one": False,
    } | CAPTURED


@st.composite
def event_rows(draw, layer: dict) -> dict:
    top_k = layer["top_k"]
    experts = draw(st.permutations(range(layer["num_experts"])))[:top_k]
    weights = draw(st.lists(st.sampled_from(HALVES), min_size=top_k, max_size=top_k))
    return {
        "experts": experts,
        "weights": sorted(weights, reverse=True),
        "top_expert": experts[0],
        "confidence": draw(st.floats(1 / layer["num_experts"], 1)),
    }


def layer_of(event: dict, layers: list[dict]) -> dict:
    return next(layer for layer in layers if layer["layer"] == event["layer"])


def check(shard: Shard) -> None:
    """Check the shard in chunks, as capture and slices of larger tables give them."""
    tables = [
        pa.Table.from_pylist(rows, schema=schema)
        for rows, schema in zip(shard, (EVENTS, SAMPLES, LAYERS))
    ]
    events = tables[0]
    middle = events.num_rows // 2
    chunked = pa.concat_tables([events.slice(0, middle), events.slice(middle)])
    parts = checked_events(Events.of(chunked), *tables[1:])
    assert pa.concat_tables([EVENTS.empty_table(), *parts]).equals(events)


@settings(max_examples=30)
@given(shards())
def test_lawful_shards_are_accepted(shard):
    check(shard)


NAN, INFINITY = float("nan"), float("inf")


def unlawful(event: dict, layer: dict, other: dict) -> dict[str, list]:
    """Column -> values that break a law in this event; `other` has another key."""
    experts, weights, beyond = event["experts"], event["weights"], layer["num_experts"]
    changed = {
        "sample_id": [None, -1, event["sample_id"] + 1, other["sample_id"], 10**12],
        "position": [None, event["position"] + 1, other["position"], 2**32 - 1],
        "token_id": [None, -1],
        "layer": [None, -1, event["layer"] + 1, other["layer"], 2**15 - 1],
        "experts": [
            None,
            [],
            experts[:-1],
            [*experts, beyond - 1],
            [*experts[:-1], None],
            [*experts[:-1], beyond],
            [*experts[:-1], 2**16 - 1],
            [experts[0]] * len(experts),
            experts[::-1],
        ],
        "weights": [
            None,
            [],
            weights[:-1],
            [*weights, 0],
            *([*weights[:-1], bad] for bad in (None, NAN, INFINITY, -INFINITY, -0.5)),
            [None, *weights[1:]],
            weights[::-1],
        ],
        "top_expert": [None, beyond, (event["top_expert"] + 1) % beyond],
        "entropy": [None, NAN, INFINITY, -INFINITY, -0.01, math.log(beyond) + 0.01],
        "confidence": [None, NAN, INFINITY, -INFINITY, 0, 1.01, 1 / beyond - 0.01, -1],
    }
    return {
        # reversing a list of one, or taking another event of the same sample, may change nothing
        column: [value for value in values if value != event[column]]
        for column, values in changed.items()
    }


def replaced(rows: list[dict], place: int, **values: object) -> list[dict]:
    return [*rows[:place], rows[place] | values, *rows[place + 1 :]]


@settings(max_examples=12)
@given(shards(), st.data())
def test_no_value_out_of_law_is_accepted(shard, data):
    events, samples, layers = shard
    places = st.integers(0, len(events) - 1)
    place, other = data.draw(places), data.draw(places)
    ways = unlawful(events[place], layer_of(events[place], layers), events[other])
    for column, values in ways.items():
        for value in values:
            refuse((replaced(events, place, **{column: value}), samples, layers), column, value)


def refuse(shard: Shard, *what: object) -> None:
    try:
        check(shard)
    except GatehouseError as error:
        assert str(error).startswith("refused to land a shard: ") and "\n" not in str(error), what
    else:
        pytest.fail(f"accepted: {what}")


def change_a_token(draw, shard: Shard) -> Shard:
    """One layer has another token than the others."""
    events, samples, layers = shard
    place = draw(st.integers(0, len(events) - 1))
    token_id = events[place]["token_id"] + 1
    return replaced(events, place, token_id=token_id), samples, layers


def drop(draw, shard: Shard) -> Shard:
    events, samples, layers = shard
    place = draw(st.integers(0, len(events) - 1))
    return events[:place] + events[place + 1 :], samples, layers


def duplicate(draw, shard: Shard) -> Shard:
    events, samples, layers = shard
    place, to = (draw(st.integers(0, len(events) - 1)) for _ in range(2))
    return [*events[:to], events[place], *events[to:]], samples, layers


def put_in_place_of_another(draw, shard: Shard) -> Shard:
    events, samples, layers = shard
    places = st.integers(0, len(events) - 1)
    place, to = draw(st.tuples(places, places).filter(lambda pair: pair[0] != pair[1]))
    return [*events[:to], events[place], *events[to + 1 :]], samples, layers


def swap(draw, shard: Shard) -> Shard:
    events, samples, layers = list(shard[0]), *shard[1:]
    places = st.integers(0, len(events) - 1)
    one, two = draw(st.tuples(places, places).filter(lambda pair: pair[0] != pair[1]))
    events[one], events[two] = events[two], events[one]
    return events, samples, layers


def change_a_sample(draw, shard: Shard) -> Shard:
    events, samples, layers = shard
    place = draw(st.integers(0, len(samples) - 1))
    tokens = samples[place]["tokens"]
    ways = [{"tokens": tokens + 1}, {"tokens": tokens - 1}, {"tokens": None}, {"sample_id": None}]
    if tokens:
        ways += [{"tokens": 0}, {"sample_id": 10**6}]
    return events, replaced(samples, place, **draw(st.sampled_from(ways))), layers


def double_a_sample(draw, shard: Shard) -> Shard:
    events, samples, layers = shard
    place = draw(st.integers(0, len(samples) - 1))
    return events, samples[: place + 1] + samples[place:], layers


def drop_a_sample(draw, shard: Shard) -> Shard:
    events, samples, layers = shard
    filled = [place for place, sample in enumerate(samples) if sample["tokens"]]
    place = draw(st.sampled_from(filled))
    return events, samples[:place] + samples[place + 1 :], layers


def turn_samples_around(draw, shard: Shard) -> Shard:
    events, samples, layers = shard
    return events, samples[::-1], layers


MUTATIONS = {
    drop: lambda events, samples, layers: True,
    duplicate: lambda events, samples, layers: True,
    put_in_place_of_another: lambda events, samples, layers: len(events) > 1,
    swap: lambda events, samples, layers: len(events) > 1,
    change_a_token: lambda events, samples, layers: len(layers) > 1,
    change_a_sample: lambda events, samples, layers: True,
    double_a_sample: lambda events, samples, layers: True,
    drop_a_sample: lambda events, samples, layers: True,
    turn_samples_around: lambda events, samples, layers: len(samples) > 1,
}
"""Single changes, and the shards that they change."""


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_no_single_change_is_accepted(mutate):
    @settings(max_examples=30)
    @given(shards().filter(lambda shard: MUTATIONS[mutate](*shard)), st.data())
    def refused(shard, data):
        refuse(mutate(data.draw, shard))

    refused()
