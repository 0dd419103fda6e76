"""Models by name: what is resolved, what is refused, and what a fingerprint notices."""

import json
import shutil

import pytest
import torch
from transformers import LlamaConfig, LlamaModel

from gatehouse.models.structure import download, route
from gatehouse.models.tokenizer import tokenizer_fingerprint, vocabulary
from gatehouse.models.zoo import resolve
from gatehouse.warehouse.errors import GatehouseError


@pytest.fixture
def folder(tiny_mixtral, tmp_path):
    return shutil.copytree(tiny_mixtral, tmp_path / "copy")


def test_the_bundled_model_is_the_default_by_name():
    plan = resolve("demo")
    assert (plan.name, plan.dtype, plan.quantization) == ("demo", "float32", "none")
    assert len(plan.sites) == 4 and {site.num_experts for site in plan.sites} == {8}


def test_resolving_reads_no_weights(folder):
    plan = resolve(str(folder))
    assert {parameter.device.type for parameter in plan.skeleton.parameters()} == {"meta"}


def test_the_fingerprint_follows_the_weights_and_the_config(folder):
    before = resolve(str(folder)).fingerprint
    assert resolve(str(folder)).fingerprint == before
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    after = resolve(str(folder)).fingerprint
    assert after != before
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-4}))
    assert resolve(str(folder)).fingerprint != after


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_load_in_the_precision_asked_for(folder, dtype):
    loaded = resolve(str(folder), dtype=dtype).load()
    assert {p.dtype for p in loaded.model.parameters()} == {getattr(torch, dtype)}
    assert not loaded.model.training


def test_a_pickled_checkpoint_is_refused(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    plan = resolve(str(folder))
    for use in (plan.load, lambda: plan.fingerprint, lambda: download(plan)):
        with pytest.raises(GatehouseError, match="pickled weights are not read"):
            use()


def test_a_damaged_checkpoint_is_one_line(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(
        GatehouseError, match=r"model\.safetensors is damaged or incomplete: fetch"
    ) as caught:
        resolve(str(folder)).load()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["no-such-model", "", "../../no-such", "../x", "a/b/c", "a--b/c", "a/b..c"]
)
def test_an_unknown_name_says_which_names_there_are(name, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")  # a folder beside the checkout may be called x
    with pytest.raises(GatehouseError, match=r"unknown model .*demo, mixtral, .*, a hub id"):
        resolve(name)


def test_a_folder_without_a_config_names_its_folders_that_have_one(folder, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "trainer_state.json").write_text("{}")
    with pytest.raises(GatehouseError, match="name what transformers"):
        resolve(str(tmp_path / "run"))
    folder.rename(tmp_path / "run" / "checkpoint-500")
    with pytest.raises(GatehouseError, match=r"name one of its folders that do: checkpoint-500$"):
        resolve(str(tmp_path / "run"))


def test_without_the_hub_a_model_of_the_hub_names_the_bundled_one():
    # HF_HUB_OFFLINE is set for the whole suite
    with pytest.raises(
        GatehouseError, match=r"HF_HUB_OFFLINE is set, .* use the bundled model `demo`"
    ):
        resolve("mixtral")


def test_a_dense_model_is_refused_before_its_weights_load(tmp_path):
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    LlamaModel(config).save_pretrained(tmp_path)
    with pytest.raises(GatehouseError, match="no MoE layers: Gatehouse reads"):
        resolve(str(tmp_path))


@pytest.mark.parametrize("dtype", ["int8", "fp16", ""])
def test_an_unknown_dtype_is_refused(folder, dtype):
    with pytest.raises(GatehouseError, match="unknown dtype"):
        resolve(str(folder), dtype=dtype)


def test_the_vocabulary_is_whole_and_knows_its_special_tokens():
    tokenizer = resolve("demo").tokenizer
    rows = vocabulary(tokenizer)
    assert [row["token_id"] for row in rows] == list(range(len(tokenizer)))
    assert [row["token_str"] for row in rows if row["is_special"]] == ["<s>", "</s>", "<pad>"]
    assert " the" in {row["token_str"] for row in rows}
    assert not any("\ufffd" in row["token_str"] for row in rows)


def test_added_tokens_are_special_where_they_are_marked_so(folder):
    """Chat templates add `<|im_start|>` so; no role such as the end of a text names it."""
    described = json.loads((folder / "tokenizer.json").read_text())
    marked = {"<|im_start|>": True, "<|im_end|>": True, "<think>": False}
    described["added_tokens"] += [
        dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized"], False)
        | {"id": 4096 + index, "content": token, "special": special}
        for index, (token, special) in enumerate(marked.items())
    ]
    (folder / "tokenizer.json").write_text(json.dumps(described))
    rows = vocabulary(resolve(str(folder)).tokenizer)
    found = {row["token_str"]: row["is_special"] for row in rows}
    assert found.items() >= marked.items()
    assert {token for token, special in found.items() if special} == {
        *("<s>", "</s>", "<pad>"),
        *(token for token, special in marked.items() if special),
    }


def test_the_tokenizer_fingerprint_follows_its_vocabulary(folder):
    tokenizer = resolve("demo").tokenizer
    before = tokenizer_fingerprint(tokenizer)
    tokenizer.add_tokens(["gatehouse-token"])
    assert tokenizer_fingerprint(tokenizer) != before


def test_a_local_model_is_not_downloaded(folder):
    assert download(resolve(str(folder))) == folder


def test_one_sentence_is_routed_token_by_token(folder):
    routed = route(resolve(str(folder)).load(), "Return the router.")
    assert "".join(token for token, _ in routed) == "<s>Return the router."
    assert all(len(layer) == 2 for _, layers in routed for layer in layers)
