"""The orders in which rows of routing may follow the tokens of a file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gatehouse.ingest.traces.laws.fitted import Fitted
from gatehouse.warehouse.errors import GatehouseError

OF_ROWS = ("experts", "weights", "entropy", "confidence")


@dataclass(frozen=True)
class Order:
    """How the rows of a file follow its tokens.

    Attributes:
        name: for people.
        shift: row r belongs to token r + shift of its sequence.
        batch: rows of as many sequences take turns, and their tokens do not; 1: they do not.
    """

    name: str
    shift: int = 0
    batch: int = 1

    def applied(self, sequences: Sequence[Fitted]) -> list[Fitted]:
        """Return the sequences with their rows beside their tokens.

        A shifted one loses the tokens without rows, and is left out where it has no others.

        Args:
            sequences: `batch` of them or a multiple, as they follow each other in the file.

        Raises:
            GatehouseError: those of one batch are not all there, or not of one length.
        """
        if self.shift:
            return [
                _shifted(sequence, self.shift)
                for sequence in sequences
                if len(sequence.experts) > abs(self.shift)
            ]
        if self.batch == 1:
            return list(sequences)
        if not has_whole_batches(sequences, self.batch):
            raise GatehouseError(
                f"{sequences[0].name} and what follows is no batch of {self.batch} sequences of "
                "one length, whose rows take turns; give the whole file"
            )
        rows = self.rows_of([len(sequence.experts) for sequence in sequences])
        found: dict[str, list[Any]] = {name: _at(sequences, name, rows) for name in OF_ROWS}
        return [
            replace(sequence, **{name: arrays[index] for name, arrays in found.items()})
            for index, sequence in enumerate(sequences)
        ]

    def rows_of(self, lengths: Sequence[int]) -> np.ndarray:
        """Return which row belongs to each token of sequences that follow each other, [T].

        The first of a shifted sequence get the last rows, so that there is one for every token.
        """
        starts = np.cumsum([0, *lengths[:-1]])
        if self.batch > 1:
            of_batch = lengths[0] * self.batch
            places = np.arange(of_batch).reshape(lengths[0], self.batch).T.ravel()
            return (starts[:: self.batch, None] + places).ravel()
        pairs = zip(starts, lengths, strict=True)
        return np.concatenate([start + np.roll(np.arange(n), self.shift) for start, n in pairs])


def has_whole_batches(sequences: Sequence[Fitted], size: int) -> bool:
    """Return whether sequences are one or more batches of a size, and all of one length."""
    lengths = {len(sequence.experts) for sequence in sequences}
    return len(lengths) == 1 and len(sequences) % size == 0


def _shifted(sequence: Fitted, shift: int) -> Fitted:
    """Return a sequence without the tokens and rows that have no counterpart."""
    ahead, behind = slice(abs(shift), None), slice(-abs(shift))
    tokens, rows = (ahead, behind) if shift > 0 else (behind, ahead)
    arrays = {name: getattr(sequence, name) for name in OF_ROWS}
    cut: dict[str, Any] = {
        name: None if values is None else values[rows] for name, values in arrays.items()
    }
    prompt = sequence.prompt_tokens
    if prompt is not None:
        prompt = min(max(prompt - max(shift, 0), 0), len(cut["experts"]))
    token_ids = None if sequence.token_ids is None else sequence.token_ids[tokens]
    return replace(sequence, token_ids=token_ids, prompt_tokens=prompt, **cut)


def _at(sequences: Sequence[Fitted], name: str, rows: np.ndarray) -> list[Any]:
    """Return what stands in some rows of all sequences, in pieces of their length."""
    arrays = [getattr(sequence, name) for sequence in sequences]
    if arrays[0] is None:
        return [None] * len(arrays)
    return np.split(np.concatenate(arrays)[rows], len(arrays))
