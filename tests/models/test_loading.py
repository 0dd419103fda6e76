"""Loading: devices, attention, stored formats, incomplete checkpoints, code from repositories."""

import json
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoTokenizer,
    GptOssConfig,
    GptOssForCausalLM,
    Qwen3OmniMoeConfig,
    dynamic_module_utils,
)

from gatehouse.models.loading import check_finite_weights
from gatehouse.models.structure import route, weight_bytes
from gatehouse.models.zoo import resolve
from gatehouse.warehouse.errors import GatehouseError
from tests.conftest import DEMO
from tests.models.families.builders import BUILDERS
from tests.models.tiny_remote import CONFIGURATION, MODELING


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    """A folder whose model class exists only in its own code: 2 layers of 4 experts."""
    folder = tmp_path_factory.mktemp("remote") / "tiny-remote"
    folder.mkdir()
    (folder / "configuration_tiny.py").write_text(CONFIGURATION)
    (folder / "modeling_tiny.py").write_text(MODELING)
    config = {
        "model_type": "tiny_remote",
        "auto_map": {
            "AutoConfig": "configuration_tiny.TinyRemoteConfig",
            "AutoModel": "modeling_tiny.TinyRemoteModel",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    generator = torch.Generator().manual_seed(0)
    shapes = {"embed_tokens.weight": (4096, 32)}
    for layer in range(2):
        shapes[f"layers.{layer}.gate.weight"] = (4, 32)
        for expert in range(4):
            shapes[f"layers.{layer}.experts.{expert}.0.weight"] = (64, 32)
            shapes[f"layers.{layer}.experts.{expert}.2.weight"] = (32, 64)
    weights = {name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    AutoTokenizer.from_pretrained(DEMO).save_pretrained(folder)
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("modules")
        patch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(cache))
        patch.setattr(sys, "path", [*sys.path])
        yield folder


def test_of_qwen_omni_the_thinker_is_loaded(tmp_path):
    """Published checkpoints hold three models, of which AutoModel knows the one that reads text."""
    thinker = BUILDERS["qwen3_omni_moe"]()
    thinker.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    named = {f"thinker.{key}": value for key, value in load_file(weights).items()}
    save_file(named, weights, metadata={"format": "pt"})
    Qwen3OmniMoeConfig(thinker_config=thinker.config.to_dict()).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(DEMO).save_pretrained(tmp_path)
    plan = resolve(str(tmp_path))
    loaded = plan.load().model
    assert len(plan.sites) == 3 and type(loaded) is type(thinker)
    assert all(
        torch.equal(value, thinker.state_dict()[key]) for key, value in loaded.state_dict().items()
    )


def test_code_from_a_repository_does_not_run_unless_asked_for(remote, tmp_path):
    folder = shutil.copytree(remote, tmp_path / "copy")
    code = folder / "configuration_tiny.py"
    code.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n{code.read_text()}")
    with pytest.raises(GatehouseError, match="needs --trust-remote-code: it runs code from"):
        resolve(str(folder))
    assert not (tmp_path / "ran").exists()
    assert len(resolve(str(folder), trust_remote_code=True).sites) == 2
    assert (tmp_path / "ran").exists()


def test_code_that_a_folder_lacks_is_named_whether_trusted_or_not(remote, tmp_path):
    """A config.json alone, as `--analyze-structure` takes it, may name code that is not there."""
    shutil.copy(remote / "config.json", tmp_path)
    for trusted in (False, True):
        with pytest.raises(GatehouseError, match=r"lacks configuration_tiny\.py, the code that"):
            resolve(str(tmp_path), trust_remote_code=trusted)


def test_a_model_of_its_own_code_loads_and_routes(remote):
    plan = resolve(str(remote), trust_remote_code=True)
    loaded = plan.load()
    assert type(loaded.model).__name__ == "TinyRemoteModel"
    assert {(site.num_experts, site.top_k) for site in plan.sites} == {(4, 2)}
    assert all(len(chosen) == 2 for _, layers in route(loaded, "Return") for chosen in layers)


def test_a_model_of_its_own_code_is_quantised_too(remote):
    loaded = resolve(str(remote), trust_remote_code=True, quantize="8bit").load()
    weights = 2 * 4 * 2 * 64 * 32
    assert weight_bytes(loaded.model)["experts"] == weights + 4 * weights // 256


def test_trusted_code_counts_in_the_fingerprint(remote, tmp_path):
    folder = shutil.copytree(remote, tmp_path / "copy")
    before = resolve(str(folder), trust_remote_code=True).fingerprint
    code = folder / "modeling_tiny.py"
    code.write_text(code.read_text() + "\n# another\n")
    assert resolve(str(folder), trust_remote_code=True).fingerprint != before


def test_mxfp4_is_restored_exactly_and_routes(tmp_path):
    """Gpt-oss as on the hub, against the format's definition (OCP MX 1.0, E2M1 and E8M0)."""
    config = GptOssConfig(
        vocab_size=4096,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        num_local_experts=4,
        num_experts_per_tok=2,
        initializer_range=0.3,
    )
    GptOssForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path)
    generator = torch.Generator().manual_seed(1)
    weights = load_file(tmp_path / "model.safetensors")
    for name in [name for name in weights if name.endswith(("experts.gate_up_proj", "down_proj"))]:
        experts, inputs, outputs = weights.pop(name).shape
        shape = (experts, outputs, inputs // 32)
        random = {"low": 0, "high": 256, "generator": generator, "dtype": torch.uint8}
        weights[f"{name}_blocks"] = torch.randint(size=(*shape, 16), **random)
        weights[f"{name}_scales"] = torch.randint(size=shape, **random | {"low": 122, "high": 126})
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    described = json.loads((tmp_path / "config.json").read_text())
    described["quantization_config"] = {"quant_method": "mxfp4"}
    (tmp_path / "config.json").write_text(json.dumps(described))
    AutoTokenizer.from_pretrained(DEMO).save_pretrained(tmp_path)
    loaded = resolve(str(tmp_path)).load()
    positive = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
    e2m1 = torch.tensor([*positive, *(-value for value in positive)])
    for layer, block in enumerate(loaded.model.layers):
        for name in ("gate_up_proj", "down_proj"):
            stored = f"model.layers.{layer}.mlp.experts.{name}"
            blocks, scales = weights[f"{stored}_blocks"], weights[f"{stored}_scales"]
            values = torch.stack([e2m1[(blocks & 15).int()], e2m1[(blocks >> 4).int()]], dim=-1)
            values = values.flatten(-2) * 2.0 ** (scales.float() - 127).unsqueeze(-1)
            expected = values.flatten(-2).transpose(1, 2)
            assert torch.equal(getattr(block.mlp.experts, name), expected)
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    assert all(len(chosen) == 2 for _, layers in route(loaded, "Return") for chosen in layers)


def test_a_checkpoint_that_lacks_weights_is_refused(tiny_mixtral, tmp_path):
    folder = shutil.copytree(tiny_mixtral, tmp_path / "copy")
    weights = load_file(folder / "model.safetensors")
    removed = [name for name in weights if "layers.1." in name and "q_proj" in name]
    for name in removed:
        del weights[name]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(GatehouseError, match=r"lacks 1 of its weights \(layers.1.self_attn.q_proj"):
        resolve(str(folder)).load()


@pytest.mark.parametrize("name", ["sdpa", "eager"])
def test_attention_is_computed_as_asked(tiny_mixtral, name):
    plan = resolve(str(tiny_mixtral), attn_implementation=name)
    assert plan.attention_implementation == name
    assert plan.load().model.config._attn_implementation == name


@pytest.mark.parametrize("name", ["sdpa_fast", "", "kernels-community/flash-attn", "paged|eager"])
def test_unknown_attention_and_downloaded_kernels_are_refused(tiny_mixtral, name):
    with pytest.raises(GatehouseError, match="unknown attention implementation"):
        resolve(str(tiny_mixtral), attn_implementation=name)


def test_attention_that_is_not_installed_is_refused(tiny_mixtral):
    with pytest.raises(GatehouseError, match="needs a GPU and its flash-attn package"):
        resolve(str(tiny_mixtral), attn_implementation="flash_attention_3")


def test_attention_that_a_family_does_not_have_is_refused(tmp_path):
    BUILDERS["switch_transformers"]().save_pretrained(tmp_path)
    with pytest.raises(GatehouseError, match="not run with --attn-implementation sdpa: leave it"):
        resolve(str(tmp_path), attn_implementation="sdpa")
    assert resolve(str(tmp_path)).attention_implementation == "eager"


@pytest.mark.parametrize("device_map", ["cuda:77", "meta", "tpu", "", "disk"])
def test_a_device_that_is_not_there_is_one_line(tiny_mixtral, device_map):
    with pytest.raises(GatehouseError, match="no such device here; there is cpu"):
        resolve(str(tiny_mixtral), device_map=device_map)


@pytest.mark.parametrize("device_map", ["cpu", "auto", "balanced", "sequential"])
def test_devices_change_nothing_but_where_weights_are(tiny_mixtral, device_map):
    text = "Return the router that sends each token."
    plan = resolve(str(tiny_mixtral), device_map=device_map, dtype="float32", quantize="none")
    expected = resolve(str(tiny_mixtral), device_map="cpu", dtype="float32").load()
    assert route(plan.load(), text) == route(expected, text)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_finite_weights_may_have_a_sum_that_is_not(dtype):
    """The sum is only a quick check: an expert whose sum overflows is checked in full."""
    largest = torch.finfo(dtype).max
    model = torch.nn.ParameterDict({"experts": torch.full((3, 4, 5), largest, dtype=dtype)})
    check_finite_weights("large", model)
    model["bias"] = torch.full((4,), -torch.inf)
    check_finite_weights("large", model)
    for value in (torch.nan, torch.inf, -torch.inf):
        with torch.no_grad():
            model["experts"][2, 1, 3] = value
        with pytest.raises(GatehouseError, match=r"'large' has NaN or infinity .*\(experts\)"):
            check_finite_weights("large", model)
