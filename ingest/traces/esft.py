"""Traces of ESFT: a folder with a file for each MoE layer, in each a line for each sequence."""

import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import numpy as np

from gatehouse.ingest.traces.laws.required import ANOTHER_MODEL, require
from gatehouse.ingest.traces.sequence import Format, Layout, Piece, RoutedSequence
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import first_few

FILE = re.compile(r"expert_weights_(\d+)\.txt")
COLUMNS = "ids with tabs between them, two tabs, and as many weights"


def read(paths: list[Path], layout: Layout) -> Iterator[RoutedSequence]:
    """Yield the sequences of each folder, whose name is their domain; lists of files will do.

    Raises:
        GatehouseError: a layer has no file, or a line is none of such a trace.
    """
    for folder in dict.fromkeys(map(_folder, paths)):
        _check_files(folder, layout)
        files = [folder / f"expert_weights_{block}.txt" for block in layout.blocks]
        lines = zip_longest(*map(_lines, files))
        for number, of_layers in enumerate(lines, 1):
            layers = [
                _routed(file, number, line, layout.top_k[index])
                for index, (file, line) in enumerate(zip(files, of_layers, strict=True))
            ]
            tokens = [len(experts) for experts, _ in layers]
            require(
                len(set(tokens)) == 1,
                f"{folder} has {min(tokens)} to {max(tokens)} tokens in line {number} of its files",
                f"write the same sequences for all layers, or {ANOTHER_MODEL}",
            )
            experts, weights = (np.stack(each, axis=1) for each in zip(*layers, strict=True))
            yield RoutedSequence(
                f"{folder.name}:{number}", None, experts, weights, domain=folder.name
            )


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _files(path: Path) -> list[Path]:
    """Return the files of all layers, also where one of them is named."""
    return sorted(each for each in _folder(path).iterdir() if FILE.fullmatch(each.name))


def _check_files(folder: Path, layout: Layout) -> None:
    """A file for each MoE layer, and for no other."""
    names = (FILE.fullmatch(path.name) for path in folder.iterdir())
    found = {int(name[1]) for name in names if name}
    missing = [str(block) for block in layout.blocks if block not in found]
    spare = [str(block) for block in sorted(found.difference(layout.blocks))]
    require(
        not missing,
        f"{folder} has no file expert_weights_N.txt for layer {first_few(missing, 8)}",
        f"give the folder that holds a file for each layer, or {ANOTHER_MODEL}",
    )
    require(
        not spare,
        f"{folder} has a file for layer {first_few(spare, 8)}, which has no experts in the model",
        ANOTHER_MODEL,
    )


def _pieces(paths: list[Path], layout: Layout) -> list[Piece]:
    return [Piece((folder,)) for folder in dict.fromkeys(map(_folder, paths))]


def _lines(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        for line in file:
            yield line.rstrip(b"\r\n")


def _routed(path: Path, line: int, text: bytes | None, top_k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return experts and weights of a line, [tokens, k]."""
    if text is None:
        raise GatehouseError(
            f"{path} has no line {line}, which other layers have: it is cut off; copy it again"
        )
    ids, _, weights = text.partition(b"\t\t")
    try:
        experts = _numbers(ids, np.dtype(np.int32)).reshape(-1, top_k)
        return experts, _numbers(weights, np.dtype(np.float32)).reshape(experts.shape)
    except ValueError as error:
        raise GatehouseError(
            f"{path} line {line} does not hold {COLUMNS}, for {top_k} experts a token; mend the "
            f"line in all layers, or {ANOTHER_MODEL}"
        ) from error


def _numbers(text: bytes, dtype: np.dtype) -> np.ndarray:
    """Return the numbers of a text with tabs between them.

    Raises:
        ValueError: there is something else.
    """
    numbers = np.fromstring(text, dtype, sep="\t")
    # it stops where there is no number
    if len(numbers) != text.count(b"\t") + 1:
        raise ValueError("not a number")
    return numbers


FORMAT = Format(
    "esft",
    "a folder of expert_weights_N.txt, as ESFT writes it",
    (".txt",),
    read,
    files=_files,
    pieces=_pieces,
)
