"""What a checkpoint's files hold is what its config states, and all of it is loaded."""

import json
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM, BitsAndBytesConfig

from gatehouse.models.checkpoint.stored import check_precision
from gatehouse.models.structure import analyze, route
from gatehouse.models.zoo import resolve, versions
from gatehouse.warehouse.errors import GatehouseError

ATTENTION = "model.layers.1.self_attn"
UNNAMED = {"peft_type": "IA3", "base_model_name_or_path": None}
LORA = {"peft_type": "LORA", "base_model_name_or_path": "owner/base"}


@pytest.fixture
def folder(tiny_mixtral, tmp_path):
    return shutil.copytree(tiny_mixtral, tmp_path / "copy")


def add(folder, tensors):
    weights = load_file(folder / "model.safetensors") | tensors
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def describe(folder, **changes):
    described = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(described | changes))


def refusal(action):
    with pytest.raises(GatehouseError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "file",
    [
        *("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin", "adapter_0.pt"),
        *("adapters.safetensors", "pytorch_lora_weights.safetensors", "lora.safetensors"),
    ],
)
def test_an_adapter_beside_its_base_is_refused_by_name(folder, file):
    (folder / file).write_text(json.dumps(LORA))
    line = refusal(lambda: resolve(str(folder)))
    assert f"holds an adapter ({file})" in line and "remove the adapter's files" in line
    assert ("owner/base" in line) == (file == "adapter_config.json")


@pytest.mark.parametrize("config", [json.dumps(LORA), "{}", "[", "[]", "\xff", json.dumps(UNNAMED)])
def test_an_adapter_alone_names_its_base_where_its_config_does(tmp_path, config):
    (tmp_path / "adapter_config.json").write_text(config, encoding="latin-1")
    save_file({"lora_A.weight": torch.ones(1)}, tmp_path / "adapter_model.safetensors")
    line = refusal(lambda: resolve(str(tmp_path)))
    base = "owner/base" if "owner" in config else "its base"
    assert f"merge it into {base} with peft" in line and "remove" not in line


def test_a_config_that_describes_an_adapter_is_refused(folder):
    describe(folder, **LORA)
    line = refusal(lambda: resolve(str(folder)))
    assert "holds an adapter (config.json with peft_type)" in line and "into owner/base" in line


@pytest.mark.parametrize(
    "name",
    [
        f"{ATTENTION}.q_proj.lora_A.weight",
        f"{ATTENTION}.q_proj.lora_B.default.weight",
        f"base_model.model.{ATTENTION}.q_proj.weight",
        "model.layers.1.mlp.ia3_l.weight",
    ],
)
def test_weights_of_an_adapter_among_the_models_are_refused_by_name(folder, name):
    add(folder, {name: torch.ones(2)})
    line = refusal(resolve(str(folder)).load)
    assert f"holds an adapter ({name}, ...), which is not applied" in line


def test_files_that_are_no_adapter_of_this_model_do_not_matter(folder):
    (folder / "checkpoint-500").mkdir()
    for file in ("checkpoint-500/adapter_config.json", "exploration.bin", "adapter.md"):
        (folder / file).write_text(json.dumps(LORA))
    assert resolve(str(folder)).load()


@pytest.mark.parametrize(
    "name",
    [
        f"{ATTENTION}.q_proj.bias",
        f"{ATTENTION}.q_norm.weight",
        "model.layers.1.shared_expert.up_proj.weight",
        "model.layers.3.input_layernorm.weight",
        f"{ATTENTION}.q_proj.weight_scale",
    ],
)
def test_weights_that_the_model_does_not_take_are_refused_by_name(folder, name):
    add(folder, {name: torch.ones(2)})
    line = refusal(resolve(str(folder)).load)
    assert "holds 1 weights that the model of its config does not take" in line
    assert name.removeprefix("model.") in line


def test_what_is_beside_the_layers_that_are_read_may_be_left_over(folder):
    names = [
        *(
            "lm_head.bias",
            "language_model.lm_head.weight",
            "score.weight",
            "vision_tower.patch.weight",
            "mtp.layers.0.fc.weight",
        ),
        *(f"{ATTENTION}.rotary_emb.inv_freq", f"{ATTENTION}.k_scale", f"{ATTENTION}.bias"),
        f"{ATTENTION}.q_proj.input_scale",
        # a layer that guesses the next token but one, as DeepSeek-V3 has
        *("model.layers.3.eh_proj.weight", "model.layers.3.mlp.gate.weight"),
    ]
    add(folder, {name: torch.ones(2) for name in names})
    assert resolve(str(folder)).load()


def test_a_weight_of_another_shape_is_refused_by_name(folder):
    add(folder, {f"{ATTENTION}.q_proj.weight": torch.ones(32, 16)})
    line = refusal(resolve(str(folder)).load)
    assert "layers.1.self_attn.q_proj.weight is [32, 16], not [32, 32]" in line


def test_two_models_in_one_folder_are_refused(folder):
    shutil.copy(folder / "model.safetensors", folder / "model-00001-of-00001.safetensors")
    parts = dict.fromkeys(
        load_file(folder / "model.safetensors"), "model-00001-of-00001.safetensors"
    )
    index = {"metadata": {}, "weight_map": parts}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    line = refusal(resolve(str(folder)).load)
    assert "holds two models, model.safetensors and the 1 files of" in line
    (folder / "model.safetensors").unlink()
    assert resolve(str(folder)).load()


STATED = {
    "bitsandbytes 4bit": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "bitsandbytes 8bit": {"load_in_8bit": True},
    "fp8": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    "gptq": {"quant_method": "gptq", "bits": 4},
    "mxfp4": {"quant_method": "mxfp4"},
}


@pytest.mark.parametrize("stored", STATED)
def test_a_stale_quantization_config_is_one_line(folder, stored):
    """Merged QLoRA models keep that of their base; the weights are in 16 bits."""
    describe(folder, quantization_config=STATED[stored])
    line = refusal(resolve(str(folder)).load)
    assert f"in F32, but its config.json has a quantization_config that says {stored}," in line
    assert "remove quantization_config from config.json" in line


def test_an_empty_quantization_config_is_one_line(folder):
    describe(folder, quantization_config={})
    line = refusal(resolve(str(folder)).load)
    assert "an empty quantization_config in its config.json" in line and "remove it" in line


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        (f"{ATTENTION}.q_proj.weight", torch.float8_e4m3fn),
        (f"{ATTENTION}.q_proj.weight", torch.uint8),
        (f"{ATTENTION}.q_proj.weight", torch.int8),
        (f"{ATTENTION}.q_proj.qweight", torch.int32),
    ],
)
def test_quantised_weights_without_a_quantization_config_are_one_line(folder, name, dtype):
    add(folder, {name: torch.ones(32, 32).to(dtype)})
    line = refusal(resolve(str(folder)).load)
    assert name in line and "restore the config.json that came with them" in line


def test_a_format_that_transformers_does_not_know_is_one_line(folder):
    """transformers would read its numbers without their scales."""
    for described in ({"quant_method": "modelopt"}, {"bits": 4}):
        describe(folder, quantization_config=described)
        assert re.search(
            "stored in .*, which transformers does not", refusal(resolve(str(folder)).load)
        )


def test_a_format_whose_package_is_missing_names_both_ways_out(folder):
    describe(folder, quantization_config={"quant_method": "quanto", "weights": "int8"})
    add(folder, {f"{ATTENTION}.q_proj.weight": torch.ones(32, 32, dtype=torch.int8)})
    line = refusal(resolve(str(folder)).load)
    assert "a package that it needs is missing" in line and "pip install optimum-quanto" in line
    assert "stored in quanto, and its 16-bit version does without" in line


@pytest.mark.parametrize(
    ("error", "said"), [(MemoryError(), "does not fit this"), (OSError(5, "Input/output"), "name")]
)
def test_what_16_bits_would_not_change_does_not_name_them(folder, monkeypatch, error, said):
    describe(folder, quantization_config={"quant_method": "quanto", "weights": "int8"})
    add(folder, {f"{ATTENTION}.q_proj.weight": torch.ones(32, 32, dtype=torch.int8)})
    plan = resolve(str(folder))

    def fails(*_, **__):
        raise error

    monkeypatch.setattr(AutoModel, "from_pretrained", fails)
    line = refusal(plan.load)
    assert said in line and "16-bit" not in line


def test_weights_in_64_bits_are_not_quantised(folder):
    add(folder, {f"{ATTENTION}.q_proj.weight": torch.ones(32, 32, dtype=torch.float64)})
    assert resolve(str(folder)).load()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_a_checkpoint_stored_by_bitsandbytes_is_restored_and_recorded(
    tiny_mixtral, tmp_path, bits, dtype
):
    config = BitsAndBytesConfig(**{f"load_in_{bits}": True})
    model = AutoModelForCausalLM.from_pretrained(tiny_mixtral, quantization_config=config)
    folder = shutil.copytree(tiny_mixtral, tmp_path / "copy")
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder)
    plan = resolve(str(folder), dtype=dtype, device_map="cpu")
    assert (plan.quantization, plan.dtype) == (f"bitsandbytes {bits}", dtype)
    assert "bitsandbytes" in versions(plan.quantization) and "bits" not in versions("fp8")
    loaded = plan.load()
    assert {weight.dtype for weight in loaded.model.parameters()} == {getattr(torch, dtype)}
    assert route(loaded, "Return")
    full = load_file(tiny_mixtral / "model.safetensors")[f"{ATTENTION}.q_proj.weight"]
    restored = loaded.model.get_parameter("layers.1.self_attn.q_proj.weight").float()
    assert not torch.equal(restored, full)
    assert (restored - full).abs().max() < full.abs().max() / {"4bit": 2, "8bit": 100}[bits]


def test_weights_in_another_type_than_is_recorded_are_refused():
    model = torch.nn.Linear(2, 2, dtype=torch.bfloat16)
    check_precision("mixed", model, torch.bfloat16)
    with pytest.raises(GatehouseError, match="weight in bfloat16 where float32 was asked for"):
        check_precision("mixed", model, torch.float32)


def test_a_config_alone_has_a_structure_and_no_weights(folder):
    for path in folder.iterdir():
        if path.name != "config.json":
            path.unlink()
    plan = resolve(str(folder))
    assert "4 experts a layer, top-2, softmax" in str(analyze(plan.skeleton))
    assert "has no .safetensors file: convert" in refusal(plan.load)
