"""What is said in words: numbers with their nouns."""

import pytest

from flows.console import counted


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (0, "0 finished runs"),
        (1, "1 finished run"),
        (2, "2 finished runs"),
        (1_100, "1,100 finished runs"),
    ],
)
def test_one_is_singular(number, line):
    assert counted(number, "finished run") == line
