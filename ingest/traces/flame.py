"""FLAME-MoE-Traces: a file of token ids, and a file of experts for each layer, row beside row."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gatehouse.ingest.traces.arrays import token_ids
from gatehouse.ingest.traces.sequence import Format, Layout, Piece, RoutedSequence
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import counted, first_few, quoted

WINDOW = 2_048
"""Tokens that the model saw at once."""
BATCH_ROWS = 32 * WINDOW
PIECE_ROWS = 512 * WINDOW
"""Of a piece that is read by itself: whole micro-batches."""
ITERATION = re.compile(r"iter_\d+")
NO_ROWS = np.empty((0, 0), np.int16), np.empty((0, 0), np.float32)
LAYER = re.compile(r"layer_(\d+)")


def read(paths: list[Path], layout: Layout) -> Iterator[RoutedSequence]:
    """Yield the windows of 2,048 tokens of some models' folders, at one iteration each.

    A path is a model's folder, if that has one iteration, or `actives/iter_N` in it. Layers are
    numbered from 1, weights are the softmax of all experts. No window is known to belong to
    another.

    Raises:
        GatehouseError: files are missing, or disagree with each other or with the model.
    """
    for path in paths:
        iteration, tokens, layers = _found(path, layout)
        yield from _windows(iteration.name, tokens, layers, (0, _rows_in(tokens)))


def read_rows(path: Path, layout: Layout, rows: tuple[int, int]) -> Iterator[RoutedSequence]:
    """Yield the windows of some rows, from one that begins a window on; raises as `read`."""
    iteration, tokens, layers = _found(path, layout)
    yield from _windows(iteration.name, tokens, layers, rows)


def pieces(paths: list[Path], layout: Layout) -> list[Piece]:
    """Return ranges of rows; all of them at once where a file has only one row group."""
    found = []
    for path in paths:
        _, tokens, layers = _found(path, layout)
        rows = _rows_in(tokens)
        can_be_cut = all(map(_has_row_groups, layers))
        step = PIECE_ROWS if can_be_cut else rows
        starts = range(0, rows, step) if rows else (0,)
        found += [Piece((path,), (start, min(start + step, rows))) for start in starts]
    return found


def _found(path: Path, layout: Layout) -> tuple[Path, list[Path], list[Path]]:
    """Return the folder of an iteration, the files of tokens, and those of layers."""
    iteration = _iteration(path)
    layers = _layer_files(iteration, layout)
    tokens = _token_files(iteration.parent.parent)
    _check_rows(iteration, tokens, layers)
    return iteration, tokens, layers


def _windows(
    name: str, tokens: list[Path], layers: list[Path], rows: tuple[int, int]
) -> Iterator[RoutedSequence]:
    streams = [_experts(path, rows) for path in layers]
    for begin, ids in enumerate(_batches(_token_ids(tokens, rows), BATCH_ROWS)):
        routed = [next(stream, NO_ROWS) for stream in streams]
        for path, (found, _) in zip(layers, routed, strict=True):
            if found.shape != (len(ids), routed[0][0].shape[1]):
                raise GatehouseError(
                    f"{path} has {counted(len(found), 'row')} of {found.shape[1]} experts beside "
                    f"{counted(len(ids), 'row')} of {routed[0][0].shape[1]} in others: copy or "
                    "download it again"
                )
        experts = np.stack([experts for experts, _ in routed], axis=1)
        weights = np.stack([weights for _, weights in routed], axis=1)
        for start in range(0, len(ids), WINDOW):
            here = slice(start, start + WINDOW)
            yield RoutedSequence(
                name=f"{name} window {(rows[0] + begin * BATCH_ROWS + start) // WINDOW}",
                token_ids=ids[here],
                experts=experts[here],
                weights=weights[here],
                is_ordered=bool((weights[here, :, 1:] <= weights[here, :, :-1]).all()),
            )


def _token_ids(paths: list[Path], rows: tuple[int, int]) -> Iterator[np.ndarray]:
    before = 0
    for path in paths:
        own = _rows_of(path)
        here = max(rows[0] - before, 0), min(rows[1] - before, own)
        before += own
        for batch in _columns(path, ["token_id"], here):
            ids = token_ids(_numbers(batch.column(0), path, "token_id"), f"{path} `token_id`")
            assert ids is not None
            yield ids


def _experts(path: Path, rows: tuple[int, int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the experts and weights of a layer, [rows, k] each, BATCH_ROWS at a time."""
    for found in _batches(_routed(path, rows), BATCH_ROWS):
        yield found[:, 0].astype(np.int16), found[:, 1]


def _routed(path: Path, rows: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield experts and weights, [rows, 2, k] float32: one array is cut at the same rows."""
    shape = None
    for batch in _columns(path, ["indices", "scores"], rows):
        both = [_lists(batch, name, path) for name in batch.schema.names]
        shape = shape or both[0].shape[1:]
        if any(each.shape[1:] != shape for each in both):
            raise GatehouseError(f"{path} has rows of different lengths: copy or download it again")
        yield np.stack(both, axis=1)


def _lists(batch: pa.RecordBatch, name: str, path: Path) -> np.ndarray:
    column = batch.column(name)
    lengths = pc.min_max(pc.list_value_length(column))
    if column.null_count or lengths["min"] != lengths["max"] or not lengths["min"].as_py():
        raise GatehouseError(
            f"{path} `{name}` has rows of different lengths: copy or download it again"
        )
    return _numbers(column.flatten(), path, name).reshape(len(column), -1).astype(np.float32)


def _numbers(column: pa.Array, path: Path, name: str) -> np.ndarray:
    wanted = pa.types.is_floating if name == "scores" else pa.types.is_integer
    if column.null_count or not wanted(column.type):
        raise GatehouseError(
            f"{path} `{name}` is {column.type} with {counted(column.null_count, 'null')}, not "
            f"{'floats' if name == 'scores' else 'integers'}: name a folder of FLAME-MoE-Traces"
        )
    return column.to_numpy(zero_copy_only=False)


def _columns(path: Path, names: list[str], rows: tuple[int, int]) -> Iterator[pa.RecordBatch]:
    """Yield some rows of columns; row groups without any are not read."""
    with _opened(path) as file:
        missing = [name for name in names if name not in file.schema_arrow.names]
        if missing:
            raise GatehouseError(
                f"{path} has no column `{missing[0]}`: name a folder of FLAME-MoE-Traces"
            )
        groups, before = _groups(file, rows)
        for batch in file.iter_batches(
            BATCH_ROWS, row_groups=groups, columns=names, use_threads=False
        ):
            here = batch[max(rows[0] - before, 0) : max(rows[1] - before, 0)]
            before += len(batch)
            if len(here):
                yield here


def _groups(file: pq.ParquetFile, rows: tuple[int, int]) -> tuple[list[int], int]:
    """Return the row groups that hold some rows, and how many rows are before the first."""
    groups: list[int] = []
    before = start = 0
    for group in range(file.num_row_groups):
        end = start + file.metadata.row_group(group).num_rows
        if start < rows[1] and end > rows[0]:
            before = before if groups else start
            groups.append(group)
        start = end
    return groups, before


def _has_row_groups(path: Path) -> bool:
    with _opened(path) as file:
        return file.num_row_groups > 1


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            yield file
    # names that are not UTF-8 are a ValueError
    except (OSError, ValueError, pa.ArrowException) as error:
        raise GatehouseError(
            f"{path} is no readable Parquet file ({quoted(error)}): copy or download it again"
        ) from error


def _batches(pieces: Iterator[np.ndarray], rows: int) -> Iterator[np.ndarray]:
    """Yield arrays of so many rows, and a last one of the rest, whatever the pieces have."""
    waiting: list[np.ndarray] = []
    for piece in pieces:
        waiting.append(piece)
        if sum(map(len, waiting)) >= rows:
            whole = np.concatenate(waiting)
            full = len(whole) // rows * rows
            yield from (whole[start : start + rows] for start in range(0, full, rows))
            waiting = [whole[full:]]
    rest = np.concatenate(waiting) if waiting else np.empty(0)
    if len(rest):
        yield rest


def _iteration(path: Path) -> Path:
    if ITERATION.fullmatch(path.name) and path.is_dir():
        return path
    found = sorted(each for each in (path / "actives").glob("iter_*") if each.is_dir())
    if not found:
        raise GatehouseError(
            f"{path} is no folder of FLAME-MoE-Traces, which has actives/iter_N: name a model's "
            "folder in it"
        )
    if len(found) > 1:
        names = first_few([each.name for each in found], 12)
        raise GatehouseError(f"{path} has {names}: name one of them, as {found[-1]}")
    return found[0]


def _layer_files(iteration: Path, layout: Layout) -> list[Path]:
    found = {
        int(match[1]) - 1: path
        for path in iteration.glob("layer_*.parquet")
        if (match := LAYER.fullmatch(path.stem))
    }
    blocks = tuple(sorted(found))
    if blocks not in (layout.blocks, tuple(range(layout.num_blocks))):
        theirs = first_few([f"{block + 1}" for block in blocks], 64) or "none"
        ours = first_few([f"{block + 1}" for block in layout.blocks], 64)
        raise GatehouseError(
            f"{iteration} has the layers {theirs}, and the model's MoE layers are {ours}: name the "
            "model that was traced, and download all of its layers"
        )
    return [found[block] for block in blocks]


def _token_files(model: Path) -> list[Path]:
    found = sorted((model / "samples").glob("*.parquet"))
    if not found:
        raise GatehouseError(f"{model / 'samples'} has no token ids: download its Parquet files")
    return found


def _files(path: Path) -> list[Path]:
    """Return the files that tell of an iteration: its layers, and the tokens beside them."""
    iteration = _iteration(path)
    return [*sorted(iteration.glob("layer_*.parquet")), *_token_files(iteration.parent.parent)]


def _check_rows(iteration: Path, tokens: list[Path], layers: list[Path]) -> None:
    expected = _rows_in(tokens)
    for path in layers:
        if (rows := _rows_of(path)) != expected:
            raise GatehouseError(
                f"{path} has {rows:,} rows for {counted(expected, 'token')} in "
                f"{tokens[0].parent}: download all files of {iteration.name} and samples"
            )


def _rows_in(tokens: list[Path]) -> int:
    return sum(map(_rows_of, tokens))


def _rows_of(path: Path) -> int:
    with _opened(path) as file:
        return file.metadata.num_rows


FORMAT = Format(
    "flame",
    "FLAME-MoE-Traces: a folder with samples/ and actives/iter_N/",
    (".parquet",),
    read,
    """flame-moe-290m/samples/000.parquet                     token_id
flame-moe-290m/actives/iter_5473/layer_02.parquet      scores, indices
flame-moe-290m/actives/iter_5473/layer_03.parquet""",
    files=_files,
    pieces=pieces,
    read_rows=read_rows,
)
