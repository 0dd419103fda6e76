"""The real traces of ../shared/traces, where they are: what is read is what was published."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from gatehouse.ingest.traces.formats import FORMATS
from gatehouse.ingest.traces.laws.fitted import Fitted, fitted
from gatehouse.ingest.traces.sequence import Layout

TRACES = Path(__file__).resolve().parents[4] / "shared" / "traces"

pytestmark = pytest.mark.skipif(not TRACES.is_dir(), reason="the real traces are not here")


def layout(blocks: Iterable[int], num_experts: int, top_k: int) -> Layout:
    blocks = tuple(blocks)
    return Layout(blocks, blocks[-1] + 1, (num_experts,) * len(blocks), (top_k,) * len(blocks))


def read(name: str, path: str, of_model: Layout) -> list[Fitted]:
    sequences = FORMATS[name].read([TRACES / path], of_model)
    return [fitted(sequence, of_model) for sequence in sequences]


def reuse(experts: np.ndarray) -> float:
    """Return the share of a token's experts [T, L, k] that were the previous token's."""
    same = experts[1:, :, :, None] == experts[:-1, :, None]
    return float(same.any(axis=3).mean())


def coverage(experts: np.ndarray) -> float:
    """Return the share of choices that go to the k most chosen experts of each layer."""
    top_k = experts.shape[2]
    counts = [np.sort(np.bincount(layer.ravel()))[::-1] for layer in experts.swapaxes(0, 1)]
    return float(np.mean([count[:top_k].sum() / count.sum() for count in counts]))


@pytest.mark.parametrize(
    ("name", "of_model", "top_k", "prompt", "decoded", "published"),
    [
        ("qwen", layout(range(48), 128, 8), 6, 28, 128, (38.0, 37.6, 64)),
        ("gptoss", layout(range(36), 128, 4), 2, 85, 64, (17.9, 26.7, 36)),
    ],
)
def test_big_moe_on_edge(name, of_model, top_k, prompt, decoded, published):
    (found,) = read("bigmoe", f"bigmoeonedge/{name}.route.csv", of_model)
    # llama.cpp routes only the last token of a prompt in the last layer
    assert found.experts.shape == (1 + decoded, len(of_model.blocks), top_k)
    assert found.prompt_tokens == 1 and found.token_ids is None
    assert f"did not route its first {prompt - 1} tokens" in found.notes[0]
    assert f"{top_k} experts a token where the model's config says" in found.notes[1]
    np.testing.assert_allclose(found.weights.sum(axis=2), 1, atol=1e-5)
    of_decoded = found.experts[1:]
    distinct = np.mean([len(np.unique(layer)) for layer in of_decoded.swapaxes(0, 1)])
    # the first decoded token has no previous one, and is left out of the static share too
    numbers = 100 * reuse(of_decoded), 100 * coverage(of_decoded[1:])
    assert (*np.round(numbers, 1), round(distinct)) == published


def test_esft():
    found = read("esft", "esft-intent", layout(range(1, 27), 64, 6))
    assert (len(found), sum(len(each.experts) for each in found)) == (127, 8222)
    assert all(each.domain == "esft-intent" and each.is_ordered for each in found)
    experts, weights = (
        np.concatenate([getattr(each, name) for each in found]) for name in ("experts", "weights")
    )
    assert experts.shape == (8222, 26, 6)
    scores = json.loads((TRACES / "esft-intent" / "summary.json").read_text())
    for kind, values in (("token_scores", np.full(weights.shape, 1 / 6)), ("gate_scores", weights)):
        for index in range(26):
            chosen = experts[:, index].ravel(), values[:, index].ravel().astype(float)
            share = np.bincount(chosen[0], chosen[1], 64) / 8222
            published = [scores[kind][str(index + 1)][str(expert)] for expert in range(64)]
            np.testing.assert_allclose(share, published, atol=0.5001e-4)


def test_warp():
    (found,) = read("warp", "warp/trace_olmoe_299.jsonl", layout(range(16), 64, 8))
    assert found.experts.shape == (299, 16, 8)
    assert (found.prompt_tokens, found.weights, found.is_ordered) == (None, None, False)
    assert round(100 * reuse(found.experts), 1) == 43.5
