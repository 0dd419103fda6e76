"""What is said in words: one safe line without secrets, and numbers with their nouns."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import counted, printable, printable_lines, without_secrets

MARKER = "hf_" + "Marker0" * 5


@given(st.text())
def test_an_error_is_one_line_that_steers_no_terminal(text):
    line = str(GatehouseError(text))
    assert len(line.splitlines()) <= 1
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in line)


def test_what_can_be_read_stays():
    text = "there is no run 'é 漢\u3000字 😀 it\\'s [a] *b?': name another"
    assert printable(text) == text
    assert printable("a\nb\x1b[31m\0\u202e\u2028\udcff") == r"a\nb\x1b[31m\x00\u202e\u2028\udcff"


def test_an_answer_keeps_its_lines():
    assert printable_lines("a\x1b[31m\nb\r\u202e\n") == "a\\x1b[31m\nb\\r\\u202e\n"


@pytest.mark.parametrize("name", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "PREFECT_API_KEY"])
def test_a_secret_of_the_environment_is_not_shown(monkeypatch, name):
    monkeypatch.setenv(name, "swordfish-0123")
    assert str(GatehouseError("refused: swordfish-0123.")) == "refused: ***."


def test_short_values_are_words(monkeypatch):
    monkeypatch.setenv("SOME_KEY", "the")
    assert without_secrets("the other") == "the other"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"bad token {MARKER}, sorry", "bad token ***, sorry"),
        ("Authorization: Bearer abc.def-1", "Authorization: Bearer ***"),
        ("cannot reach https://me:word@hub.example/x", "cannot reach https://***@hub.example/x"),
        ("owner/hf_model", "owner/hf_model"),
        ("see https://hub.example:443/a@b", "see https://hub.example:443/a@b"),
    ],
)
def test_what_looks_like_a_secret_is_not_shown(text, shown):
    assert str(GatehouseError(text)) == shown


def test_an_error_passes_between_processes():
    error = GatehouseError("a\nb")
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == r"a\nb"  # noqa: S301


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
