"""Route traces of BigMoeOnEdge: CSV, a row for each expert of a token in a layer."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv

from gatehouse.ingest.traces.laws.required import ANOTHER_MODEL, require
from gatehouse.ingest.traces.sequence import Format, Layout, RoutedSequence
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import counted, quoted

AS_WRITTEN = "give the file as BigMoeOnEdge wrote it"
VERSION = "# route_trace v1"
WHOLE_NUMBERS = ("turn", "phase", "step", "layer", "slot", "expert")
TYPES = {**{column: pa.int32() for column in WHOLE_NUMBERS}, "weight": pa.float32()}
PREFILL = 0
EXPERT_BYTES = re.compile(r"\blayer=(\d+) expert_bytes=(\d+)\b")
BLOCK_BYTES = 2**20
"""Of a file, that are parsed at once."""

Columns = dict[str, np.ndarray]
"""The rows of a part of a file."""


def read(paths: list[Path], layout: Layout) -> Iterator[RoutedSequence]:
    """Yield each turn of the files, in order; one turn is in memory at a time.

    The first tokens of a prompt that llama.cpp did not route in the last layer, as nothing
    follows from it, are left out and said.

    Raises:
        GatehouseError: it is no such trace, it is cut off, or it is one of another model.
    """
    for path in paths:
        lines, expert_bytes = _header(path, layout)
        for turn, columns in _turns(path, lines):
            found = _sequence(f"{path.name} turn {turn}", columns, layout)
            yield replace(found, expert_bytes=expert_bytes)


def _header(path: Path, layout: Layout) -> tuple[int, tuple[int, ...] | None]:
    """Return the lines before the names of the columns, and the bytes of a layer's expert."""
    header = []
    with open(path, "rb") as file:
        for line in file:
            if not line.startswith(b"#"):
                break
            header.append(line.decode("utf-8", "replace").rstrip())
    require(
        header[:1] == [VERSION],
        f"{path} does not begin with {VERSION}: it is no route trace, or one of a later version",
        AS_WRITTEN,
    )
    words = [word.partition("=") for line in header[1:] for word in line.split()]
    stated = {key: int(value) for key, _, value in words if value.isdecimal()}
    for key, number in (("n_layer", layout.num_blocks), ("n_expert", max(layout.num_experts))):
        require(
            stated.get(key, number) == number,
            f"{path} is of a model with {key}={stated.get(key)} where the model has {number}",
            ANOTHER_MODEL,
        )
    matches = filter(None, map(EXPERT_BYTES.search, header))
    sizes = {int(match[1]): int(match[2]) for match in matches}
    known = all(block in sizes for block in layout.blocks)
    return len(header), tuple(sizes[block] for block in layout.blocks) if known else None


def _turns(path: Path, lines: int) -> Iterator[tuple[int, Columns]]:
    """Yield (number of the turn, its rows), from batches of rows."""
    parts: list[Columns] = []
    for batch in _batches(path, lines):
        starts = np.flatnonzero(np.diff(batch["turn"])) + 1
        for start, end in pairwise([0, *starts, len(batch["turn"])]):
            part = {column: values[start:end] for column, values in batch.items()}
            if parts and part["turn"][0] != parts[0]["turn"][0]:
                yield _joined(parts)
                parts = []
            parts.append(part)
    if parts:
        yield _joined(parts)


def _joined(parts: list[Columns]) -> tuple[int, Columns]:
    columns = {column: np.concatenate([part[column] for part in parts]) for column in TYPES}
    return int(columns["turn"][0]), columns


def _batches(path: Path, lines: int) -> Iterator[Columns]:
    options = csv.ConvertOptions(column_types=TYPES, include_columns=list(TYPES))
    try:
        with csv.open_csv(
            path, csv.ReadOptions(skip_rows=lines, block_size=BLOCK_BYTES), convert_options=options
        ) as batches:
            for batch in batches:
                require(
                    not any(column.null_count for column in batch.columns),
                    f"{path} has a row with an empty cell",
                    AS_WRITTEN,
                )
                if batch.num_rows:
                    yield {column: batch[column].to_numpy() for column in TYPES}
    except (pa.ArrowException, KeyError) as error:
        raise GatehouseError(
            f"{path} is cut off or no route trace ({quoted(error)}); {AS_WRITTEN}"
        ) from error


def _sequence(name: str, rows: Columns, layout: Layout) -> RoutedSequence:
    _check_ranges(name, rows, layout)
    first_step = int(rows["step"].min())
    step = rows["step"] - first_step
    shape = int(step.max()) + 1, len(layout.blocks), int(rows["slot"].max()) + 1
    # where it stays, the file has no row
    weights = np.full(shape, np.nan, np.float32)
    experts = np.zeros(shape, np.int32)
    place = step, np.searchsorted(layout.blocks, rows["layer"]), rows["slot"]
    weights[place], experts[place] = rows["weight"], rows["expert"]
    require(
        np.count_nonzero(~np.isnan(weights)) == len(step),
        f"{name} has two experts of a token in one slot, or one without a weight",
        AS_WRITTEN,
    )
    given = np.zeros(len(weights), bool)
    given[step] = rows["phase"] == PREFILL
    is_missing = np.any(np.isnan(weights), axis=2)
    first = _unfinished_prompt(is_missing, given)
    missing = np.argwhere(is_missing[first:])
    if len(missing):
        row, layer = missing[0]
        raise GatehouseError(
            f"{name} has no or too few experts at step {first_step + first + row} in layer "
            f"{layout.blocks[layer]}: the file is cut off, or the layers are not the model's; "
            f"leave out the last step, or {ANOTHER_MODEL}"
        )
    left_out = (
        f"llama.cpp did not route its first {counted(first, 'token')} in the last layer, so they "
        "are left out of all"
    )
    return RoutedSequence(
        name,
        None,
        experts[first:],
        weights[first:],
        is_ordered=True,
        prompt_tokens=int(given[first:].sum()),
        note=left_out if first else "",
    )


def _check_ranges(name: str, rows: Columns, layout: Layout) -> None:
    """Layers of the model, and no more steps and slots than there can be."""
    others = rows["layer"][~np.isin(rows["layer"], layout.blocks)]
    require(
        not len(others),
        f"{name} has experts in layer {others[:1].tolist()}, which has none in the model",
        ANOTHER_MODEL,
    )
    low, high = int(rows["step"].min()), int(rows["step"].max())
    require(
        high - low < len(rows["step"]),
        f"{name} has {counted(len(rows['step']), 'row')} for steps {low} to {high}",
        AS_WRITTEN,
    )
    low, high = int(rows["slot"].min()), int(rows["slot"].max())
    require(
        low == 0 and high < max(layout.num_experts),
        f"{name} has slots {low} to {high} where the model has {max(layout.num_experts)} experts",
        ANOTHER_MODEL,
    )


def _unfinished_prompt(is_missing: np.ndarray, given: np.ndarray) -> int:
    """Return how many tokens of the prompt, from the first on, have no row in the last layer."""
    is_unfinished = given & is_missing[:, -1] & ~is_missing[:, :-1].any(axis=1)
    return int(np.argmin(is_unfinished)) if not is_unfinished.all() else 0


FORMAT = Format("bigmoe", "route trace CSV of BigMoeOnEdge", (".csv",), read)
