"""Traces of warp: JSON Lines, the experts of one token in every MoE layer."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gatehouse.ingest.traces.laws.required import require
from gatehouse.ingest.traces.sequence import Format, Layout, RoutedSequence
from gatehouse.warehouse.contents.opened import opened
from gatehouse.warehouse.errors import GatehouseError

AS_WRITTEN = 'write {"tok": 1, "layers": [[expert, …], …]} in each line, or remove the line'


def read(paths: list[Path], layout: Layout) -> Iterator[RoutedSequence]:
    """Yield the sequences of the files: one begins where the numbers of the tokens begin again.

    Raises:
        GatehouseError: a line is no token of such a trace, or tokens are missing.
    """
    for path in paths:
        first_line, last = 1, -1
        rows: list[np.ndarray] = []
        for line, number, row in _tokens(path):
            if rows and number != last + 1:
                _check_begins(path, line, number, last)
                yield _sequence(path, first_line, rows)
                rows = []
            if not rows:
                first_line = line
            elif row.shape != rows[0].shape:
                raise GatehouseError(
                    f"{path} line {line} has experts of the shape {list(row.shape)}, and line "
                    f"{first_line} of {list(rows[0].shape)}; {AS_WRITTEN}"
                )
            rows.append(row)
            last = number
        if rows:
            yield _sequence(path, first_line, rows)


def _check_begins(path: Path, line: int, number: int, last: int) -> None:
    require(
        number in (0, 1),
        f"{path} line {line} is token {number} after token {last}, which begins no sequence: lines "
        "are missing",
        "give the whole file, or leave out the sequence",
    )


def _sequence(path: Path, line: int, rows: list[np.ndarray]) -> RoutedSequence:
    return RoutedSequence(f"{path.name}:{line}", None, np.stack(rows))


def _tokens(path: Path) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield (line, number of the token, experts [L, k])."""
    with opened(path) as contents:
        for line, content in enumerate(contents.stream, 1):
            if not content.strip():
                continue
            try:
                token = json.loads(content)
                number, experts = token["tok"], np.array(token["layers"])
            except (ValueError, LookupError, TypeError, RecursionError) as error:
                raise _broken(path, line) from error
            if type(number) is not int or experts.ndim != 2 or experts.dtype != np.int64:
                raise _broken(path, line)
            yield line, number, experts


def _broken(path: Path, line: int) -> GatehouseError:
    return GatehouseError(
        f"{path} line {line} is no token with as many experts in every layer; {AS_WRITTEN}"
    )


FORMAT = Format("warp", "JSON Lines of warp, a token a line", (".jsonl",), read)
