"""FP8: a checkpoint routes as the same numbers in bfloat16, or is refused by name."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from gatehouse.models.batches import pad
from gatehouse.models.capture import RoutingTap
from gatehouse.models.checkpoint.fp8 import restore
from gatehouse.models.zoo import resolve
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.records import TokenWindow
from tests.models.fp8_checkpoints import FAMILIES, save_both

WINDOWS = [TokenWindow(0, 0, list(range(5, 45))), TokenWindow(1, 0, list(range(900, 925)))]


@pytest.fixture(scope="module")
def deepseek(tmp_path_factory):
    return save_both("deepseek_v3", "blocks", tmp_path_factory.mktemp("fp8"))


def routing(folder, **options):
    loaded = resolve(str(folder), **options).load()
    with RoutingTap(loaded.model) as tap:
        return loaded.model, tap.run(*pad(WINDOWS))


def assert_alike(stored, plain, **options):
    """Every weight, expert, entropy and confidence of both is the same number."""
    (one, of_one), (other, of_other) = routing(stored, **options), routing(plain, **options)
    expected = other.state_dict()
    assert one.state_dict().keys() == expected.keys()
    for name, value in one.state_dict().items():
        assert value.dtype == expected[name].dtype and torch.equal(value, expected[name]), name
    for layer, of_plain in zip(of_one, of_other, strict=True):
        for field in ("experts", "weights", "entropy", "confidence"):
            assert (getattr(layer, field) == getattr(of_plain, field)).all()


@pytest.mark.parametrize("dtype", ["auto", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_that_publishes_in_it_routes_as_in_bfloat16(family, dtype, tmp_path):
    """Matrices are no multiples of a block, and a CPU computes in float32 unless asked."""
    assert_alike(*save_both(family, "blocks", tmp_path), dtype=dtype, device_map="cpu")


@pytest.mark.parametrize("scaling", ["channels", "whole"])
def test_scales_of_rows_and_of_whole_matrices_are_read(scaling, tmp_path):
    assert_alike(*save_both("mixtral", scaling, tmp_path), device_map="cpu")


def test_the_run_records_how_it_is_stored_and_what_it_computes_in(deepseek):
    plan = resolve(str(deepseek[0]), device_map="cpu")
    assert (plan.quantization, plan.dtype) == ("fp8", "float32")


@pytest.fixture
def stored(deepseek, tmp_path):
    return shutil.copytree(deepseek[0], tmp_path / "copy")


def refusal(folder):
    with pytest.raises(GatehouseError) as caught:
        resolve(str(folder)).load()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def change(folder, name, tensor):
    weights = {
        key: value
        for key, value in (load_file(folder / "model.safetensors") | {name: tensor}).items()
        if value is not None
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("scales", "says"),
    [
        (None, "in FP8 without its scale"),
        (torch.ones(1, 2), "has [1, 2] scales for"),
        (torch.ones(160, 1), "not one for each block of its weight_block_size, [128, 128]"),
    ],
)
def test_scales_that_do_not_cover_their_weight_are_refused_by_name(stored, scales, says):
    name = "model.layers.1.self_attn.kv_a_proj_with_mqa.weight"
    change(stored, f"{name}_scale_inv", scales)
    assert says in (line := refusal(stored)) and name in line


@pytest.mark.parametrize("size", [None, [80, 128], [64, 64]])
def test_blocks_are_those_that_the_config_states(stored, size):
    described = json.loads((stored / "config.json").read_text())
    described["quantization_config"]["weight_block_size"] = size
    (stored / "config.json").write_text(json.dumps(described))
    assert f"its weight_block_size, {size or 'none'}" in refusal(stored)


@pytest.mark.parametrize("size", [[128], [0, 128], "128x128", [128, 128, 128], 128])
def test_a_block_that_is_none_is_refused(stored, size):
    described = json.loads((stored / "config.json").read_text())
    described["quantization_config"]["weight_block_size"] = size
    (stored / "config.json").write_text(json.dumps(described))
    assert f"has {size!r} as weight_block_size, which is not two numbers" in refusal(stored)


def test_a_config_that_states_8_bits_as_its_type_computes_in_bfloat16(stored):
    described = json.loads((stored / "config.json").read_text()) | {"dtype": "float8_e4m3fn"}
    (stored / "config.json").write_text(json.dumps(described))
    plan = resolve(str(stored), device_map="cpu", dtype="bfloat16")
    assert plan.config.dtype == torch.bfloat16 and plan.load()


def test_the_blocks_of_deepseek_v3_itself_are_covered():
    """kv_a_proj_with_mqa of 576 = 4 · 128 + 64 rows, and q_a_proj of 1,536, of 7,168 columns."""
    scales = torch.rand(5, 56)
    restored = restore(torch.ones(576, 7168).to(torch.float8_e4m3fn), scales, (128, 128))
    assert restored.shape == (576, 7168)
    assert torch.equal(restored[::128, ::128], scales)
    assert torch.equal(restored[127::128, 127::128], scales[:4])


def test_exponents_of_two_are_scales_too():
    exponents = torch.tensor([[127, 128]], dtype=torch.uint8)
    values = torch.ones(2, 64)
    assert torch.equal(restore(values, exponents, (32, 32))[0, ::32], torch.tensor([1.0, 2.0]))
