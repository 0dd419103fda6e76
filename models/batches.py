"""Turn token windows into batches that the model can run: padded, uniform, and within memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.records import TokenWindow

Result = TypeVar("Result")

NO_MEMORY = ("can't allocate memory", "not enough memory", "bad_alloc")
"""What torch writes into a RuntimeError when a CPU runs out of memory."""


def pad(windows: list[TokenWindow]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (token_ids [B, S] int64, mask [B, S] bool), padded on the right.

    Under a causal mask, pads on the right change nothing before them. A pad repeats its row's
    first token: embedding rows that no text uses may hold NaN, and 0 times NaN is NaN.
    """
    longest = max(len(window.token_ids) for window in windows)
    token_ids = torch.zeros(len(windows), longest, dtype=torch.int64)
    mask = torch.zeros(len(windows), longest, dtype=torch.bool)
    for row, window in enumerate(windows):
        length = len(window.token_ids)
        token_ids[row] = window.token_ids[0]
        token_ids[row, :length] = torch.from_numpy(np.asarray(window.token_ids))
        mask[row, :length] = True
    return token_ids, mask


def uniform(windows: list[TokenWindow], batching: str) -> list[list[TokenWindow]]:
    """Return the windows in groups that may run together.

    Args:
        windows: one batch.
        batching: padded (all together), equal (of one length), or alone.
    """
    if batching == "alone":
        return [[window] for window in windows]
    if batching == "equal":
        ordered = sorted(windows, key=lambda window: len(window.token_ids))
        return [list(group) for _, group in groupby(ordered, lambda window: len(window.token_ids))]
    return [windows]


def check_embedded(token_ids: torch.Tensor, rows: int) -> None:
    """Refuse token ids that the model does not embed: on a GPU they would fail an assertion.

    Args:
        token_ids: integers, on the CPU.
        rows: how many the model's embedding has.

    Raises:
        GatehouseError: an id is `rows` or more, or below 0.
    """
    smallest, largest = (int(each) for each in token_ids.aminmax())
    if smallest < 0 or largest >= rows:
        raise GatehouseError(
            f"the tokenizer gives token id {largest if largest >= rows else smallest}, but the "
            f"model embeds the ids 0 to {rows - 1:,}: restore the tokenizer files that came with "
            "this model"
        )


def decoder_inputs(
    model: nn.Module, token_ids: torch.Tensor, mask: torch.Tensor
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Return (the decoder's share of the inputs, the mask of the rows that are tokens).

    The decoder of an encoder-decoder model reads the tokens after the start token it was trained
    with: its rows are [B, S + 1], and the first is not a token. Other models need no more inputs.

    Raises:
        GatehouseError: an encoder-decoder model without a start token.
    """
    config = model.config
    if not getattr(config, "is_encoder_decoder", False):
        return {}, mask
    start = getattr(config, "decoder_start_token_id", None)
    if start is None:
        start = getattr(config, "pad_token_id", None)
    if start is None:
        raise GatehouseError(
            f"{type(model).__name__} has no decoder_start_token_id in its config: set it there"
        )
    first = torch.full_like(token_ids[:, :1], start)
    seen = torch.ones_like(mask[:, :1])
    inputs = {
        "decoder_input_ids": torch.cat([first, token_ids], dim=1),
        "decoder_attention_mask": torch.cat([seen, mask], dim=1).long(),
    }
    return inputs, torch.cat([~seen, mask], dim=1)


@dataclass(frozen=True)
class Inputs:
    """What a forward pass of one padded batch is called with, and where its tokens are.

    arguments: of the module that text runs through; rows: stack -> [T] integers, the rows that are
    tokens; positions: stack -> number of rows, pads included.
    """

    arguments: dict[str, Any]
    rows: dict[str, torch.Tensor]
    positions: dict[str, int]


def inputs_of(model: nn.Module, token_ids: torch.Tensor, mask: torch.Tensor) -> Inputs:
    """Return a right-padded batch as the model takes it, on the device of its embedding.

    An encoder-decoder model reads the same tokens in both stacks.

    Args:
        model: a backbone.
        token_ids: [B, S] integers, on the CPU.
        mask: [B, S] booleans, True for real tokens.

    Raises:
        GatehouseError: as for `check_embedded` and `decoder_inputs`.
    """
    embedding = model.get_input_embeddings().weight  # type: ignore[operator]
    check_embedded(token_ids, len(embedding))
    decoder, decoder_mask = decoder_inputs(model, token_ids, mask)
    masks = {"encoder": mask.flatten(), "decoder": decoder_mask.flatten()}
    arguments = {"input_ids": token_ids, "attention_mask": mask.long(), **decoder}
    device = embedding.device
    return Inputs(
        {name: each.to(device) for name, each in arguments.items()} | {"use_cache": False},
        {stack: each.nonzero().squeeze(1).to(device) for stack, each in masks.items()},
        {stack: each.numel() for stack, each in masks.items()},
    )


def strictest(model: nn.Module, asked: set[str]) -> str:
    """Return the strictest batching that any part of a model needs, `asked` by its readers."""
    # sparse attention that indexes its keys breaks ties between them by the padded length
    indexed = any("indexer" in path.rpartition(".")[2] for path, _ in model.named_modules())
    needed = asked | ({"equal"} if indexed else set())
    return next(kind for kind in ("alone", "equal", "padded") if kind in needed)


class Memory:
    """How many token positions fit at once: halved whenever the device runs out of memory.

    Args:
        model: runs the windows; its dtypes decide which options could make its weights smaller.
    """

    def __init__(self, model: nn.Module) -> None:
        self.positions: int | None = None
        self._smaller = _smaller_weights(model)

    def run(
        self, windows: list[TokenWindow], work: Callable[[list[TokenWindow]], Result]
    ) -> Iterator[tuple[list[TokenWindow], Result]]:
        """Yield (windows, work(windows)) for all the windows, in parts that fit.

        Raises:
            GatehouseError: one window alone does not fit.
        """
        pending = [windows]
        while pending:
            part = pending.pop()
            if len(part) > 1 and self.positions and _positions(part) > self.positions:
                pending += _halves(part)
                continue
            result = self._attempt(part, work)
            if result is None:
                self.positions = _positions(part) // 2
                pending.append(part)
                _release()
            else:
                yield part, result

    def _attempt(
        self, part: list[TokenWindow], work: Callable[[list[TokenWindow]], Result]
    ) -> Result | None:
        """Return work(part), or None if memory ran out: a traceback would keep tensors alive."""
        try:
            return work(part)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            if len(part) == 1:
                raise _too_long(part[0], self._smaller, error) from error
            return None


def out_of_memory(error: BaseException) -> bool:
    """Return whether the device (on a CPU: the machine or the process) ran out of memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in NO_MEMORY)


def _release() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _positions(windows: list[TokenWindow]) -> int:
    return len(windows) * max(len(window.token_ids) for window in windows)


def _halves(windows: list[TokenWindow]) -> list[list[TokenWindow]]:
    middle = (len(windows) + 1) // 2
    return [windows[middle:], windows[:middle]]


def _smaller_weights(model: nn.Module) -> list[str]:
    """Return the options that would make the weights take less memory."""
    itemsize = {parameter.dtype.itemsize for parameter in model.parameters()}
    if 1 in itemsize:  # quantised
        return []
    return [*(["--dtype bfloat16"] if 4 in itemsize else []), "--quantize 4bit"]


def _too_long(window: TokenWindow, smaller: list[str], error: Exception) -> GatehouseError:
    length = len(window.token_ids)
    ways = [*([f"--max-length {length // 2}"] if length > 1 else []), *smaller]
    if isinstance(error, torch.OutOfMemoryError):
        place, ways = "the GPU's memory", [*ways, "--device-map auto"]
    else:
        place = "this machine's memory"
    options = f"use {', '.join(ways)}, or " if ways else ""
    return GatehouseError(
        f"{place} does not hold one sequence of {length} tokens beside the model: {options}end "
        "other programs that use it (a smaller --batch-size does not help)"
    )
