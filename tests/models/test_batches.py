"""Batches that change nothing: halved when memory runs out, uniform where padding would matter."""

import pytest
import torch
from transformers import MixtralModel

from gatehouse.models.batches import pad, uniform
from gatehouse.models.capture import RoutingTap, capture
from gatehouse.warehouse.errors import GatehouseError
from tests.models.families.builders import BUILDERS
from tests.models.families.observation import random_windows

DISCRETE = ["sample_id", "position", "token_id", "layer", "experts", "top_expert"]

GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
CPU = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to")


class SmallDevice:
    """Wraps a model's forward pass like a device that holds only so many positions."""

    def __init__(
        self, model: torch.nn.Module, positions: int, error: Exception | None = None
    ) -> None:
        self.positions = positions
        self.error = error or GPU
        self.sizes: list[int] = []
        self.forward = model.forward
        model.forward = self

    def __call__(self, input_ids, **inputs):
        self.sizes.append(input_ids.numel())
        if input_ids.numel() > self.positions:
            raise self.error
        return self.forward(input_ids=input_ids, **inputs)


@pytest.fixture
def model(tiny_mixtral) -> MixtralModel:
    return MixtralModel.from_pretrained(tiny_mixtral, dtype=torch.float32).eval()


def test_out_of_memory_halves_the_batch_and_gives_the_same_events(model):
    windows = random_windows([40, 12, 33, 40, 7, 25, 40, 16])
    with RoutingTap(model) as tap:
        expected = capture(tap, [[window] for window in windows])
    device = SmallDevice(model, 130)
    with RoutingTap(model) as tap:
        found = capture(tap, [windows])
    assert device.sizes[:3] == [320, 160, 80]
    assert found.select(DISCRETE).equals(expected.select(DISCRETE))


def test_the_size_that_fits_is_kept_for_the_rest_of_the_run(model):
    windows = random_windows([30] * 8)
    device = SmallDevice(model, 100)
    with RoutingTap(model) as tap:
        capture(tap, [windows])
        device.sizes.clear()
        capture(tap, [windows])
    assert device.sizes == [60] * 4


@pytest.mark.parametrize(
    ("error", "dtype", "length", "ways"),
    [
        (
            GPU,
            torch.float32,
            30,
            "--max-length 15, --dtype bfloat16, --quantize 4bit, --device-map",
        ),
        (GPU, torch.bfloat16, 30, "--max-length 15, --quantize 4bit, --device-map auto, or end"),
        (CPU, torch.float32, 30, "--max-length 15, --dtype bfloat16, --quantize 4bit, or end"),
        (CPU, torch.bfloat16, 1, "--quantize 4bit, or end"),
        (MemoryError(), torch.bfloat16, 30, "--max-length 15, --quantize 4bit, or end other prog"),
    ],
)
def test_one_sequence_that_does_not_fit_says_what_helps(model, error, dtype, length, ways):
    """The advice leaves out what the model already uses and what a CPU does not have."""
    model.to(dtype)
    SmallDevice(model, 0, error)
    place = "the GPU's" if error is GPU else "this machine's"
    said = f"^{place} memory does not hold one sequence of {length} tokens .*: use {ways}"
    with RoutingTap(model) as tap, pytest.raises(GatehouseError, match=said):
        capture(tap, [random_windows([length])])


def test_other_errors_are_not_taken_for_memory(model):
    model.forward = None
    with RoutingTap(model) as tap, pytest.raises(TypeError):
        capture(tap, [random_windows([5, 5])])


def test_uniform_groups_hold_every_window_once():
    windows = random_windows([5, 9, 5, 1, 9, 5])
    for batching, sizes in (("padded", [6]), ("equal", [1, 3, 2]), ("alone", [1] * 6)):
        groups = uniform(windows, batching)
        assert [len(group) for group in groups] == sizes
        assert sorted(w.sample_id for group in groups for w in group) == list(range(6))
    assert all(len({len(w.token_ids) for w in g}) == 1 for g in uniform(windows, "equal"))


def test_a_row_of_nan_that_no_token_names_is_met_by_no_pad(model):
    windows = random_windows([20, 5, 11])
    with RoutingTap(model) as tap:
        expected = capture(tap, [windows])
        model.get_input_embeddings().weight.data[0] = torch.nan
        found = capture(tap, [windows])
    assert 0 not in found["token_id"].to_pylist()
    assert found.equals(expected)


def test_pads_would_take_up_capacity_so_switch_runs_without_them():
    """Shows the reason: run padded, the same windows are dispatched differently."""
    model = BUILDERS["switch_transformers"]()
    windows = random_windows([24, 24, 4], seed=5)
    with RoutingTap(model) as tap:
        assert tap.batching == "equal"
        captured = capture(tap, [windows])
        alone = capture(tap, [[window] for window in windows])
        router = tap.sites[0].router
    assert captured.select(DISCRETE).equals(alone.select(DISCRETE))
    dropped = sum(weights == [0] for weights in captured["weights"].to_pylist())
    assert 0 < dropped < captured.num_rows
    sizes = []
    router.register_forward_hook(lambda module, inputs, output: sizes.append(output[0].sum(1)))
    with torch.inference_mode():
        for window in (windows[2:], windows):
            token_ids, mask = pad(window)
            model.encoder(input_ids=token_ids, attention_mask=mask.long())
    assert not torch.equal(sizes[0][0], sizes[1][2])


def test_a_decoder_of_its_own_reads_the_same_tokens_after_its_start():
    model = BUILDERS["switch_transformers"]()
    windows = random_windows([6])
    seen = []
    model.decoder.embed_tokens.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].tolist())
    )
    with RoutingTap(model) as tap:
        events = capture(tap, [windows])
        layers = tap.layers().to_pylist()
    assert seen[-1] == [[model.config.pad_token_id, *windows[0].token_ids]]
    assert [(row["layer"], row["stack"], row["block"]) for row in layers] == [
        (0, "encoder", 0),
        (1, "encoder", 1),
        (2, "decoder", 0),
        (3, "decoder", 1),
    ]
    assert events["token_id"].to_pylist() == windows[0].token_ids * 4
