"""One rule for CSV that a spreadsheet opens: what it would run is quoted, and stays apart."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.warehouse.contents.spreadsheets import guarded

MARKS = st.text(st.sampled_from("'=+-@\t\r\n1.e5a"), max_size=6)


@pytest.mark.parametrize(
    "text",
    [*"=cmd|'/C&calc'!A0 +1 @SUM -1+1 - -x -inf --5 '=1 ''@".split(), "\t=", "\r=", "\n=", "-1\n"],
)
def test_a_formula_gets_a_quote(text):
    assert guarded(pa.array([text])).to_pylist() == [f"'{text}"]


@pytest.mark.parametrize(
    "text", ["", "a", "-1", "-1.5", "-.5", "-1e-5", "a=1", " =", "'a", "'", "'-5", "1", "\0", None]
)
def test_other_text_is_left_alone(text):
    assert guarded(pa.array([text], pa.string())).to_pylist() == [text]


@given(st.lists(st.none() | MARKS | st.text(), max_size=20))
def test_no_two_texts_become_one(texts):
    found = guarded(pa.array(texts, pa.string())).to_pylist()
    assert len(set(found)) == len(set(texts))
    assert all(new in (old, f"'{old}") for old, new in zip(texts, found))
