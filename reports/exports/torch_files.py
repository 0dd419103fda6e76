"""The one place that writes files of `torch.save`, which pickles: nothing in them can run."""

from pathlib import Path
from typing import Any


def save(content: Any, target: Path) -> None:
    """Write tensors, numbers and text, in lists and dictionaries, with `torch.save`.

    `torch.load(weights_only=True)` reads such a file.

    Raises:
        TypeError: there is anything else in it.
    """
    import torch

    _check(content)
    torch.save(content, target)


def _check(content: Any) -> None:
    import torch

    if type(content) is dict:
        _check(list(content))
        _check(list(content.values()))
    elif type(content) is list:
        for each in content:
            _check(each)
    elif type(content) not in (torch.Tensor, int, float, str, bool):
        raise TypeError(f"a {type(content).__name__} can run programs when it is read")
