"""What engines wrote comes back as it was."""

import itertools
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.ingest.traces import plain
from gatehouse.ingest.traces.formats import FORMATS
from gatehouse.ingest.traces.laws.fitted import fitted
from gatehouse.ingest.traces.sequence import Layout
from tests.ingest.traces.engine_files import (
    ROUTED,
    WRITERS,
    flame,
    int32,
    lines,
    made_up,
    npy,
    read,
    rollout,
)


@pytest.mark.parametrize("way", WRITERS)
@settings(max_examples=4, deadline=None)
@given(st.integers(2, 9), st.integers(1, 3), st.integers(1, 4), st.data())
def test_a_written_sequence_is_read_back(way, rows, layers, top_k, data):
    routed = made_up(rows, layers, top_k, data.draw(st.integers(1, rows)), rows)
    format_name, write, carried = WRITERS[way]
    with tempfile.TemporaryDirectory() as folder:
        (found,) = read(format_name, write(routed, Path(folder)), routed)
        np.testing.assert_array_equal(found.experts, routed.experts)
        has_tokens = "tokens" in carried
        tokens = routed.tokens[:rows] if "routed tokens" in carried else routed.tokens
        np.testing.assert_array_equal(found.token_ids, tokens if has_tokens else None)
        assert not has_tokens or found.token_ids.dtype == np.int32
        assert found.prompt_tokens == (routed.prompt if "prompt" in carried else None)
        assert found.document == ("group 7" if "document" in carried else None)
        assert found.domain == ("stories" if "domain" in carried else "")
        assert found.is_ordered == ("weights" in carried and "any order" not in carried)
        np.testing.assert_array_equal(
            found.weights, routed.weights if "weights" in carried else None
        )


def test_every_writer_is_of_a_format():
    assert {name for name, _, _ in WRITERS.values()} <= set(FORMATS)


def test_the_example_is_a_line_of_the_format(tmp_path):
    path = tmp_path / "one.jsonl"
    path.write_text(plain.example() + "\n\n" + plain.example())
    first, second = read("jsonl", path)
    assert (first.name, second.name) == ("one.jsonl:1", "one.jsonl:3")
    assert first.experts.shape == first.weights.shape == (3, 2, 2)
    assert (len(first.token_ids), first.prompt_tokens, first.document) == (3, 2, "a cat")


def test_choices_share_a_prompt(tmp_path):
    """vLLM 0.33 with n = 2 and an answer without a name."""
    both = [
        {"token_ids": [7, 8], "routed_experts": npy(ROUTED.experts[:4])},
        {"token_ids": [9], "routed_experts": npy(ROUTED.experts[:3])},
    ]
    path = lines(tmp_path / "a.jsonl", {"prompt_token_ids": [1, 2, 3], "choices": both})
    first, second = read("vllm", path)
    assert first.token_ids.tolist() == [1, 2, 3, 7, 8] and second.token_ids.tolist() == [1, 2, 3, 9]
    assert first.document == second.document == "a.jsonl:1"
    assert (first.name, second.prompt_tokens) == ("a.jsonl:1 choice 0", 3)


def test_what_vllm_made_stands_without_its_prompt(tmp_path):
    """0.21, of which only the choices were kept."""
    choice = {"token_ids": [7, 8, 9], "routed_experts": ROUTED.experts[:3].tolist()}
    path = lines(tmp_path / "a.jsonl", {"prompt_token_ids": [1, 2, 3], "choices": [choice]})
    (found,) = read("vllm", path)
    assert found.token_ids.tolist() == [7, 8, 9] and found.prompt_tokens == 0


def test_a_response_without_token_ids_has_the_length_of_its_prompt(tmp_path):
    response = {
        "usage": {"prompt_tokens": 4},
        "choices": [{"token_ids": [7], "routed_experts": npy(ROUTED.experts)}],
    }
    (found,) = read("vllm", lines(tmp_path / "a.jsonl", response))
    assert found.token_ids is None and found.prompt_tokens == 4


def test_a_saved_batch_of_sglang_is_a_line(tmp_path):
    one = {"output_ids": [5], "meta_info": {"prompt_tokens": 5}}
    one["meta_info"]["routed_experts"] = int32(ROUTED.experts)
    first, second = read("sglang", lines(tmp_path / "a.jsonl", [one, one]))
    assert (first.name, second.name) == ("a.jsonl:1.0", "a.jsonl:1.1")
    # the prompt's ids are not there
    assert first.token_ids is None and first.prompt_tokens == 5


SCORES = ("safetensors", "npz", "pt")


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
@pytest.mark.parametrize("suffix", SCORES)
def test_padding_never_comes_out(suffix, kind, tmp_path):
    """A batch of 3 rows and 4 tokens through 2 layers of 8 experts, padded left and right."""
    import torch

    scores = torch.randn(2, 12, 8, generator=torch.Generator().manual_seed(1))
    if kind == "probabilities":
        scores = scores.softmax(-1)
    mask = torch.tensor([[1, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 0]])
    ids = torch.arange(12).reshape(3, 4)
    path = _saved_scores(tmp_path / f"batch.{suffix}", scores, ids, mask)
    first, second = read("router-logits", path, made_up(2, 2, 2))
    assert first.token_ids.tolist() == [0, 1, 2] and second.token_ids.tolist() == [6, 7]
    assert second.experts.shape == (2, 2, 0)
    np.testing.assert_array_equal(second.logits, scores[:, 6:8].numpy())
    assert second.name == f"batch.{suffix} row 1"
    layout = Layout((0, 1), 2, (8, 8), (2, 2))
    found = fitted(second, layout)
    assert found.notes == (() if kind == "logits" else ("its scores are probabilities",))
    expected = scores[:, 6:8].softmax(-1) if kind == "logits" else scores[:, 6:8]
    np.testing.assert_allclose(found.confidence, expected.amax(-1).T, rtol=1e-5)


def _saved_scores(path, scores, ids, mask):
    import torch
    from safetensors.torch import save_file

    named = {f"router_logits.{number}": layer for number, layer in enumerate(scores)}
    batch = {"input_ids": ids, "attention_mask": mask}
    if path.suffix == ".safetensors":
        save_file({**named, **batch}, path)
    elif path.suffix == ".npz":
        np.savez(path, **{key: value.numpy() for key, value in {**named, **batch}.items()})
    else:
        # as transformers gives it, with a dense layer
        torch.save({"router_logits": (None, *scores), **batch}, path)
    return path


def test_bfloat16_and_the_padding_of_a_token(tmp_path):
    import torch
    from safetensors.torch import save_file

    scores = torch.randn(4, 8, generator=torch.Generator().manual_seed(1)).bfloat16()
    values = {
        "router_logits.0": scores,
        "input_ids": torch.tensor([[5, 6, 7, 0]]),
        "pad_token_id": torch.tensor(0),
    }
    save_file(values, tmp_path / "a.safetensors")
    (found,) = read("router-logits", tmp_path / "a.safetensors", made_up(2, 1, 2))
    assert found.token_ids.tolist() == [5, 6, 7]
    np.testing.assert_array_equal(found.logits[0], scores[:3].float().numpy())


def test_flame_is_cut_into_windows(tmp_path):
    routed = made_up(70_000, 1, 1)
    windows = read("flame", flame(routed, tmp_path) / "actives" / "iter_0540", routed)
    assert [len(window.experts) for window in windows] == [2_048] * 34 + [70_000 - 34 * 2_048]
    assert windows[33].name == "iter_0540 window 33"
    for part in ("experts", "weights", "token_ids"):
        whole = np.concatenate([getattr(window, part) for window in windows])
        expected = routed.tokens[:70_000] if part == "token_ids" else getattr(routed, part)
        np.testing.assert_array_equal(whole, expected)


def test_memory_does_not_grow_with_the_file(tmp_path):
    """Ten times the lines, and ten times the rows of an array."""
    line = {"experts": npy(np.zeros((2_000, 4, 4), np.int64))}
    peaks = []
    for times in (2, 20):
        lines(tmp_path / "a.jsonl", *itertools.repeat(line, times))
        np.save(tmp_path / "a.npy", np.zeros((times * 2_000, 4, 4), np.int64))
        tracemalloc.start()
        for name, path in (("jsonl", "a.jsonl"), ("vllm", "a.npy")):
            for _ in FORMATS[name].read([tmp_path / path], ROUTED.layout):
                pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_rollouts_of_a_group_are_a_document(tmp_path):
    import torch

    samples = [rollout(ROUTED, torch.from_numpy(ROUTED.experts)) for _ in range(2)]
    samples.append({**samples[0], "group_index": None})
    torch.save({"samples": samples}, tmp_path / "0.pt", _use_new_zipfile_serialization=False)
    found = read("r3", tmp_path / "0.pt")
    assert [each.document for each in found] == ["group 7", "group 7", None]
    assert found[1].name == "0.pt sample 1"
