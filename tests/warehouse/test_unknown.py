"""What a source does not tell is null in every event of a layer, and nothing else is."""

import pyarrow as pa
import pytest

from gatehouse.warehouse.errors import BrokenLaw
from gatehouse.warehouse.events import Events
from gatehouse.warehouse.integrity import COLLAPSED_TOKENS, checked_events
from gatehouse.warehouse.records import EVENTS, LAYERS, SAMPLES
from tests.warehouse.conftest import sample_row

IDS_ONLY = {"has_weights": False, "has_distribution": False, "ranked": False}
RANKED = IDS_ONLY | {"ranked": True}
WEIGHTED = RANKED | {"has_weights": True}
UNKNOWN = {
    "has_weights": ["weights"],
    "has_distribution": ["entropy", "confidence"],
    "ranked": ["top_expert"],
}


def without(events: pa.Table, columns: list[str], layer: int | None = None) -> pa.Table:
    """Return the events with null in some columns, of one layer or of all."""
    rows = events.to_pylist()
    for row in rows:
        if layer in (None, row["layer"]):
            row |= dict.fromkeys(columns)
            if "top_expert" in columns:
                row["experts"] = sorted(row["experts"])
    return pa.Table.from_pylist(rows, schema=EVENTS)


def told(layers: pa.Table, flags: dict[str, bool]) -> pa.Table:
    return pa.Table.from_pylist([row | flags for row in layers.to_pylist()], schema=LAYERS)


def unknown(flags: dict[str, bool]) -> list[str]:
    return [column for flag, is_known in flags.items() if not is_known for column in UNKNOWN[flag]]


def check(events: pa.Table, samples: pa.Table, layers: pa.Table) -> None:
    parts = list(checked_events(Events.of(events), samples, layers))
    assert pa.concat_tables(parts).equals(events)


@pytest.mark.parametrize("flags", [IDS_ONLY, RANKED, WEIGHTED])
@pytest.mark.parametrize("tokens", [[], ["token_id"]])
def test_what_is_not_told_is_null(events, samples, layers, flags, tokens):
    check(without(events, unknown(flags) + tokens), samples, told(layers, flags))


@pytest.mark.parametrize("flags", [IDS_ONLY, RANKED, WEIGHTED])
def test_what_is_told_is_never_null(events, samples, layers, flags):
    """Neither more nor less than the layers' table says."""
    for column in unknown(flags):
        less = [each for each in unknown(flags) if each != column]
        with pytest.raises(BrokenLaw, match=f"{column} in some events, which its run does not"):
            check(without(events, less), samples, told(layers, flags))
        with pytest.raises(BrokenLaw, match=f"{column} is not finite|events without {column}"):
            check(without(events, [column]), samples, layers)


def test_token_ids_are_known_in_every_layer_or_in_none(events, samples, layers):
    with pytest.raises(BrokenLaw, match="layer 3 has other tokens than the first layer"):
        check(without(events, ["token_id"], layer=3), samples, layers)


def test_experts_without_an_order_are_in_that_of_their_ids(events, samples, layers):
    flags = told(layers, IDS_ONLY)
    nulls = pa.Table.from_pylist(
        [row | dict.fromkeys(unknown(IDS_ONLY)) for row in events.to_pylist()], schema=EVENTS
    )
    with pytest.raises(BrokenLaw, match="without an order are not in that of their ids"):
        check(nulls, samples, flags)


def test_weights_give_an_order(events, samples, layers):
    flags = told(layers, IDS_ONLY | {"has_weights": True})
    with pytest.raises(BrokenLaw, match="has weights, so its experts have an order"):
        check(without(events, ["entropy", "confidence", "top_expert"]), samples, flags)


@pytest.mark.parametrize("columns", [["token_id"], []])
def test_few_tokens_may_choose_alike_where_no_score_tells_more(layers, events, columns):
    """As many as chance does not explain are those of a dense layer, whatever is known of them."""
    (row,) = events.slice(0, 1).to_pylist()
    for tokens, fits in ((3, True), (COLLAPSED_TOKENS, False)):
        rows = [
            row | {"position": position, "token_id": position, "layer": layer}
            for layer in (1, 3)
            for position in range(tokens)
        ]
        alike = pa.Table.from_pylist(rows, schema=EVENTS)
        alike = without(alike, unknown(IDS_ONLY) + columns)
        samples = pa.Table.from_pylist([sample_row(0, tokens)], schema=SAMPLES)
        if fits:
            check(alike, samples, told(layers, IDS_ONLY))
        else:
            with pytest.raises(BrokenLaw, match="that is what dense layers look like"):
                check(alike, samples, told(layers, IDS_ONLY))
