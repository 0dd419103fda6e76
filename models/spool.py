"""Routing as it comes, batch by batch, read back layer by layer: from disk, if there is much."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile, gettempdir
from typing import Self

import numpy as np
import pyarrow as pa

from gatehouse.models.events import LayerRouting, layer_events
from gatehouse.models.routers import RouterSite
from gatehouse.warehouse.events import PART_ROWS, Events
from gatehouse.warehouse.files import cannot_write, make_folder
from gatehouse.warehouse.records import EVENTS, EVENTS_WITH_NORMS, TokenWindow

IN_MEMORY = 64_000_000
"""Bytes of routing beyond which it goes to disk: 4 million events of a top-2 router."""


class Spool:
    """The routing of token windows, from `add` to `events`; what is on disk goes with the object.

    Args:
        sites: the MoE layers.
        folder: where a file without a name takes what the memory should not, or None for the
            system's folder of temporary files.
        has_norms: whether the routing has the norms of the experts' outputs.
    """

    def __init__(
        self, sites: list[RouterSite], folder: Path | None = None, *, has_norms: bool = False
    ) -> None:
        self._sites = sites
        self._rows = [_row(site.top_k, has_norms) for site in sites]
        self._schema = EVENTS_WITH_NORMS if has_norms else EVENTS
        self._folder = folder or Path(gettempdir())
        self._windows: list[TokenWindow] = []
        self._placed = [np.empty((0, 7), np.int64)]
        make_folder(self._folder)
        self._file = SpooledTemporaryFile(  # noqa: SIM115
            IN_MEMORY, prefix=".routing.", suffix=".tmp", dir=str(self._folder)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def add(self, windows: list[TokenWindow], found: list[LayerRouting]) -> None:
        """Take in the routing of the windows' tokens, one per site.

        Raises:
            GatehouseError: the disk is full.
        """
        lengths = np.array([len(window.token_ids) for window in windows])
        tokens = lengths.sum()
        placed = np.empty((len(windows), 7), np.int64)
        placed[:, 0] = [window.sample_id for window in windows]
        placed[:, 1] = [window.start for window in windows]
        placed[:, 2] = lengths
        placed[:, 3] = lengths.cumsum() - lengths
        placed[:, 6] = np.arange(len(windows)) + len(self._windows)
        try:
            placed[:, 4:6] = self._file.tell(), tokens
            for row, routing in zip(self._rows, found, strict=True):
                rows = np.empty(tokens, row)
                for name in row.names or ():
                    rows[name] = getattr(routing, name)
                self._file.write(rows.tobytes())
        except OSError as error:
            raise cannot_write(self._folder, error) from error
        self._windows += windows
        self._placed.append(placed)

    def events(self) -> Events:
        """Return the events of all that was added, readable until the spool is closed."""
        placed = np.concatenate(self._placed)
        placed = placed[np.lexsort((placed[:, 1], placed[:, 0]))]
        tokens = int(placed[:, 2].sum())
        parts = partial(self._parts, placed, tokens)
        return Events(tokens * len(self._sites), parts, self._schema)

    def _parts(self, placed: np.ndarray, tokens: int) -> Iterator[pa.Table]:
        before = 0
        for site, row in zip(self._sites, self._rows, strict=True):
            for start in range(0, tokens, PART_ROWS):
                part = _cut(placed, start, min(start + PART_ROWS, tokens))
                rows = np.frombuffer(self._read(part, before, row), row)
                routing = LayerRouting(*(rows[name] for name in row.names or ()))
                sample_id, first, lengths = part[:, 0], part[:, 1], part[:, 2]
                begins = lengths.cumsum() - lengths
                position = np.arange(len(rows)) + (first - begins).repeat(lengths)
                token_id = self._token_ids(part)
                yield layer_events(routing, site, sample_id.repeat(lengths), position, token_id)
            before += row.itemsize

    def _token_ids(self, part: np.ndarray) -> np.ndarray:
        found = []
        for _, start, length, _, _, _, number in part.tolist():
            window = self._windows[number]
            found.append(np.asarray(window.token_ids)[start - window.start :][:length])
        return np.concatenate(found)

    def _read(self, part: np.ndarray, before: int, row: np.dtype) -> bytes:
        """Return the rows of some windows; `before` bytes a token stand before them in a batch."""
        found = []
        for _, _, length, skipped, batch, tokens, _ in part.tolist():
            self._file.seek(batch + before * tokens + skipped * row.itemsize)
            found.append(self._file.read(length * row.itemsize))
        return b"".join(found)


def _row(top_k: int, has_norms: bool) -> np.dtype:
    """Return what is kept of one token in one layer, its fields as in LayerRouting."""
    return np.dtype(
        [
            ("experts", np.uint16, (top_k,)),
            ("weights", np.float16, (top_k,)),
            ("entropy", np.float32),
            ("confidence", np.float32),
            *([("norms", np.float32, (top_k,))] if has_norms else []),
        ]
    )


def _cut(placed: np.ndarray, start: int, end: int) -> np.ndarray:
    """Return the windows that have the tokens from `start` to `end`, cut to those."""
    ends = placed[:, 2].cumsum()
    begins = ends - placed[:, 2]
    met = (ends > start) & (begins < end)
    part = placed[met]
    skipped = (start - begins[met]).clip(0)
    part[:, 1] += skipped
    part[:, 3] += skipped
    part[:, 2] = ends[met].clip(None, end) - begins[met].clip(start)
    return part
