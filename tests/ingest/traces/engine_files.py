"""Traces as their engines write them, from one sequence."""

import base64
import gzip
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gatehouse.ingest.traces.formats import FORMATS
from gatehouse.ingest.traces.sequence import Layout, RoutedSequence


@dataclass(frozen=True)
class Routed:
    """What an engine routed: all tokens, [T + 1], the rows of all but the last, and the prompt."""

    tokens: np.ndarray
    experts: np.ndarray
    weights: np.ndarray
    prompt: int

    @property
    def layout(self) -> Layout:
        blocks, top_k = self.experts.shape[1:]
        return Layout(tuple(range(blocks)), blocks, (16,) * blocks, (top_k,) * blocks)

    @property
    def given_and_made(self) -> list[np.ndarray]:
        return np.split(self.tokens, [self.prompt])


def made_up(rows: int, layers: int, top_k: int, prompt: int = 2, seed: int = 0) -> Routed:
    """Return a sequence whose weights a half float holds, in descending order."""
    generator = np.random.default_rng(seed)
    experts = generator.random((rows, layers, 16)).argsort(-1)[..., :top_k]
    weights = np.sort(generator.integers(1, 64, (rows, layers, top_k)) / 64)[..., ::-1]
    return Routed(generator.integers(0, 50_000, rows + 1), experts, weights, prompt)


def read(format_name: str, path: Path, routed: Routed | None = None) -> list[RoutedSequence]:
    """Read a file with the layout of a sequence, of ROUTED where none is given."""
    return list(FORMATS[format_name].read([path], (routed or ROUTED).layout))


ROUTED = made_up(5, 3, 2)


def npy(array: np.ndarray) -> str:
    """Return an array as the base64 of an `.npy`."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return base64.b64encode(buffer.getvalue()).decode()


def int32(array: np.ndarray) -> str:
    """Return an array as the base64 of its integers."""
    return base64.b64encode(array.astype(np.int32).tobytes()).decode()


def lines(path: Path, *objects: Any) -> Path:
    """Write one JSON object a line."""
    path.write_text("".join(json.dumps(each) + "\n" for each in objects), encoding="utf-8")
    return path


def vllm_33(routed: Routed, folder: Path) -> Path:
    given, made = (ids.tolist() for ids in routed.given_and_made)
    choice = {
        "index": 0,
        "text": " a",
        "finish_reason": "length",
        "token_ids": made,
        "routed_experts": npy(routed.experts.astype(np.uint8)),
    }
    response = {"id": "group 7", "object": "text_completion", "prompt_token_ids": given}
    return lines(folder / "responses.jsonl", {**response, "choices": [choice]})


def vllm_21(routed: Routed, folder: Path) -> Path:
    given, made = (ids.tolist() for ids in routed.given_and_made)
    response = {
        "id": "group 7",
        "choices": [
            {"token_ids": made, "routed_experts": routed.experts[routed.prompt :].tolist()}
        ],
        "prompt_token_ids": given,
        "prompt_routed_experts": routed.experts[: routed.prompt].tolist(),
    }
    return lines(folder / "responses.jsonl", response)


def vllm_14(routed: Routed, folder: Path) -> Path:
    np.save(folder / "routed.npy", routed.experts.astype(np.int32))
    return folder / "routed.npy"


def vllm_npz(routed: Routed, folder: Path) -> Path:
    given, made = routed.given_and_made
    arrays = {"prompt_token_ids": given, "token_ids": made, "routed_experts": routed.experts}
    np.savez(folder / "routed.npz", **arrays)
    return folder / "routed.npz"


def sglang_generate(routed: Routed, folder: Path) -> Path:
    given, made = (ids.tolist() for ids in routed.given_and_made)
    meta = {
        "id": "group 7",
        "prompt_tokens": len(given),
        "completion_tokens": len(made),
        "input_token_logprobs": [[None, token, None] for token in given],
        "routed_experts": int32(routed.experts),
    }
    return lines(folder / "out.jsonl", {"text": " a", "output_ids": made, "meta_info": meta})


def sglang_openai(routed: Routed, folder: Path) -> Path:
    given, made = (ids.tolist() for ids in routed.given_and_made)
    ours = {"input_ids": given, "output_ids": [made], "routed_experts": int32(routed.experts)}
    choices = [{"index": 0, "message": {"role": "assistant", "content": " a"}}]
    return lines(folder / "out.jsonl", {"id": "group 7", "choices": choices, "sglext": ours})


def rollout(routed: Routed, experts: Any) -> dict[str, Any]:
    """Return a sample as slime and miles save it."""
    return {
        "group_index": 7,
        "tokens": routed.tokens.tolist(),
        "response_length": len(routed.tokens) - routed.prompt,
        "rollout_routed_experts": experts,
        "status": "completed",
        "reward": np.float64(0.5),
        "metadata": {"source": "a"},
    }


def r3_slime(routed: Routed, folder: Path) -> Path:
    import torch

    sample = rollout(routed, torch.from_numpy(routed.experts.astype(np.int32)))
    torch.save({"rollout_id": 0, "samples": [sample]}, folder / "0.pt")
    return folder / "0.pt"


def r3_miles(routed: Routed, folder: Path) -> Path:
    import torch

    sample = rollout(routed, routed.experts.astype(np.int32))
    torch.save({"rollout_id": 0, "metadata": {}, "samples": [sample]}, folder / "0.pt")
    return folder / "0.pt"


def flame(routed: Routed, folder: Path) -> Path:
    """Write two files of tokens, and layers in row groups that no window fits."""
    rows, layers, top_k = routed.experts.shape
    actives = folder / "actives" / "iter_0540"
    actives.mkdir(parents=True)
    (folder / "samples").mkdir()
    for number, ids in enumerate(np.array_split(routed.tokens[:rows].astype(np.int32), 2)):
        table = pa.table({"token_id": pa.array(ids)})
        pq.write_table(table, folder / "samples" / f"{number:03}.parquet")
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * top_k)
    for layer in range(layers):
        weights = routed.weights[:, layer].astype(np.float16).reshape(-1)
        experts = routed.experts[:, layer].astype(np.int16).reshape(-1)
        columns = {
            "scores": pa.ListArray.from_arrays(offsets, pa.array(weights)),
            "indices": pa.ListArray.from_arrays(offsets, pa.array(experts)),
        }
        path = actives / f"layer_{layer + 1:02}.parquet"
        pq.write_table(pa.table(columns), path, row_group_size=1_500)
    return folder


def plain_lists(routed: Routed, folder: Path) -> Path:
    return lines(folder / "plain.jsonl", _plain(routed, np.ndarray.tolist))


def plain_base64(routed: Routed, folder: Path) -> Path:
    path = folder / "plain.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(_plain(routed, npy)).encode()))
    return path


def _plain(routed: Routed, written: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    return {
        "token_ids": written(routed.tokens),
        "experts": written(routed.experts),
        "weights": written(routed.weights),
        "prompt_tokens": routed.prompt,
        "domain": "stories",
        "document": "group 7",
    }


def big_moe(routed: Routed, folder: Path) -> Path:
    """Write the prompt layer by layer, then token by token."""
    rows, layers, top_k = routed.experts.shape
    steps = [range(routed.prompt), *([step] for step in range(routed.prompt, rows))]
    text = [
        f"0,{int(step >= routed.prompt)},{step},{layer},{slot},"
        f"{routed.experts[step, layer, slot]},{routed.weights[step, layer, slot]:.9g},0,17\n"
        for of_pass in steps
        for layer in range(layers)
        for step in of_pass
        for slot in range(top_k)
    ]
    header = f"# route_trace v1\n# n_layer={layers}\n"
    columns = "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes\n"
    path = folder / "run.route.csv"
    path.write_text(header + columns + "".join(text))
    return path


def esft(routed: Routed, folder: Path) -> Path:
    """Write a line in a file of each layer."""
    domain = folder / "stories"
    domain.mkdir()
    for layer in range(routed.experts.shape[1]):
        ids = map(str, routed.experts[:, layer].ravel().tolist())
        weights = (f"{weight:.9g}" for weight in routed.weights[:, layer].ravel())
        text = "\t".join(ids) + "\t\t" + "\t".join(weights) + "\n"
        (domain / f"expert_weights_{layer}.txt").write_text(text)
    return domain


def warp(routed: Routed, folder: Path) -> Path:
    tokens = [{"tok": at, "layers": row.tolist()} for at, row in enumerate(routed.experts, 1)]
    return lines(folder / "trace.jsonl", *tokens)


WRITERS: dict[str, tuple[str, Callable[[Routed, Path], Path], str]] = {
    "vllm 0.33": ("vllm", vllm_33, "tokens prompt document"),
    "vllm 0.21": ("vllm", vllm_21, "tokens prompt document"),
    "vllm 0.14": ("vllm", vllm_14, ""),
    "vllm npz": ("vllm", vllm_npz, "tokens prompt"),
    "sglang generate": ("sglang", sglang_generate, "tokens prompt document"),
    "sglang openai": ("sglang", sglang_openai, "tokens prompt document"),
    "r3 slime": ("r3", r3_slime, "tokens prompt document"),
    "r3 miles": ("r3", r3_miles, "tokens prompt document"),
    "flame": ("flame", flame, "routed tokens weights"),
    "bigmoe": ("bigmoe", big_moe, "prompt weights"),
    "esft": ("esft", esft, "domain weights in any order"),
    "warp": ("warp", warp, ""),
    "jsonl lists": ("jsonl", plain_lists, "tokens prompt document domain weights"),
    "jsonl base64": ("jsonl", plain_base64, "tokens prompt document domain weights"),
}
"""A way to write a sequence: its format, what writes it, and what it carries beside experts."""
