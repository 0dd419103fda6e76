"""Counts of experts land whole and lawful, or not at all."""

import pyarrow as pa
import pytest

from gatehouse.warehouse.counts import checked_counts
from gatehouse.warehouse.errors import BrokenLaw
from gatehouse.warehouse.records import COUNTS

LAYERS = pa.table({"layer": [1, 4], "num_experts": [2, 3]})
ROWS = [(1, 0, 3), (1, 1, 0), (4, 0, 1), (4, 1, 1), (4, 2, 1)]


def table(rows) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table(dict(zip(COUNTS.names, columns, strict=True))).cast(COUNTS)


def test_lawful_counts_are_returned_in_order():
    assert checked_counts(table(ROWS[::-1]), LAYERS).equals(table(ROWS))


@pytest.mark.parametrize(
    ("rows", "law"),
    [
        (ROWS[:-1], "one count for each expert"),
        ([*ROWS, (4, 2, 1)], "one count for each expert"),
        ([*ROWS[:-1], (4, 3, 1)], "one count for each expert"),
        ([(2, 0, 3), (2, 1, 0), *ROWS[2:]], "one count for each expert"),
        ([*ROWS[:-1], (4, 2, None)], "one count for each expert"),
        ([*ROWS[:-1], (4, 2, -1)], "below 0"),
        ([(1, 0, 0), *ROWS[1:]], "no selections in layer 1"),
    ],
)
def test_what_breaks_a_law_is_refused(rows, law):
    with pytest.raises(BrokenLaw, match=law):
        checked_counts(table(rows), LAYERS)
