"""What is no trace of its format is one line that names the file, the place and the way out."""

import base64
import collections
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gatehouse.warehouse.errors import GatehouseError
from tests.ingest.traces.engine_files import (
    ROUTED,
    flame,
    int32,
    lines,
    made_up,
    npy,
    plain_base64,
    read,
    rollout,
    sglang_generate,
    vllm_33,
)


def refusal(format_name, path, routed=None):
    with pytest.raises(GatehouseError) as refused:
        read(format_name, path, routed)
    message = str(refused.value)
    assert str(path) in message and "\n" not in message and ": " in message
    return message


def without_its_end(array: np.ndarray) -> str:
    """Return the base64 of an `.npy` whose header opens a bracket that nothing closes."""
    return base64.b64encode(base64.b64decode(npy(array)).replace(b"}", b" ", 1)).decode()


EXPERTS = ROUTED.experts.tolist()

PLAIN = {
    "[1, 2]": "line 1 item 0 is not a JSON object",
    '"text"': "line 1 is not a JSON object: write one JSON object a line",
    '{"experts": ': "line 1 is not JSON (Expecting value): write one JSON object a line",
    "[" * 100_000: "line 1 is not JSON (RecursionError)",
    '{"expert": [[[1]]]}': "line 1 has no `experts`: `gatehouse import --example jsonl`",
    '{"layers": [[1]]}': "line 1 has no `experts`, it looks like warp",
    '{"experts": [[1, 2]]}': "line 1 `experts` has the shape (1, 2): write tokens x layers",
    '{"experts": [[[1, 2]], [[1]]]}': "line 1 `experts` has rows of different lengths",
    '{"experts": [[[1.5]]]}': "line 1 `experts` holds float64, not integers",
    '{"experts": [[[true]]]}': "line 1 `experts` holds bool, not integers",
    '{"experts": [[["1"]]]}': "line 1 `experts` holds <U1, not integers",
    '{"experts": [[[null]]]}': "line 1 `experts` holds objects, not integers",
    '{"experts": [[[99999999999999999999]]]}': "line 1 `experts` holds objects, not integers",
    '{"experts": {"a": 1}}': "line 1 `experts` has the shape ()",
    '{"experts": "%%%"}': "line 1 `experts` is cut short or damaged base64",
    '{"experts": "AAAA"}': "line 1 `experts` is base64 of something else than an .npy",
    json.dumps({"experts": npy(ROUTED.experts)[:60]}): "is no readable .npy",
    json.dumps({"experts": without_its_end(ROUTED.experts)}): "is no readable .npy",
    json.dumps({"experts": npy(np.array([None]))}): "holds objects, which are not read",
    '{"experts": [[[1]]], "weights": [[[NaN]]]}': "line 1 `weights` holds NaN or infinity",
    '{"experts": [[[1]]], "weights": [[[1, 2]]]}': "`weights` of (1, 1, 2) for `experts` of (1, 1",
    '{"experts": [[[1]]], "weights": [[["a"]]]}': "line 1 `weights` holds <U1, not numbers",
    '{"experts": [[[1]]], "prompt_tokens": -1}': "line 1 `prompt_tokens` is -1: write a number",
    '{"experts": [[[1]]], "prompt_tokens": true}': "line 1 `prompt_tokens` is True",
    '{"experts": [[[1]]], "token_ids": [-1]}': "line 1 `token_ids` holds -1 to -1",
    '{"experts": [[[1]]], "token_ids": [4294967296]}': "a token id is 0 or more, below 2^31",
    '{"experts": [[[1]]], "domain": 3}': "line 1 `domain` is 3: write text",
    '{"experts": [[[1]]], "ordered": "no"}': "line 1 `ordered` is 'no': write true or false",
}


@pytest.mark.parametrize("line", PLAIN, ids=lambda line: line[:40])
def test_a_line_of_the_plain_format(line, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(line + "\n")
    assert PLAIN[line] in refusal("jsonl", path)


def of_vllm(**choice):
    return {"choices": [{"token_ids": [1, 2], "routed_experts": EXPERTS, **choice}]}


RESPONSES = [
    ("vllm", {"a": 1}, "line 1 is no response of vLLM: save the whole response"),
    ("vllm", {"choices": []}, "line 1 is no response of vLLM"),
    ("vllm", {"meta_info": {}}, "line 1 is no response of vLLM, it looks like sglang"),
    ("vllm", of_vllm(routed_experts=None), "line 1 choice 0 has no routing, as vLLM leaves it out"),
    ("vllm", of_vllm(routed_experts=npy(ROUTED.experts)[:-8]), "is no readable .npy"),
    ("vllm", of_vllm(routed_experts=int32(ROUTED.experts)), "SGLang's integers maybe"),
    ("vllm", of_vllm(token_ids=[1.5]), "choice 0 `token_ids` holds float64, not integers"),
    (
        "vllm",
        {**of_vllm(), "prompt_routed_experts": [[[1]]]},
        "has 1 layers x 1 experts for the prompt and 3 x 2 for what follows",
    ),
    (
        "vllm",
        {**of_vllm(routed_experts=None), "prompt_routed_experts": EXPERTS},
        "has no routing, as vLLM leaves it out of requests that it preempted",
    ),
    ("sglang", {"text": ""}, "line 1 has no `routed_experts` in `meta_info` or `sglext`"),
    ("sglang", of_vllm(), "`sglext`, it looks like vllm"),
    ("sglang", {"meta_info": {"routed_experts": "AAA"}}, "is cut short or damaged base64"),
    ("sglang", {"meta_info": {"routed_experts": "AAAA"}}, "has 3 bytes, which are no whole int32"),
    ("sglang", {"meta_info": {"routed_experts": npy(np.arange(6))}}, "name the format vllm"),
    ("sglang", {"meta_info": {"routed_experts": 5}}, "is int, not base64"),
    (
        "sglang",
        {"meta_info": {"routed_experts": int32(np.arange(7))}},
        "has 7 integers, which are no rows of 3 layers x 2 experts: name the model that was served",
    ),
    (
        "sglang",
        {"choices": [{}, {}], "sglext": {"routed_experts": int32(np.arange(6))}},
        "choice 0 shares one `routed_experts` with other choices: ask for one choice a request",
    ),
]


@pytest.mark.parametrize(("format_name", "response", "expected"), RESPONSES)
def test_a_response(format_name, response, expected, tmp_path):
    assert expected in refusal(format_name, lines(tmp_path / "a.jsonl", response))


@pytest.mark.parametrize(
    ("format_name", "name", "expected"),
    [
        ("vllm", "a.pkl", "is a pickle, which is not read, because reading one can run programs"),
        ("vllm", "a.parquet", "it looks like flame: vllm reads .jsonl"),
        ("vllm", "a.pt", "it looks like r3, router-logits or counts: vllm reads .jsonl"),
        ("vllm", "a.npy.gz", "is packed: unpack it"),
        ("vllm", "a.npy", "is no readable .npy or .npz"),
        ("r3", "a.jsonl", "it looks like jsonl, vllm or sglang: r3 reads .pt, .pth"),
        ("r3", "a.pt", "is no readable file of torch.save: copy or save it again"),
        ("router-logits", "a.csv", "it looks like bigmoe"),
        ("router-logits", "a.npz", "is no readable .npy or .npz"),
        ("router-logits", "a.safetensors", "is no readable safetensors file"),
        ("jsonl", "a.txt", "is no trace of jsonl: jsonl reads .jsonl, .ndjson, .json"),
        ("flame", "a.parquet", "is no folder of FLAME-MoE-Traces"),
    ],
)
def test_a_file_of_another_format(format_name, name, expected, tmp_path):
    (tmp_path / name).write_bytes(b"what this is, nobody knows")
    assert expected in refusal(format_name, tmp_path / name)


@pytest.mark.parametrize("format_name", ["vllm", "sglang", "r3", "router-logits", "jsonl"])
def test_a_folder(format_name, tmp_path):
    assert "is a folder: name the files in it" in refusal(format_name, tmp_path)


@pytest.mark.parametrize("write", [vllm_33, sglang_generate, plain_base64])
def test_a_file_that_was_cut_is_never_half_right(write, tmp_path):
    """At any byte of its last line, and of the last block of what packed it."""
    path = write(ROUTED, tmp_path)
    content = path.read_bytes()
    for length in range(1, len(content) - 1, len(content) // 7):
        path.write_bytes(content[:length])
        refusal({"responses": "vllm", "out": "sglang"}.get(path.stem, "jsonl"), path)


def test_arrays_of_objects_are_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([None]), allow_pickle=True)
    assert "holds objects, which are not read" in refusal("vllm", tmp_path / "a.npy")
    np.savez(tmp_path / "a.npz", routed_experts=np.array([None]))
    assert "holds objects, which are not read" in refusal("vllm", tmp_path / "a.npz")


def test_arrays_that_were_damaged(tmp_path):
    """The archive says that an array is encrypted; a header opens and never ends."""
    np.savez(tmp_path / "a.npz", routed_experts=ROUTED.experts)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 0x40
    (tmp_path / "a.npz").write_bytes(content)
    assert "is no readable .npy or .npz" in refusal("vllm", tmp_path / "a.npz")
    (tmp_path / "a.npy").write_bytes(base64.b64decode(without_its_end(ROUTED.experts)))
    assert "is no readable .npy or .npz" in refusal("vllm", tmp_path / "a.npy")


def test_a_damaged_array_that_is_called_objects(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, objects=ROUTED.experts)
    content = bytearray(path.read_bytes())
    content[content.index(ROUTED.experts.tobytes())] ^= 1
    path.write_bytes(content)
    assert "is no readable .npy or .npz (Bad CRC-32" in refusal("vllm", path)


def test_arrays_without_routing(tmp_path):
    np.savez(tmp_path / "a.npz", experts=ROUTED.experts)
    said = refusal("vllm", tmp_path / "a.npz")
    assert "holds the arrays experts, and no routed_experts" in said and "jsonl" not in said
    np.save(tmp_path / "a.npy", ROUTED.experts[0])
    assert "has the shape (3, 2)" in refusal("vllm", tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"rollout_routed_experts": None}, "sample 1 has no `rollout_routed_experts`: roll out"),
        ({"tokens": [1, 2, 3]}, "sample 1 has 3 tokens, 4 of them its response, and 5 rows"),
        ({"response_length": 7}, "sample 1 has 6 tokens, 7 of them its response"),
        ({"response_length": -1}, "sample 1 `response_length` is -1"),
    ],
)
def test_a_rollout(change, expected, tmp_path):
    import torch

    good = rollout(ROUTED, torch.from_numpy(ROUTED.experts))
    torch.save({"samples": [good, {**good, **change}]}, tmp_path / "a.pt")
    assert expected in refusal("r3", tmp_path / "a.pt")


def test_what_a_pickle_would_make_is_named_and_not_made(tmp_path):
    import torch

    torch.save({"samples": collections.deque()}, tmp_path / "a.pt")
    torch.save({"samples": [np.array([None])]}, tmp_path / "b.pt")
    torch.save([1], tmp_path / "c.pt")
    foreign = "which is not read, because that can run programs: save tensors, numbers and text"
    assert f"holds collections.deque, {foreign}" in refusal("r3", tmp_path / "a.pt")
    assert f"holds numpy.dtypes.ObjectDType, {foreign}" in refusal("r3", tmp_path / "b.pt")
    assert "is no rollout of slime or miles" in refusal("r3", tmp_path / "c.pt")
    torch.save({"router_logits": print}, tmp_path / "d.pt")
    assert foreign in refusal("router-logits", tmp_path / "d.pt")
    assert "is no dictionary" in refusal("router-logits", tmp_path / "c.pt")


SCORES = {
    "router_logits.0": np.zeros((6, 4), np.float32),
    "input_ids": np.arange(6).reshape(2, 3),
    "attention_mask": np.ones((2, 3), bool),
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"attention_mask": None}, "does not say which tokens are padding"),
        ({"attention_mask": np.ones((3, 2), int)}, "`input_ids` of (2, 3) and `attention_mask` of"),
        ({"attention_mask": np.ones(6, int)}, "`attention_mask` has the shape (6,)"),
        ({"router_logits.0": None}, "holds input_ids, attention_mask, and no `router_logits.0`"),
        ({"router_logits.0": np.zeros((5, 4))}, "layer 0 has scores of (5, 4) for 6 tokens"),
        ({"router_logits.0": np.full((6, 4), "a")}, "layer 0 has scores of (6, 4)"),
        ({"input_ids": np.full((2, 3), -1)}, "`input_ids` holds -1 to -1"),
    ],
)
def test_router_logits(change, expected, tmp_path):
    values = {key: value for key, value in {**SCORES, **change}.items() if value is not None}
    np.savez(tmp_path / "a.npz", **values)
    assert expected in refusal("router-logits", tmp_path / "a.npz")


def test_a_folder_of_flame(tmp_path):
    folder = flame(ROUTED, tmp_path / "model")
    iteration = folder / "actives" / "iter_0540"
    refused = refusal("flame", folder, made_up(2, 4, 2))
    assert "has the layers 1, 2, 3, and the model's MoE layers are 1, 2, 3, 4" in refused
    second = folder / "samples" / "001.parquet"
    tokens = second.read_bytes()
    second.unlink()
    assert "layer_01.parquet has 5 rows for 3 tokens in" in refusal("flame", folder)
    second.write_bytes(tokens[:-20])
    assert "is no readable Parquet file" in refusal("flame", folder)
    pq.write_table(pa.table({"token_id": [1.5, 2.5]}), second)
    assert "`token_id` is double with 0 nulls, not integers" in refusal("flame", folder)
    second.write_bytes(tokens)
    ragged = {"scores": [[0.5]] * 5, "indices": [[1]] * 4 + [[1, 2]]}
    pq.write_table(pa.table(ragged), iteration / "layer_01.parquet")
    assert "`indices` has rows of different lengths" in refusal("flame", folder)
    wider = {"scores": [[0.5, 0.2, 0.1]] * 5, "indices": [[1, 2, 3]] * 5}
    pq.write_table(pa.table(wider), iteration / "layer_01.parquet")
    assert "layer_02.parquet has 5 rows of 2 experts beside 5 rows of 3" in refusal("flame", folder)
    (folder / "actives" / "iter_0600").mkdir()
    assert "has iter_0540, iter_0600: name one of them, as" in refusal("flame", folder)
