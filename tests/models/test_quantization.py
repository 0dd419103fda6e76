"""Quantisation: what is quantised, what is not, and that nothing else changes the routing."""

import copy
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModel

from gatehouse.models.batches import pad
from gatehouse.models.capture import RoutingTap
from gatehouse.models.families import text_part
from gatehouse.models.loading import choose_quantization
from gatehouse.models.quantization import BLOCK, Blockwise, quantizable, quantize_parameter
from gatehouse.models.quantizer import BlockwiseConfig, BlockwiseQuantizer
from gatehouse.models.routers import find_sites
from gatehouse.models.structure import planned_bytes, weight_bytes
from gatehouse.models.zoo import resolve
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.records import TokenWindow
from tests.models.families.builders import BUILDERS

WINDOWS = [TokenWindow(0, 0, list(range(5, 45))), TokenWindow(1, 0, list(range(900, 925)))]
STACKED = ("gate_up_proj", "down_proj")
SHAPES = {"mixtral", "gpt_oss", "dbrx", "jetmoe", "llama4", "switch_transformers"}
"""Families that hold experts differently: stacked, transposed with biases, flat in a submodule,
looped over, dense, and as separate modules."""


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads slow tiny tensors down, and other tests may be using them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=list(BLOCK))
def quantization(request):
    return request.param


@pytest.fixture(scope="module")
def full(tiny_mixtral):
    return resolve(str(tiny_mixtral)).load().model


@pytest.fixture(scope="module")
def quantized(tiny_mixtral, quantization):
    return resolve(str(tiny_mixtral), quantize=quantization).load().model


def weight(model: nn.Module, name: str) -> torch.Tensor:
    """Return a parameter by its full name, restored if it is quantised."""
    path, _, last = name.rpartition(".")
    return getattr(model.get_submodule(path), last).detach()


def stored(model: nn.Module) -> set[str]:
    """Return the names of the parameters that a loaded model holds quantised."""
    names = [name for name, _ in model.named_parameters() if name.endswith(".original0")]
    return {name.replace("parametrizations.", "").removesuffix(".original0") for name in names}


def reference(values: torch.Tensor, quantization: str) -> torch.Tensor:
    """Return values quantised and restored in one piece by bitsandbytes itself."""
    from bitsandbytes import functional

    if quantization == "4bit":
        return functional.dequantize_4bit(*functional.quantize_4bit(values, quant_type="nf4"))
    return functional.dequantize_blockwise(*functional.quantize_blockwise(values, blocksize=256))


def test_all_experts_and_attention_are_quantised_and_nothing_else(quantized):
    experts = {f"layers.{i}.mlp.experts.{name}" for i in range(3) for name in STACKED}
    attention = {f"layers.{i}.self_attn.{name}_proj.weight" for i in range(3) for name in "qkvo"}
    assert stored(quantized) == experts | attention
    assert sum(weight(quantized, name).numel() for name in experts) == 3 * 4 * 3 * 32 * 48


def test_routers_embeddings_and_norms_stay_bit_for_bit(full, quantized):
    left = {name: each for name, each in quantized.named_parameters() if ".original" not in name}
    assert {name for name in left if "gate" in name} == {
        f"layers.{layer}.mlp.gate.weight" for layer in range(3)
    }
    for name, parameter in left.items():
        assert torch.equal(parameter, weight(full, name)), name


def test_restored_weights_differ_by_the_quantisation_error_alone(full, quantized, quantization):
    for name in stored(quantized):
        original, restored = weight(full, name), weight(quantized, name)
        assert torch.equal(restored, reference(original, quantization)), name
        assert not torch.equal(restored, original)


@pytest.mark.parametrize("implementation", ["grouped_mm", "eager"])
def test_routing_is_that_of_the_full_model_with_the_restored_weights(
    full, quantized, implementation
):
    """It differs from the original's routing, and equals the twin's bit for bit."""
    twin = copy.deepcopy(full)
    for name in stored(quantized):
        path, _, last = name.rpartition(".")
        setattr(twin.get_submodule(path), last, nn.Parameter(weight(quantized, name)))
    found = []
    for model in (quantized, twin, full):
        model.config._experts_implementation = implementation
        with RoutingTap(model) as tap:
            found.append(tap.run(*pad(WINDOWS)))
    for layer, of_twin in zip(found[0], found[1]):
        for field in ("experts", "weights", "entropy", "confidence"):
            assert (getattr(layer, field) == getattr(of_twin, field)).all()
    assert any((a.entropy != b.entropy).any() for a, b in zip(found[0], found[2]))


def test_experts_are_restored_once_a_pass_and_not_kept(quantized, monkeypatch):
    restored = []
    restore = Blockwise._restore
    monkeypatch.setattr(
        Blockwise, "_restore", lambda *arguments: restored.append(1) or restore(*arguments)
    )
    quantized.config._experts_implementation = "eager"  # which uses them expert by expert
    with torch.inference_mode():
        quantized(torch.arange(5, 45)[None])
    assert len(restored) == len(stored(quantized))
    assert all(m._kept is None for m in quantized.modules() if isinstance(m, Blockwise))


def test_what_was_kept_is_dropped_when_the_experts_fail(tiny_mixtral):
    model = resolve(str(tiny_mixtral), quantize="4bit").load().model
    experts = model.layers[0].mlp.experts
    ids = torch.zeros(3, 2, dtype=torch.int64)
    with pytest.raises(RuntimeError):
        experts(torch.zeros(3, 31), ids, torch.ones(3, 2))
    assert all(m._kept is None for m in experts.modules() if isinstance(m, Blockwise))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_bytes_are_those_that_were_planned(tiny_mixtral, quantization, dtype):
    plan = resolve(str(tiny_mixtral), quantize=quantization, dtype=dtype)
    taken = weight_bytes(plan.load().model)
    if dtype == "bfloat16":
        assert sum(taken.values()) == planned_bytes(plan.skeleton, quantization)
    weights = 3 * 4 * 3 * 32 * 48
    bits = {"4bit": 4 + 32 / 64, "8bit": 8 + 32 / 256}[quantization]
    assert taken["experts"] == weights * bits / 8
    assert taken["routers"] == 3 * 4 * 32 * getattr(torch, dtype).itemsize


@pytest.mark.parametrize("family", sorted(SHAPES))
def test_every_way_to_hold_experts_computes_with_the_restored_weights(family, tmp_path):
    model = BUILDERS[family]()
    names = quantizable(model)
    experts = {id(each) for site in find_sites(model) for each in site.experts.parameters()}
    matrices = {
        name
        for name, each in model.named_parameters()
        if id(each) in experts and each.ndim > 1 and not name.endswith("bias")
    }
    assert matrices <= names
    model.save_pretrained(tmp_path)
    config = BlockwiseConfig("4bit")
    loaded = AutoModel.from_pretrained(
        tmp_path, dtype=torch.float32, quantization_config=config, device_map="cpu"
    )
    assert stored(loaded) == names
    for name in names:
        path, _, last = name.rpartition(".")
        module = model.get_submodule(path)
        setattr(module, last, nn.Parameter(reference(weight(model, name), "4bit")))
    token_ids = {"input_ids": torch.arange(5, 29)[None]}
    if model.config.is_encoder_decoder:
        token_ids["decoder_input_ids"] = token_ids["input_ids"]
    with torch.inference_mode():
        parts = [each.get_submodule(text_part(each)) for each in (loaded, model)]
        outputs = [each(**token_ids, use_cache=False)[0] for each in parts]
    assert torch.equal(*outputs)


@pytest.mark.parametrize("shape", [(3, 50, 34), (64, 64), (5, 1024, 1030)])
def test_chunks_and_incomplete_blocks_quantise_as_one_piece(shape, quantization):
    torch.manual_seed(0)
    module = nn.Module()
    values = torch.randn(shape)
    values.view(-1)[:300] = 0
    module.weight = nn.Parameter(torch.empty(shape))
    quantize_parameter(module, "weight", values, quantization)
    assert torch.equal(module.weight, reference(values, quantization))
    assert module.weight.isfinite().all()


def test_an_incomplete_expert_is_refused(tiny_mixtral, tmp_path):
    folder = shutil.copytree(tiny_mixtral, tmp_path / "copy")
    weights = load_file(folder / "model.safetensors")
    for name in [name for name in weights if "layers.2." in name and "experts.3." in name]:
        del weights[name]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    for quantize in ("4bit", "none"):
        refused = pytest.raises(GatehouseError, match="do not have the shapes that its config")
        with refused as caught:
            resolve(str(folder), quantize=quantize).load()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("left", ["cpu", "disk"])
def test_quantised_weights_are_not_left_beside_a_gpu(left):
    quantizer = BlockwiseQuantizer(BlockwiseConfig("4bit"), pre_quantized=False)
    quantizer.validate_environment(device_map={"": "cpu"})
    quantizer.validate_environment(device_map={"embed_tokens": 0, "layers": 1})
    with pytest.raises(GatehouseError, match="does not fit the GPUs"):
        quantizer.validate_environment(device_map={"embed_tokens": 0, "layers": left})


@pytest.mark.parametrize(
    ("asked", "capacity", "chosen"),
    [
        ("auto", None, "none"),
        ("auto", 120e9, "none"),
        ("auto", 100e9, "4bit"),
        ("auto", 24e9, "4bit"),
        ("none", 24e9, "none"),
        ("8bit", 24e9, "8bit"),
        ("4bit", None, "4bit"),
    ],
)
def test_the_default_is_4bit_only_where_the_model_does_not_fit(full, asked, capacity, chosen):
    assert choose_quantization(asked, full.config, 93_400_000_000, capacity) == chosen


def test_a_quantised_checkpoint_stays_as_it_is(full):
    """What is recorded says so; a damaged shard is captured again by what is recorded."""
    config = copy.deepcopy(full.config)
    config.quantization_config = {"quant_method": "mxfp4"}
    for asked in ("auto", "none", "mxfp4"):
        assert choose_quantization(asked, config, 240_000_000_000, 80e9) == "mxfp4"
    with pytest.raises(GatehouseError, match="stored in mxfp4 already: leave --quantize out"):
        choose_quantization("4bit", config, 1, None)


@pytest.mark.parametrize("wrong", ["3bit", "", "True"])
def test_an_unknown_quantisation_is_one_line(full, wrong):
    with pytest.raises(GatehouseError, match=r"unknown quantization .*: 4bit, 8bit or none"):
        choose_quantization(wrong, full.config, 1, None)
