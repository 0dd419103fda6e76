"""A trace in pieces, each of which can be read by itself; and the shards that begin in each."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, chain, groupby
from pathlib import Path
from typing import Any

from gatehouse.ingest.traces import json_objects
from gatehouse.ingest.traces.landing import Cut
from gatehouse.ingest.traces.likeness import suffix_of
from gatehouse.ingest.traces.sequence import Layout, Piece, RoutedSequence, SequenceFormat

MOST_PIECES = 256
"""Of files: many small ones are read together."""

SMALLEST_PIECE = 8 << 20
"""Bytes of a piece of a long file: reading it should take longer than handing it to a worker."""


def pieces_of(format: SequenceFormat, given: Sequence[Path], layout: Layout) -> list[Piece]:
    """Return the pieces of a trace in their order; one where it can only be read from its start.

    Args:
        format: of the trace.
        given: what its `read` takes.
        layout: of the model.

    Raises:
        GatehouseError: as `format.pieces`.
    """
    if format.pieces:
        return format.pieces(list(given), layout)
    if format.files:
        return [Piece(tuple(given))]
    sizes = list(accumulate(path.stat().st_size for path in given))
    most = max(sizes[-1] // MOST_PIECES, SMALLEST_PIECE)
    # files of about as many bytes go together
    numbers = [(size - 1) * MOST_PIECES // max(sizes[-1], 1) for size in sizes]
    found: list[Piece] = []
    for _, numbered in groupby(zip(numbers, given, strict=True), key=lambda each: each[0]):
        together = tuple(path for _, path in numbered)
        found += _cut(format, together, most) or [Piece(together)]
    return found


def _cut(format: SequenceFormat, paths: tuple[Path, ...], size: int) -> list[Piece]:
    """Return a long file of lines in pieces; none of other files."""
    (path, *others) = paths
    is_of_lines = format.of_object and suffix_of(path) in json_objects.SUFFIXES
    if others or not is_of_lines or path.stat().st_size < 2 * size:
        return []
    return [Piece(paths, lines=lines) for lines in json_objects.cut(path, size)]


def read_piece(format: SequenceFormat, piece: Piece, layout: Layout) -> Iterator[RoutedSequence]:
    """Yield the sequences of a piece, as `format.read` yields those of the whole."""
    if piece.lines:
        assert format.of_object
        of_object, (path,) = format.of_object, piece.paths
        found = json_objects.objects(path, piece.lines)
        return chain.from_iterable(of_object(each, layout) for each in found)
    if piece.rows is None:
        return format.read(list(piece.paths), layout)
    assert format.read_rows
    (path,) = piece.paths
    return format.read_rows(path, layout, piece.rows)


@dataclass(frozen=True)
class Share:
    """The shards that begin in one piece, and what has to be read for them.

    Attributes:
        pieces: the one in which the first begins, to that in which the last ends.
        skipped: sequences of the first piece before the first shard.
        cuts: the shards, in their order.
    """

    pieces: list[Piece]
    skipped: int
    cuts: list[Cut]

    def as_json(self) -> dict[str, Any]:
        """Return what `share_of_json` makes the share of again."""
        cuts = [asdict(cut) for cut in self.cuts]
        pieces = [piece.as_json() for piece in self.pieces]
        return {"pieces": pieces, "skipped": self.skipped, "cuts": cuts}


def share_of_json(found: dict[str, Any]) -> Share:
    """Return the share that `Share.as_json` has given."""
    pieces = [Piece.of_json(each) for each in found["pieces"]]
    return Share(pieces, found["skipped"], [Cut(**each) for each in found["cuts"]])


class Places:
    """Where the sequences of a trace are.

    Args:
        pieces: of the trace.
        sequences: how many each of them has.
    """

    def __init__(self, pieces: Sequence[Piece], sequences: Sequence[int]) -> None:
        self._pieces = pieces
        self._starts = [0, *accumulate(sequences)]

    def shares_of(self, cuts: Sequence[Cut]) -> list[Share]:
        """Return what may be landed apart of some shards: by the pieces in which they begin."""
        return [self.share_of(list(cuts)) for _, cuts in groupby(cuts, key=self._begins_in)]

    def joined(self, shares: Sequence[Share]) -> list[Share]:
        """Return shares of which those that follow each other are one, so that none reads twice."""
        runs: list[list[Cut]] = []
        for share in shares:
            if runs and runs[-1][-1].number + 1 == share.cuts[0].number:
                runs[-1].extend(share.cuts)
            else:
                runs.append(list(share.cuts))
        return [self.share_of(cuts) for cuts in runs]

    def share_of(self, cuts: list[Cut]) -> Share:
        """Return one share of shards that follow each other."""
        number, first, last = self._begins_in(cuts[0]), cuts[0], cuts[-1]
        end = bisect_left(self._starts, last.first + last.sequences)
        skipped = first.first - self._starts[number]
        return Share(list(self._pieces[number:end]), skipped, cuts)

    def _begins_in(self, cut: Cut) -> int:
        return bisect_right(self._starts, cut.first) - 1
