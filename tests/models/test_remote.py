"""Models that bring their own code: what lands is compared with what the block itself computed."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gatehouse.models.capture import RoutingTap, capture
from gatehouse.warehouse.errors import GatehouseError
from tests.models.families.observation import random_windows

HIDDEN, EXPERTS, TOP_K = 16, 6, 2
WINDOWS = random_windows([11, 24, 5])
TOKENS = 40


class ListBlock(nn.Module):
    """A linear gate and a list of experts, as in models from before transformers 5."""

    top_k = TOP_K

    def __init__(self, weigh, shared=None):
        super().__init__()
        self.weigh = weigh
        self.shared = shared
        self.gate = nn.Linear(HIDDEN, EXPERTS, bias=False)
        self.experts = nn.ModuleList(nn.Linear(HIDDEN, HIDDEN) for _ in range(EXPERTS))
        if shared:
            self.shared_expert = nn.Linear(HIDDEN, HIDDEN)
        if shared == "gated":
            self.shared_expert_gate = nn.Linear(HIDDEN, 1)

    def select(self, logits):
        ids = logits.topk(TOP_K, dim=-1).indices
        return ids, self.weigh(logits, ids)

    def forward(self, hidden):
        flat = hidden.reshape(-1, HIDDEN)
        logits = self.gate(flat)
        ids, weights = self.select(logits)
        self.did = ids, weights, logits
        output = torch.zeros_like(flat)
        for expert, module in enumerate(self.experts):
            tokens, slots = torch.where(ids == expert)
            if len(tokens):
                output.index_add_(0, tokens, module(flat[tokens]) * weights[tokens, slots, None])
        if self.shared == "gated":
            output = output + self.shared_expert_gate(flat).sigmoid() * self.shared_expert(flat)
        elif self.shared:
            output = output + self.shared_expert(flat)
        return output.view(hidden.shape), logits


class BiasedBlock(ListBlock):
    """Selects by more than the logits, and no gate output shows it."""

    def select(self, logits):
        ids = (logits + torch.tensor([9.0, 0, 0, 0, 0, 0])).topk(TOP_K, dim=-1).indices
        return ids, self.weigh(logits, ids)


class ChoosingGate(nn.Module):
    """A gate that gives (ids, weights, auxiliary loss) and keeps its logits to itself."""

    def __init__(self, score):
        super().__init__()
        self.score = score
        self.weight = nn.Parameter(torch.empty(EXPERTS, HIDDEN))

    def forward(self, hidden):
        flat = hidden.reshape(-1, HIDDEN)
        self.said = F.linear(flat.float(), self.weight.float())
        weights, ids = self.score(self.said).topk(TOP_K, dim=-1, sorted=False)
        return ids, weights * 2.5, None


class ChoosingBlock(nn.Module):
    """DeepSeek's own code: rows are sorted by expert, and experts without rows are not called."""

    def __init__(self, score, mistaken=False):
        super().__init__()
        self.mistaken = mistaken
        self.shared_experts = nn.Linear(HIDDEN, HIDDEN)
        self.gate = ChoosingGate(score)
        self.experts = nn.ModuleList(nn.Linear(HIDDEN, HIDDEN) for _ in range(EXPERTS))
        self.num_experts_per_tok = TOP_K

    def forward(self, hidden):
        flat = hidden.reshape(-1, HIDDEN)
        ids, weights, _ = self.gate(hidden)
        self.did = ids, weights, self.gate.said
        run = (ids + 1) % EXPERTS if self.mistaken else ids
        order = run.flatten().argsort()
        rows = flat[order // TOP_K].split(run.flatten().bincount(minlength=EXPERTS).tolist())
        outputs = torch.cat([e(part) for e, part in zip(self.experts, rows) if len(part)])
        mixed = torch.empty_like(outputs)
        mixed[order] = outputs
        routed = (mixed.view(-1, TOP_K, HIDDEN) * weights.unsqueeze(-1)).sum(dim=1)
        return routed.view(hidden.shape) + self.shared_experts(hidden)


class Configuration:
    is_encoder_decoder = False


class Model(nn.Module):
    """Two such blocks behind embeddings; causal, so that padding on the right cannot matter."""

    def __init__(self, make):
        super().__init__()
        self.config = Configuration()
        self.embed = nn.Embedding(128, HIDDEN)
        self.layers = nn.ModuleList(nn.ModuleDict({"mlp": make()}) for _ in range(2))
        generator = torch.Generator().manual_seed(3)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.6, generator=generator)

    def get_input_embeddings(self):
        return self.embed

    def forward(self, input_ids, attention_mask, use_cache):
        hidden = self.embed(input_ids)
        for layer in self.layers:
            mixed = layer["mlp"](F.normalize(hidden.cumsum(dim=1), dim=-1) * HIDDEN**0.5)
            hidden = hidden + (mixed[0] if isinstance(mixed, tuple) else mixed)
        return hidden


def normalised(logits, ids):
    chosen = torch.softmax(logits, dim=-1).gather(1, ids)
    return chosen / chosen.sum(dim=1, keepdim=True)


def raw(logits, ids):
    return torch.softmax(logits, dim=-1).gather(1, ids)


def sigmoid_scaled(logits, ids):
    chosen = torch.sigmoid(logits).gather(1, ids)
    return 2.5 * chosen / chosen.sum(dim=1, keepdim=True)


def softmax(logits):
    return torch.softmax(logits, dim=-1)


STYLES = {
    "linear gate, normalised": (lambda: ListBlock(normalised), "softmax"),
    "linear gate, not normalised": (lambda: ListBlock(raw), "softmax"),
    "linear gate, sigmoid with a factor": (lambda: ListBlock(sigmoid_scaled), "sigmoid"),
    "linear gate beside a shared expert": (lambda: ListBlock(raw, "plain"), "softmax"),
    "linear gate beside a gated shared expert": (lambda: ListBlock(raw, "gated"), "softmax"),
    "ids and weights by softmax": (lambda: ChoosingBlock(softmax), "softmax"),
    "ids and weights by sigmoid": (lambda: ChoosingBlock(torch.sigmoid), "sigmoid"),
}


@pytest.mark.parametrize("style", STYLES)
def test_what_the_block_did_is_what_lands(style):
    make, kind = STYLES[style]
    model = Model(make)
    with RoutingTap(model) as tap:
        events = capture(tap, [[WINDOWS[0]], WINDOWS[1:]])
        last = [layer["mlp"].did for layer in model.layers]
    assert events.num_rows == 2 * TOKENS
    layers = tap.layers().to_pylist()
    assert [row["router_path"] for row in layers] == ["layers.0.mlp.gate", "layers.1.mlp.gate"]
    assert {row["scoring"] for row in layers} == {kind}
    for layer, (ids, weights, logits) in enumerate(last):
        real = torch.tensor([n < len(w.token_ids) for w in WINDOWS[1:] for n in range(24)])
        found = events.slice(TOKENS * layer + 11, TOKENS - 11)
        order = weights[real].argsort(dim=1, descending=True, stable=True)
        assert found["experts"].to_pylist() == ids[real].gather(1, order).tolist()
        np.testing.assert_allclose(
            np.array(found["weights"].to_pylist(), np.float32),
            weights[real].gather(1, order).numpy(),
            rtol=2e-3,
        )
        scores = {"softmax": torch.exp, "sigmoid": torch.sigmoid}[kind](logits[real].double())
        share = scores / scores.sum(dim=1, keepdim=True)
        entropy = -(share * share.log()).sum(dim=1)
        np.testing.assert_allclose(found["entropy"], entropy.numpy(), atol=2e-5)


class NamingGate(ChoosingGate):
    """A gate whose answer is a dict, which no reader knows."""

    def forward(self, hidden):
        ids, weights, _ = super().forward(hidden)
        return {"ids": ids, "weights": weights}


class NamingBlock(ChoosingBlock):
    def __init__(self):
        super().__init__(softmax)
        self.gate = NamingGate(softmax)

    def forward(self, hidden):
        return self.experts[self.gate(hidden)["ids"].flatten()[0]](hidden)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (NamingBlock, "gives neither logits nor ids as tensors"),
        (lambda: BiasedBlock(normalised), "names experts other than those that ran"),
        (lambda: ChoosingBlock(softmax, mistaken=True), "names experts other than those that ran"),
        (lambda: ListBlock(lambda logits, ids: raw(logits, ids) ** 3), "no known scoring explains"),
    ],
    ids=[
        "an answer by name",
        "a bias on the selection",
        "experts that were not chosen",
        "weights of another kind",
    ],
)
def test_what_cannot_be_reconstructed_is_refused(make, reason):
    with RoutingTap(Model(make)) as tap, pytest.raises(GatehouseError, match=reason) as caught:
        capture(tap, [WINDOWS])
    assert "layers.0.mlp.gate" in str(caught.value)


class MaskingModel(Model):
    """Passes NaN to its blocks at pads, as attention does if it masks all that a pad could see."""

    def forward(self, input_ids, attention_mask, use_cache):
        hidden = self.embed(input_ids).masked_fill(attention_mask.unsqueeze(-1) == 0, torch.nan)
        for layer in self.layers:
            mixed = layer["mlp"](F.normalize(hidden.cumsum(dim=1), dim=-1) * HIDDEN**0.5)
            hidden = hidden + (mixed[0] if isinstance(mixed, tuple) else mixed)
        return hidden


@pytest.mark.parametrize("style", [name for name in STYLES if name.startswith("linear")])
def test_nan_at_pads_changes_neither_what_lands_nor_what_is_learnt(style):
    make, kind = STYLES[style]
    found = []
    for model in (Model(make), MaskingModel(make)):
        with RoutingTap(model) as tap:
            found.append(capture(tap, [WINDOWS]))
        assert {row["scoring"] for row in tap.layers().to_pylist()} == {kind}
    assert found[1].num_rows == 2 * TOKENS and found[1].equals(found[0])


def test_nan_at_pads_does_not_let_weights_of_another_kind_in():
    model = MaskingModel(lambda: ListBlock(lambda logits, ids: raw(logits, ids) ** 3))
    with (
        RoutingTap(model) as tap,
        pytest.raises(GatehouseError, match="no known scoring explains"),
    ):
        capture(tap, [WINDOWS])


def test_an_output_of_nan_explains_nothing():
    model = Model(lambda: ListBlock(raw))
    with torch.no_grad():
        model.layers[1]["mlp"].experts[0].bias[3] = torch.inf
    with (
        RoutingTap(model) as tap,
        pytest.raises(GatehouseError, match=r"layers\.1.*no known scoring explains"),
    ):
        capture(tap, [WINDOWS])


@pytest.mark.parametrize("make", [lambda: ListBlock(raw), lambda: ChoosingBlock(softmax)])
def test_a_token_that_is_scored_by_nan_is_named(make):
    model, token_ids = Model(make), WINDOWS[1].token_ids
    ids = [token_id for window in WINDOWS for token_id in window.token_ids]
    position = next(n for n in range(10, 24) if ids.count(token_ids[n]) == 1)
    rare = token_ids[position]
    with torch.no_grad():
        model.embed.weight[rare] = torch.nan
    named = rf"layers\.0.* scored sample 1, position {position} \(token id {rare}\) with NaN"
    for batches in ([WINDOWS], [[WINDOWS[0]], WINDOWS[1:]]):
        with RoutingTap(model) as tap, pytest.raises(GatehouseError, match=named):
            capture(tap, batches)


def test_a_forward_pass_that_broke_off_leaves_nothing_behind():
    model = Model(lambda: ListBlock(raw))
    with RoutingTap(model) as tap:
        expected = capture(tap, [WINDOWS])
    last, held = model.layers[1]["mlp"].experts[5], []

    def fails_once(module, inputs):
        if not held:
            held.append(None)
            raise torch.OutOfMemoryError("CUDA out of memory")

    last.register_forward_pre_hook(fails_once)
    with RoutingTap(model) as tap:
        found = capture(tap, [WINDOWS])
    assert held and found["experts"].equals(expected["experts"])


def test_hooks_leave_the_output_bit_identical():
    model = Model(lambda: ListBlock(raw, "gated"))
    token_ids = torch.tensor([WINDOWS[1].token_ids])
    inputs = {"input_ids": token_ids, "attention_mask": None, "use_cache": False}
    with torch.inference_mode():
        plain = model(**inputs)
        with RoutingTap(model):
            assert torch.equal(model(**inputs), plain)
