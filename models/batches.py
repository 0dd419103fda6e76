"""Token windows to batches that the model can run: padded, uniform, and within memory."""

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import TypeVar

import torch
from torch import nn

from warehouse.errors import GatehouseError
from warehouse.records import TokenWindow

Result = TypeVar("Result")


def pad(windows: list[TokenWindow]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (token_ids [B, S] int64, mask [B, S] bool), padded on the right.

    Behind a causal mask the pads on the right change nothing before them.
    """
    longest = max(len(window.token_ids) for window in windows)
    token_ids = torch.zeros(len(windows), longest, dtype=torch.int64)
    mask = torch.zeros(len(windows), longest, dtype=torch.bool)
    for row, window in enumerate(windows):
        length = len(window.token_ids)
        token_ids[row, :length] = torch.tensor(window.token_ids)
        mask[row, :length] = True
    return token_ids, mask


def uniform(windows: list[TokenWindow], batching: str) -> list[list[TokenWindow]]:
    """Return the windows in groups that may run together.

    Args:
        windows: one batch.
        batching: padded (all), equal (of one length), or alone.
    """
    if batching == "alone":
        return [[window] for window in windows]
    if batching == "equal":
        ordered = sorted(windows, key=lambda window: len(window.token_ids))
        return [list(group) for _, group in groupby(ordered, lambda window: len(window.token_ids))]
    return [windows]


def decoder_inputs(
    model: nn.Module, token_ids: torch.Tensor, mask: torch.Tensor
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Return (the decoder's share of the inputs, the mask of the rows that are tokens).

    A decoder of its own reads the tokens after the start token it was trained with: its rows
    are [B, S + 1], of which the first is no token. Other models need no further inputs.

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


class Memory:
    """How many token positions fit at once: halved whenever the device runs out of memory."""

    def __init__(self) -> None:
        self.positions: int | None = None

    def run(
        self, windows: list[TokenWindow], work: Callable[[list[TokenWindow]], Result]
    ) -> Iterator[tuple[list[TokenWindow], Result]]:
        """Yield (windows, work(windows)) of all the windows, in parts that fit.

        Raises:
            GatehouseError: one window alone does not fit.
        """
        pending = [windows]
        while pending:
            part = pending.pop()
            if len(part) > 1 and self.positions and _positions(part) > self.positions:
                pending += _halves(part)
                continue
            result = _attempt(part, work)
            if result is None:
                self.positions = _positions(part) // 2
                pending.append(part)
                _release()
            else:
                yield part, result


def _attempt(part: list[TokenWindow], work: Callable[[list[TokenWindow]], Result]) -> Result | None:
    """Return work(part), None where memory ran out: its traceback would keep tensors alive."""
    try:
        return work(part)
    except torch.OutOfMemoryError as error:
        if len(part) == 1:
            raise _too_long(part[0]) from error
        return None


def _release() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _positions(windows: list[TokenWindow]) -> int:
    return len(windows) * max(len(window.token_ids) for window in windows)


def _halves(windows: list[TokenWindow]) -> list[list[TokenWindow]]:
    middle = (len(windows) + 1) // 2
    return [windows[middle:], windows[:middle]]


def _too_long(window: TokenWindow) -> GatehouseError:
    length = len(window.token_ids)
    return GatehouseError(
        f"the GPU's memory does not hold one sequence of {length} tokens: use --max-length "
        f"{max(length // 2, 1)}, --quantize 4bit, --dtype bfloat16 or --device-map auto"
    )
