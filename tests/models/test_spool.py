"""Routing in any order of windows, on disk or in memory, comes back in the lake's order."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.models import spool
from gatehouse.models.events import LayerRouting
from gatehouse.models.spool import Spool
from gatehouse.warehouse import events
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.records import EVENTS, TokenWindow
from tests.conftest import files_of_at_most


class Site:
    """A MoE layer, as far as its events need one."""

    def __init__(self, layer: int, top_k: int) -> None:
        self.layer, self.top_k = layer, top_k


SITES = [Site(1, 2), Site(3, 4)]


def routing(tokens: int, top_k: int, generator: np.random.Generator) -> LayerRouting:
    return LayerRouting(
        generator.integers(0, 60_000, (tokens, top_k), np.uint16),
        generator.random((tokens, top_k)).astype(np.float16),
        generator.random(tokens, np.float32),
        generator.random(tokens, np.float32),
    )


def some_windows(lengths: list[int], seed: int) -> list[TokenWindow]:
    """Return one window of each length, two a sample, in a random order."""
    generator = np.random.default_rng(seed)
    found, start = [], 0
    for index, length in enumerate(lengths):
        start = start + lengths[index - 1] if index % 2 else 0
        found.append(TokenWindow(index // 2, start, generator.integers(0, 99, length).tolist()))
    return [found[place] for place in generator.permutation(len(found))]


def rows_of(windows: list[TokenWindow], found: list[LayerRouting]) -> list[dict]:
    """Return the events of a batch, one by one."""
    rows = []
    for site, layer in zip(SITES, found, strict=True):
        row = 0
        for window in windows:
            for place, token_id in enumerate(window.token_ids):
                rows.append(
                    {
                        "sample_id": window.sample_id,
                        "position": window.start + place,
                        "token_id": token_id,
                        "layer": site.layer,
                        "experts": layer.experts[row].tolist(),
                        "weights": layer.weights[row].tolist(),
                        "top_expert": int(layer.experts[row, 0]),
                        "entropy": float(layer.entropy[row]),
                        "confidence": float(layer.confidence[row]),
                    }
                )
                row += 1
    return rows


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=12),
    st.integers(1, 5),
    st.integers(1, 40),
    st.sampled_from([1, 200, 10**6]),
    st.integers(0, 99),
)
def test_events_come_back_in_order_whatever_came_first(lengths, together, part, memory, seed):
    windows, expected = some_windows(lengths, seed), []
    generator = np.random.default_rng(seed)
    with pytest.MonkeyPatch.context() as patch, Spool(SITES) as held:
        patch.setattr(held._file, "_max_size", memory)
        patch.setattr(spool, "PART_ROWS", part)
        for start in range(0, len(windows), together):
            batch = windows[start : start + together]
            tokens = sum(len(window.token_ids) for window in batch)
            found = [routing(tokens, site.top_k, generator) for site in SITES]
            held.add(batch, found)
            expected += rows_of(batch, found)
        expected.sort(key=lambda row: (row["layer"], row["sample_id"], row["position"]))
        captured = held.events()
        assert captured.num_rows == len(expected)
        assert captured.table().equals(pa.Table.from_pylist(expected, schema=EVENTS))
        # a second time, and in full parts
        sizes = [piece.num_rows for piece in captured]
    tokens = len(expected) // 2
    assert sizes == [*[part] * (tokens // part), *[tokens % part][: tokens % part]] * 2


def test_nothing_added_gives_no_events():
    with Spool(SITES) as held:
        assert held.events().table().equals(EVENTS.empty_table())


def test_memory_holds_a_part_however_many_events_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "IN_MEMORY", 100_000)
    monkeypatch.setattr(spool, "PART_ROWS", 10_000)
    monkeypatch.setattr(events, "PART_ROWS", 10_000)
    layers = [Site(layer, 8) for layer in range(4)]
    window = TokenWindow(0, 0, np.arange(1_000, dtype=np.int32))
    found = [routing(1_000, 8, np.random.default_rng(0)) for _ in layers]
    tracemalloc.start()
    with Spool(layers, tmp_path) as held:
        for start in range(0, 200_000, 1_000):
            held.add([TokenWindow(0, start, window.token_ids)], found)
        events.write_events(tmp_path / "events.parquet", held.events())
        peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # 800,000 events of 40 bytes; a part of them twice or thrice
    assert peak < 4_000_000
    assert events.Events.in_file(tmp_path / "events.parquet").num_rows == 800_000
    assert [path.name for path in tmp_path.iterdir()] == ["events.parquet"]


def test_a_full_disk_is_one_line_that_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "IN_MEMORY", 1)
    found = [routing(5_000, site.top_k, np.random.default_rng(0)) for site in SITES]
    with Spool(SITES, tmp_path) as held:
        said = pytest.raises(GatehouseError, match=f"cannot write {tmp_path}: .*make room")
        with files_of_at_most(20_000), said:
            held.add([TokenWindow(0, 0, [1] * 5_000)], found)
    assert list(tmp_path.iterdir()) == []
