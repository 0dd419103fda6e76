"""Chats keep who speaks, in whatever form a row holds them."""

import json

import pytest

from gatehouse.ingest.chats import chat_in, chat_in_text
from gatehouse.ingest.fields import Fields
from gatehouse.ingest.prepare import holds_chats, prepare

OPENAI = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
FORMS = [
    OPENAI,
    [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}],
    {"role": ["user", "assistant"], "content": ["Hi", "Ho"]},
    [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image"}]},
        {"role": "assistant", "content": "Ho", "tool_calls": None, "score": 3},
    ],
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_chat_is_the_same_turns(form):
    found = chat_in(form)
    assert found and json.loads(found.turns) == OPENAI and found.said == "Hi\n\nHo"
    assert chat_in_text(json.dumps(form) if isinstance(form, list) else "[]") is not None


def test_what_a_template_reads_of_a_turn_is_kept():
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f"}}]}
    without_content = {key: value for key, value in call.items() if key != "content"}
    for turn in (call, without_content):
        found = chat_in([OPENAI[0], turn])
        assert found and json.loads(found.turns)[1] == call | {"content": ""}
    assert chat_in([OPENAI[0], {"role": "assistant"}]) is None


def test_turns_without_speakers_are_a_text():
    found = chat_in([{"text": "Hi"}, {"text": "Ho"}])
    assert found == ("Hi\n\nHo", None)


def test_a_prepared_chat_is_its_turns_or_on_demand_a_text(tmp_path, samples_of):
    path = tmp_path / "chats.jsonl"
    rows = [{"messages": OPENAI}, {"messages": [{"role": "user", "content": " "}]}, {"text": "Yo"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    chats = prepare(str(path), folder=tmp_path / "out")
    texts = prepare(str(path), folder=tmp_path / "out", fields=Fields(chat_as_text=True))
    assert holds_chats(chats.path) and not holds_chats(texts.path)
    assert chats.skipped_empty == texts.skipped_empty == 1
    assert [(each.text, each.is_chat) for each in samples_of(texts.path)] == [
        ("Hi\n\nHo", False),
        ("Yo", False),
    ]
    first, second = samples_of(chats.path)
    assert json.loads(first.text) == OPENAI and (first.is_chat, second.is_chat) == (True, False)
    assert chats.fingerprint != texts.fingerprint
    # the file can be read as a corpus again
    again = prepare(str(chats.path), folder=tmp_path / "again")
    assert [each.is_chat for each in samples_of(again.path)] == [True, False]
