"""The lists of cards as tables of numbers, and the tokens that they show as places among them."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gatehouse.reports.marts.expert_cards import ExpertCards
from gatehouse.reports.marts.facts import token_literal
from gatehouse.reports.page.packing import plain


class Vocabulary:
    """The tokens that the cards show, and the place of each."""

    def __init__(self, cards: ExpertCards) -> None:
        self._strings = cards.words.set_index("token_id")["token_str"].fillna("")
        contexts = [*cards.contexts["token_ids"], np.empty(0)]
        self._words = np.unique(np.concatenate(contexts).astype(np.int64))
        self._tokens = np.unique(cards.tokens["token_id"])

    def words(self) -> list[str]:
        """Return the text of every token of a context."""
        return [str(each) for each in self._strings.reindex(self._words, fill_value="")]

    def tokens(self) -> dict[str, Any]:
        """Return id and literal of every token that an expert is chosen for."""
        named = self._strings.reindex(self._tokens, fill_value="")
        return {"id": plain(self._tokens), "literal": [token_literal(each) for each in named]}

    def places(self, ids: NDArray[np.int64], *, of_words: bool) -> NDArray[np.intp]:
        """Return where ids stand in `words` or in `tokens`."""
        return np.searchsorted(self._words if of_words else self._tokens, ids)


class Entries:
    """Entries of lists as a table: a row for each expert, a column for each place in its list."""

    def __init__(self, entries: pd.DataFrame, order: list[int], width: int) -> None:
        self.shape = (len(order), width)
        self._entries = entries
        row_of = {expert: row for row, expert in enumerate(order)}
        rows = entries["expert"].map(row_of).to_numpy(dtype=np.int64)
        self.cells = rows * width + entries.groupby("expert").cumcount().to_numpy()

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column of the entries as (experts, width); nan where there is none."""
        table = np.full(self.shape[0] * self.shape[1], np.nan)
        table[self.cells] = self._entries[name].to_numpy(dtype=np.float64, na_value=np.nan)
        return table.reshape(self.shape)

    def lists(self, name: str, width: int) -> NDArray[np.float64]:
        """Return a column of lists as (experts x places, width); nan behind the end of a list."""
        table = np.full((self.shape[0] * self.shape[1], width), np.nan)
        for cell, values in zip(self.cells, self._entries[name], strict=True):
            table[cell, : len(values)] = values
        return table
