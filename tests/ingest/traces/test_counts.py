"""Counts of experts come back as an engine wrote them, or are refused in a line."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGUFWriter

from gatehouse.ingest.traces.counts import read
from gatehouse.ingest.traces.sequence import Layout
from gatehouse.warehouse.errors import GatehouseError

LAYOUT = Layout(blocks=(1, 2), num_blocks=3, num_experts=(4, 4), top_k=(2, 2))
COUNTS = np.array([[5, 0, 2, 1], [2, 2, 2, 2]])
PARTS = ("gate", "up", "down")


def imatrix(
    folder: Path, counts: np.ndarray = COUNTS, parts: Sequence[str] = PARTS, blocks=LAYOUT.blocks
) -> Path:
    """Write counts [L, E] as llama-imatrix does."""
    tensors = {}
    for block, values in zip(blocks, counts, strict=True):
        for part in parts:
            name = f"blk.{block}.ffn_{part}_exps.weight"
            tensors[f"{name}.in_sum2"] = np.ones((len(values), 8))
            tensors[f"{name}.counts"] = values.reshape(-1, 1)
    return gguf(folder, tensors)


def gguf(folder: Path, tensors: dict[str, np.ndarray]) -> Path:
    path = folder / "imatrix.gguf"
    writer = GGUFWriter(path, "imatrix")
    writer.add_type("imatrix")
    for name, values in tensors.items():
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def recorded(folder: Path, counts: np.ndarray = COUNTS, steps: int = 3) -> Path:
    """Write counts [L, E], spread over so many steps, as SGLang's recorder does; 0: summed up."""
    path = folder / "expert_distribution_recorder_1.5.pt"
    every = np.concatenate([np.zeros_like(counts[:1]), counts])
    shares = [every // max(steps, 1)] * max(steps - 1, 0)
    of_steps = np.stack([*shares, every - sum(shares)]).astype(np.int32)
    counts_of_layers = torch.from_numpy(of_steps if steps else of_steps[0])
    torch.save({"rank": 0, "logical_count": counts_of_layers}, path)
    return path


@pytest.mark.parametrize(
    "write",
    [
        imatrix,
        lambda folder: imatrix(folder, parts=("gate_up", "down")),
        recorded,
        lambda folder: recorded(folder, steps=0),
    ],
)
def test_written_counts_are_read_back(write, tmp_path):
    found = read([write(tmp_path)], LAYOUT)
    np.testing.assert_array_equal(found.selections, COUNTS)
    assert found.note == "" and {each.dtype for each in found.selections} == {np.dtype(np.int64)}


def test_files_add_up(tmp_path):
    found = read([imatrix(tmp_path), recorded(tmp_path, COUNTS[::-1])], LAYOUT)
    np.testing.assert_array_equal(found.selections, COUNTS + COUNTS[::-1])


def test_layers_that_count_other_tokens_are_said(tmp_path):
    counts = COUNTS - [[0, 0, 0, 0], [1, 0, 0, 0]]
    assert (
        "1 layer of 2, the first with 7 selections in block 2 where the busiest layer would have 8"
    ) in read([imatrix(tmp_path, counts)], LAYOUT).note


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (
            [[5, 0, 1, 1], [2, 2, 2, 1]],
            "the layers count no whole number of tokens: 7 selections in block 1, where each token "
            "makes 2;",
        ),
        (
            [[5, 0, 1, 1], [2, 2, 1, 1]],
            "1 layer of 2, the first with 6 selections in block 2 where the busiest layer would "
            "have 7;",
        ),
    ],
)
def test_half_a_token_is_said_and_no_layer_is_less_than_itself(counts, said, tmp_path):
    assert said in read([imatrix(tmp_path, np.array(counts))], LAYOUT).note


def changed(layer: int, expert: int, value: float) -> np.ndarray:
    counts = COUNTS.astype(np.float64)
    counts[layer, expert] = value
    return counts


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (changed(0, 1, -1), "block 1 has counts that are no whole numbers of 0 or more"),
        (changed(1, 1, 0.5), "block 2 has counts that are no whole numbers"),
        (changed(1, 1, np.nan), "block 2 has counts that are no whole numbers"),
        (changed(1, 1, np.inf), "block 2 has counts that are no whole numbers"),
        (COUNTS * [[0], [1]], "block 1 has no selections of any expert"),
        (COUNTS[:, :3], "block 1 has 3 counts, and the model 4 experts; give the --model"),
    ],
)
def test_an_imatrix_that_breaks_a_law_is_refused(counts, said, tmp_path):
    with pytest.raises(GatehouseError, match=said):
        read([imatrix(tmp_path, counts)], LAYOUT)


def test_an_imatrix_of_other_blocks_is_refused(tmp_path):
    with pytest.raises(GatehouseError, match="has no counts of the experts of block 1; give the"):
        read([imatrix(tmp_path, blocks=(0, 2))], LAYOUT)


def test_matrices_of_an_expert_that_count_differently_are_refused(tmp_path):
    path = gguf(
        tmp_path,
        {
            f"blk.1.ffn_{part}_exps.weight.counts": COUNTS[0] + plus
            for part, plus in (("gate", 0), ("up", 1))
        },
    )
    with pytest.raises(GatehouseError, match=r"ffn_gate_exps.* and .*ffn_up_exps.* differ"):
        read([path], LAYOUT)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("imatrix.dat", b"\1\0\0\0", "legacy format, .* `llama-imatrix --output-format gguf`"),
        ("a.gguf", b"", "no readable GGUF file: copy or make it again"),
        ("a.gguf", b"GGUF" + bytes(40), "no readable GGUF file"),
        ("a.csv", b"", "no trace of counts, it looks like bigmoe: counts reads .gguf, .pt"),
        ("a.pt", b"none", "no readable file of torch.save"),
        ("a.gguf.gz", b"none", "is packed: unpack it"),
    ],
)
def test_other_files_are_refused_by_name(name, content, said, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(GatehouseError, match=said):
        read([path], LAYOUT)


def test_an_imatrix_that_was_cut_off_is_refused(tmp_path):
    path = imatrix(tmp_path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(GatehouseError, match="no readable GGUF file"):
        read([path], LAYOUT)


def test_a_gguf_without_experts_is_refused(tmp_path):
    with pytest.raises(GatehouseError, match="has no counts of experts, as a model has none"):
        read([imatrix(tmp_path, parts=())], LAYOUT)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"rank": 0}, r"has no logical_count \[steps, layers, experts\]"),
        ({"logical_count": torch.ones(4)}, "has no logical_count"),
        ({"logical_count": torch.ones(5, 2, 4)}, "has 2 layers, and the model 3 blocks"),
        ({"logical_count": torch.ones(5, 3, 4)}, "has selections in block 0, which has no experts"),
        ({"logical_count": -torch.ones(5, 3, 4)}, "has counts below 0"),
    ],
)
def test_a_recording_that_breaks_a_law_is_refused(content, said, tmp_path):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(GatehouseError, match=said):
        read([tmp_path / "a.pt"], LAYOUT)


def test_blocks_with_two_moe_layers_are_refused(tmp_path):
    twice = Layout(blocks=(1, 1), num_blocks=3, num_experts=(4, 4), top_k=(2, 2))
    with pytest.raises(GatehouseError, match="two MoE layers in one block"):
        read([imatrix(tmp_path)], twice)
