"""The noun of every trace: one sequence, and how it was routed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from gatehouse.ingest.traces.json_objects import JsonObject, Lines


@dataclass(frozen=True)
class RoutedSequence:
    """The routing of one sequence's first T tokens, as a file tells it; L layers, k experts.

    Attributes:
        name: where it is, for people: the file, and the line or key.
        token_ids: [T] int32 or more, None where the format has none; it may hold tokens after
            those that were routed, as the last one.
        experts: [T, L, k] integers, with what the engine puts where it did not route.
        weights: [T, L, k] floats, None where the format has none.
        logits: the router's scores of each layer, [T, E] floats, in place of experts and weights:
            these follow from them. None elsewhere.
        is_ordered: whether the experts are in descending weight.
        prompt_tokens: how many of the tokens were given; None where all were.
        domain: the group that the file gives it, "" where it gives none.
        document: what it is a part of, None where it is a document by itself.
        expert_bytes: of an expert of each MoE layer, as the file says; None where it does not.
        note: what the reader left out of it, and why; "" where it left out nothing.
    """

    name: str
    token_ids: np.ndarray | None
    experts: np.ndarray
    weights: np.ndarray | None = None
    logits: list[np.ndarray] | None = None
    is_ordered: bool = False
    prompt_tokens: int | None = None
    domain: str = ""
    document: str | None = None
    expert_bytes: tuple[int, ...] | None = None
    note: str = ""


@dataclass(frozen=True)
class Layout:
    """What a model's config says of its MoE layers.

    Attributes:
        blocks: the index of each MoE layer's block, in order.
        num_blocks: blocks of the model, dense ones included.
        num_experts: of each MoE layer.
        top_k: of each MoE layer.
    """

    blocks: tuple[int, ...]
    num_blocks: int
    num_experts: tuple[int, ...]
    top_k: tuple[int, ...]


@dataclass(frozen=True)
class Piece:
    """What can be read by itself of a trace.

    Attributes:
        paths: as `Format.read` takes them.
        rows: which rows of the only path, where it is not all of them: the first, and the one
            after the last.
        lines: which of its lines, where they are not all.
    """

    paths: tuple[Path, ...]
    rows: tuple[int, int] | None = None
    lines: Lines | None = None

    def as_json(self) -> dict[str, Any]:
        """Return what `of_json` makes the piece of again."""
        paths = [str(path.absolute()) for path in self.paths]
        return {"paths": paths, "rows": self.rows, "lines": self.lines}

    @classmethod
    def of_json(cls, found: dict[str, Any]) -> "Piece":
        """Return the piece that `as_json` has given."""
        rows, lines = found["rows"], found["lines"]
        paths = tuple(map(Path, found["paths"]))
        return cls(paths, rows and (rows[0], rows[1]), lines and Lines(*lines))


Content = TypeVar("Content")
"""What the files of a format hold."""


@dataclass(frozen=True)
class Format(Generic[Content]):
    """A format of traces.

    Attributes:
        name: what `gatehouse import` calls it.
        description: one line on what writes it.
        suffixes: of its files, in lower case, with the dot.
        read: returns what some files hold, which fits a model; raises GatehouseError that names
            the file and the place in it. SequenceFormat says what it returns of sequences.
        example: what a file looks like, or how it comes about.
        files: of a format whose `read` takes the paths as they are given: the files that it then
            reads for one of them; raises GatehouseError as `read` does. Of other formats None:
            `read` takes files, one by one.
        pieces: of a format with `files`: some paths as pieces that may be read apart, in their
            order; None where they are one. A format without `files` may be read file by file.
        read_rows: of a format whose pieces have rows: `read` of these.
        of_object: of a format of JSON lines: the sequences of one object, whichever file it is in.
        has_drops: whether a weight of 0 means that the expert did not run, as in the lake; else it
            is one that was rounded to 0.
    """

    name: str
    description: str
    suffixes: tuple[str, ...]
    read: Callable[[list[Path], Layout], Content]
    example: str = ""
    files: Callable[[Path], list[Path]] | None = None
    pieces: Callable[[list[Path], Layout], list[Piece]] | None = None
    read_rows: Callable[[Path, Layout, tuple[int, int]], Content] | None = None
    of_object: Callable[[JsonObject, Layout], Content] | None = None
    has_drops: bool = False


SequenceFormat = Format[Iterator[RoutedSequence]]
"""One that is read sequence by sequence, in order, with one of them in memory at a time."""
