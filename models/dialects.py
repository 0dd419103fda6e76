"""Readers of the transformers families that do not follow the default contract."""

from typing import Any

import torch
from torch import nn

from gatehouse.models.readers import Reader, Routing, UnreadableRouter, Watch, integer


class Probabilities(Reader):
    """Gemma 4: the router's first output is the softmax, and its weights are scaled per expert."""

    def logits(self, output: Any) -> torch.Tensor:
        """Return the logarithms of the probabilities, whose softmax gives them back."""
        return super().logits(output).float().log()


class SkipClass(Reader):
    """Zaya: the last class skips the experts; it is emitted as expert 0 with weight 0."""

    def read(self, *seen: Any) -> Routing:
        """Return the routing with the skip class under its own id, dropped."""
        routing = super().read(*seen)
        logits, ids, weights = routing.logits, routing.ids, routing.weights
        skip_class = logits.shape[1] - 1
        # expert 0 may run with weight 0 as well: the biases choose it, and its softmax underflows
        biased = torch.softmax(logits, dim=-1).float() + self._balancing_biases()
        chosen = biased.topk(ids.shape[1], dim=1).indices
        skipped = (weights == 0) & (ids == 0) & (chosen == skip_class)
        return Routing(logits, ids.masked_fill(skipped, skip_class), weights, skipped)

    def replace(
        self,
        arguments: tuple[Any, ...],
        named: dict[str, Any],
        ids: torch.Tensor,
        weights: torch.Tensor,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Emit the skip class as the router does."""
        skipped = ids == integer(("num_router_classes",), self.router) - 1
        ids, weights = ids.masked_fill(skipped, 0), weights.masked_fill(skipped, 0)
        return super().replace(arguments, named, ids, weights)

    def _balancing_biases(self) -> torch.Tensor:
        return self.router.get_buffer("balancing_biases")


class Capacity(Reader):
    """Switch: one-hot dispatch, limited by each expert's capacity per sequence, top-1.

    A token beyond the capacity goes to no expert: its event keeps the expert it was meant for,
    and is dropped. Pads would take up capacity, so batches hold none.
    """

    batching = "equal"
    fixed = "its experts get a dispatch that the capacity of each has limited"

    def top_k(self, model: nn.Module) -> int:
        """Return 1: Switch is top-1."""
        return 1

    def logits(self, output: Any) -> torch.Tensor:
        """Return the logits, the last of (one-hot, probability, logits)."""
        return output[2].reshape(-1, output[2].shape[-1])

    def watch(self) -> list[Watch]:
        """Look at the dispatch mask that the experts get."""
        logits, _ = super().watch()
        return [
            logits,
            Watch(self.experts, lambda arguments, named, output: arguments[1:3], True),
        ]

    def weights_of(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> torch.Tensor:
        """Return the probabilities [N, 1], the last of (hidden, mask, probabilities)."""
        return arguments[2]

    def read(self, *seen: Any) -> Routing:
        """Return the routing; the mask has a row of zeros for a dropped token."""
        logits, (mask, probability) = seen
        mask = mask.reshape(len(logits), -1)
        kept = mask.amax(dim=1, keepdim=True)
        ids = torch.where(kept > 0, mask.argmax(1, keepdim=True), logits.argmax(1, keepdim=True))
        return Routing(logits, ids, probability.reshape(-1, 1), kept == 0)


class TwoBest(Reader):
    """NLLB-MoE: the two best experts, within each one's capacity in the batch, on a mended model.

    A selection beyond the capacity has a weight of 0, and so have those of pads.
    """

    unseen_outputs = "scales the outputs of its experts once more after their weights"

    def __init__(self, block: nn.Module, router: Any, experts: nn.Module) -> None:
        super().__init__(block, router, experts)
        # with one place for every row, nothing is dropped
        roomy = router.moe_eval_capacity_token_fraction >= 1
        self.batching = "padded" if roomy else "alone"

    def top_k(self, model: nn.Module) -> int:
        """Return 2, unless the second is drawn: NLLB-MoE is top-2."""
        policy: Any = self.router.second_expert_policy
        if policy != "all":
            raise UnreadableRouter(f"draws its second expert by chance ({policy})")
        return 2

    def logits(self, output: Any) -> torch.Tensor:
        """Return the logits, the last of (ids, weights, logits)."""
        return output[2]

    def read(self, *seen: Any) -> Routing:
        """Return the routing; beyond the capacity, nothing runs."""
        routing = super().read(*seen)
        return Routing(routing.logits, routing.ids, routing.weights, routing.weights == 0)

    def weigh(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> torch.Tensor:
        """Choose by top-k, of which the router's own code makes two steps."""
        router: Any = self.router
        _, gates, logits = router.forward(*arguments, **named)
        scores = logits.softmax(dim=-1, dtype=router.dtype).to(gates.dtype)
        weights = scores.gather(1, torch.topk(logits, 2, dim=-1).indices)
        return weights / weights.sum(dim=1, keepdim=True)


class Loop(Reader):
    """Inkling 2 Loop: some blocks run several times, and route each token anew every time."""

    def passes(self, model: nn.Module, index: int) -> int:
        """Return the number of passes that the config states for the blocks within the loop."""
        config: Any = model.config
        text = config.get_text_config()
        looped = range(text.loop_layer_index_start, text.loop_layer_index_end)
        return text.loop_num_passes if index in looped else 1


class LogitsAlone(Reader):
    """DBRX: the router gives logits, and its block chooses and weights."""

    def weigh(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> torch.Tensor:
        """Have the block choose from the router's logits."""
        block: Any = self.block
        return block.route_tokens_to_experts(self.router.forward(*arguments, **named))[0]


class RouterAlone(Reader):
    """A router whose output is all that the block uses: its experts get no ids."""

    fixed = "its experts get no ids"

    def watch(self) -> list[Watch]:
        """Look at the router's output."""
        return [Watch(self.router, lambda arguments, named, output: output)]


class DenseScores(RouterAlone):
    """Llama 4: every expert runs on every token, times a score that is 0 outside the top k."""

    unseen_outputs = "multiplies what goes into an expert, not what comes out"

    def read(self, *seen: Any) -> Routing:
        """Return the routing from (scores, logits)."""
        ((scores, logits),) = seen
        # as the router chooses: sigmoid makes equals of very small and of very large logits
        ids = logits.topk(self.router.top_k, dim=1).indices
        return Routing(logits, ids, scores.gather(1, ids))


class SortedSlots(RouterAlone):
    """JetMoE: the router gives (token, slot) pairs in the order of their experts."""

    unseen_outputs = "applies its weights outside the modules of its experts"

    def read(self, *seen: Any) -> Routing:
        """Return the routing from (slots, tokens, gates, rows per expert, logits)."""
        ((slots, _, gates, sizes, logits),) = seen
        experts = torch.arange(len(sizes), device=slots.device)
        sorted_ids = experts.repeat_interleave(torch.tensor(sizes, device=slots.device))
        ids, weights = torch.empty_like(slots), torch.empty_like(gates)
        ids[slots], weights[slots] = sorted_ids, gates
        shape = (len(logits), -1)
        return Routing(logits, ids.view(shape), weights.view(shape))


class ProductKeys(Reader):
    """Doge: two half keys per token, an expert for every pair; experts are rows of embeddings.

    transformers splits the half keys across tokens, so a token's routing depends on the whole
    batch. Sequences therefore run alone, as they would in use.
    """

    batching = "alone"
    fixed = "its experts are rows of embeddings, which get no weights"
    unseen_outputs = "never computes the output of one expert by itself"

    def num_experts(self) -> int:
        """Return the number of pairs of half keys."""
        return integer(("num_keys",), self.block) ** 2

    def watch(self) -> list[Watch]:
        """Look at the half keys and at the embedding rows that are read."""
        return [
            Watch(self.router, lambda arguments, named, output: output),
            Watch(
                self.block.get_submodule("down_embed"),
                lambda arguments, named, output: arguments[0],
                True,
            ),
        ]

    def read(self, *seen: Any) -> Routing:
        """Return the routing; no module outputs the block's softmax over the k chosen."""
        keys, ids = seen
        x, y = keys.reshape(2, len(ids), -1)
        logits = (x.unsqueeze(-1) + y.unsqueeze(-2)).flatten(1)
        return Routing(logits, ids, torch.softmax(logits.gather(1, ids), dim=-1))


NAMED: dict[str, type[Reader]] = {
    "switch_transformers": Capacity,
    "nllb_moe": TwoBest,
    "llama4": DenseScores,
    "jetmoe": SortedSlots,
    "doge": ProductKeys,
    "dbrx": LogitsAlone,
    "zaya": SkipClass,
    "inkling2_loop": Loop,
    "gemma4": Probabilities,
    "diffusion_gemma": Probabilities,
}
"""Families of transformers that do not follow the default contract, each with its reader."""
