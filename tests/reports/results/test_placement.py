"""What `gatehouse placement` says of runs that tell less than all, and of layers that differ."""

import re

import duckdb
import pytest

from gatehouse.reports.results.placement import Machine, place
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths
from tests.reports.conftest import RUN, marts

LOADS = """
    create table fct_expert_load as
    select
        layer.run_id, layer.layer, layer.moe_index, expert.expert,
        10 * (1 + expert.expert) as selections
    from dim_layer as layer
    cross join (select unnest(range(8)) as expert) as expert;
    create table fct_expert_load_window as
    select load.*, part.load_window, part.split
    from fct_expert_load as load
    cross join (values (0, 'train'), (1, 'train'), (1, 'test')) as part (load_window, split)
"""


@pytest.fixture
def paths(tmp_path) -> Paths:
    """A run of two layers of 8 experts, expert e of which has e + 1 parts of the load."""
    paths = Paths(tmp_path)
    with duckdb.connect(str(paths.database)) as writer:
        for name in ("dim_run", "dim_layer", "fct_layer_routing"):
            writer.register("rows", marts(RUN, 2)[name])
            writer.execute(f"create table {name} as from rows")
            writer.unregister("rows")
        writer.execute(LOADS)
    return paths


def altered(paths: Paths, statement: str) -> None:
    with duckdb.connect(str(paths.database)) as writer:
        writer.execute(statement)


def rows(text: str) -> dict[str, list[str]]:
    """Return label -> the three numbers."""
    found = re.findall(r"^(.+?) +([\d.]+) +([\d.]+) +([\d.]+)$", text, re.M)
    return {label: numbers for label, *numbers in found}


def test_equal_parts_of_the_text_have_equal_balance(paths):
    """EPLB pairs 8 + 1, 7 + 2, …; in their order, the last GPU has 15 of 36 parts."""
    found = rows(place(None, Machine(gpus=4), paths, None))
    assert set(found) == {
        *("train split, all layers", "train split, worst layer"),
        *("held out, all layers", "held out, worst layer"),
        *("best of 2 windows of the text", "median window", "worst window"),
    }
    assert {(eplb, order) for eplb, order, _ in found.values()} == {("1.000", "0.600")}


def test_without_a_split_the_placement_learns_from_all(paths):
    altered(paths, "update fct_expert_load_window set split = 'test'")
    text = place(RUN, Machine(gpus=4), paths, None)
    assert "placed by all its text, as no split is known\nnothing is held out" in text
    assert set(rows(text)) >= {"all text, all layers", "median window"}


def test_counts_tell_of_no_window(paths):
    altered(paths, "truncate fct_expert_load_window; update dim_run set source = 'counts'")
    text = place(RUN, Machine(gpus=4), paths, None)
    assert "the counts tell of no part of the text: there are no windows" in text
    assert set(rows(text)) == {"all text, all layers", "all text, worst layer"}


def test_layers_of_different_sizes_are_refused(paths):
    altered(paths, "update dim_layer set num_experts = 4 where layer = 1")
    said = "has layers of 4 to 8 experts, .* query fct_expert_load_window with `gatehouse sql`"
    with pytest.raises(GatehouseError, match=said):
        place(RUN, Machine(), paths, paths.root / "x.json")
    assert not (paths.root / "x.json").exists()
