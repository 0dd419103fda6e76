"""Whether the tokens of a trace are those of the model's tokenizer."""

from collections.abc import Iterable

import numpy as np

from gatehouse.ingest.traces.laws.fitted import Fitted
from gatehouse.ingest.traces.laws.required import ANOTHER_MODEL
from gatehouse.warehouse.errors import GatehouseError


class Vocabulary:
    """The token ids of a tokenizer, which may leave some out.

    Args:
        token_ids: in ascending order.
    """

    def __init__(self, token_ids: Iterable[int]) -> None:
        known = np.fromiter(token_ids, np.int64)
        self._has = np.zeros(known[-1] + 1 if len(known) else 0, bool)
        self._has[known] = True

    def check(self, sequence: Fitted) -> None:
        """Refuse a sequence with a token that is not in it.

        Raises:
            GatehouseError: names the sequence and the first such token.
        """
        ids = sequence.token_ids
        if ids is None:
            return
        within = ids < len(self._has)
        within[within] = self._has[ids[within]]
        if within.all():
            return
        raise GatehouseError(
            f"{sequence.name} has token id {ids[~within][0]}, which is none of the "
            f"{self._has.sum():,} of the model's tokenizer; {ANOTHER_MODEL}, or leave token ids out"
        )
