"""A chat becomes the tokens of its template, and every token is somebody's."""

import json
import re

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from gatehouse.models.text.chat import chat_template, encode_chat
from gatehouse.models.tokenizer import tokenizer_fingerprint
from gatehouse.warehouse.errors import GatehouseError
from tests.conftest import DEMO

TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What does a router do?"},
    {"role": "assistant", "content": "It sends tokens to experts."},
    {"role": "user", "content": "Why?"},
    {"role": "assistant", "content": "To save work."},
]
PLAIN = (
    "{% for message in messages %}[{{ message.role }}]\n{{ message.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]\n{% endif %}"
)
MASKED = (
    "{% for message in messages %}[{{ message.role }}]\n{% if message.role == 'assistant' %}"
    "{% generation %}{{ message.content }}</s>{% endgeneration %}"
    "{% else %}{{ message.content }}</s>{% endif %}\n{% endfor %}"
)
FORGETTING = (
    "{% for message in messages %}[{{ message.role }}]\n"
    "{% if loop.last and message.role == 'assistant' %}<think>\n</think>{% endif %}"
    "{{ message.content }}</s>\n{% endfor %}{% if add_generation_prompt %}[assistant]\n{% endif %}"
)
STRICT = (
    "{% if messages[-1].role == 'system' or (add_generation_prompt and messages|length == 4) %}"
    "{{ raise_exception('a user must speak last') }}{% endif %}" + PLAIN
)


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(DEMO)


def spans(tokenizer: PreTrainedTokenizerBase, turns: list[dict], *, reply: bool = False):
    """Return (the text of each turn's span by role, the text that counts as generated)."""
    found = encode_chat(tokenizer, json.dumps(turns), reply=reply)
    ends = [*(first for _, first in found.turns[1:]), len(found.token_ids)]
    read = lambda start, end: tokenizer.decode(list(found.token_ids[start:end]))  # noqa: E731
    spoken = [
        (role, read(first, end)) for (role, first), end in zip(found.turns, ends, strict=True)
    ]
    return spoken, read(found.prompt_tokens, len(found.token_ids))


@pytest.mark.parametrize("template", [PLAIN, MASKED], ids=["by prefix", "by the mask"])
def test_a_turn_is_what_the_template_makes_of_it(tokenizer, template):
    tokenizer.chat_template = template
    spoken, generated = spans(tokenizer, TURNS)
    expected = [(turn["role"], f"[{turn['role']}]\n{turn['content']}</s>") for turn in TURNS]
    assert [(role, text.rstrip("\n")) for role, text in spoken] == expected
    assert generated.rstrip("\n") == "To save work.</s>"


@pytest.mark.parametrize("template", [FORGETTING, STRICT], ids=["forgetting", "strict"])
def test_where_a_template_has_no_prefix_a_turn_begins_with_its_words(tokenizer, template):
    """As where earlier thinking is dropped, or where a chat must end with a user."""
    tokenizer.chat_template = template
    spoken, generated = spans(tokenizer, TURNS)
    assert [role for role, _ in spoken] == [turn["role"] for turn in TURNS]
    for (_, text), turn in zip(spoken, TURNS, strict=True):
        assert turn["content"] in text
    assert "".join(text for _, text in spoken).count("[user]") == 2
    assert generated.rstrip("\n").removeprefix("<think>\n</think>") == "To save work.</s>"


def test_a_turn_that_a_template_leaves_out_has_no_tokens(tokenizer):
    tokenizer.chat_template = (
        "{% if messages|length < 5 %}{{ raise_exception('unfinished') }}{% endif %}"
        "{% for message in messages if message.content != 'Why?' %}{{ message.content }}</s>"
        "{% endfor %}"
    )
    spoken, generated = spans(tokenizer, TURNS)
    assert generated == spoken[4][1] == "To save work.</s>" and spoken[3] == ("user", "")


def test_a_chat_that_ends_with_a_question_is_given_whole(tokenizer):
    tokenizer.chat_template = PLAIN
    found = encode_chat(tokenizer, json.dumps(TURNS[:-1]), reply=False)
    assert found.prompt_tokens == len(found.token_ids)


def test_for_an_answer_the_one_at_hand_is_left_out(tokenizer):
    tokenizer.chat_template = PLAIN
    spoken, generated = spans(tokenizer, TURNS, reply=True)
    assert generated == "" and spoken[-1] == ("assistant", "[assistant]\n")
    assert spoken == spans(tokenizer, TURNS[:-1], reply=True)[0]


def test_special_tokens_are_the_template_s_alone(tokenizer):
    tokenizer.chat_template = PLAIN
    found = encode_chat(tokenizer, json.dumps(TURNS), reply=False)
    expected = tokenizer.apply_chat_template(TURNS, tokenize=True, return_dict=False)
    assert list(found.token_ids) == expected


def test_a_template_that_writes_the_day_writes_the_same_one_tomorrow(tokenizer):
    tokenizer.chat_template = "Today is {{ strftime_now('%d %b %Y') }}.\n" + PLAIN
    spoken, _ = spans(tokenizer, TURNS)
    assert spoken[0][1].startswith("Today is 26 Jul 2024.\n[system]")


def test_a_tokenizer_without_a_template_is_one_line_with_the_way_out(tokenizer):
    with pytest.raises(GatehouseError, match=r"has no chat template.*--chat-as-text"):
        chat_template(tokenizer)


def test_a_template_that_refuses_a_chat_is_one_line_with_the_way_out(tokenizer):
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(GatehouseError, match=r"refuses it.*roles must alternate.*--chat-as-text"):
        encode_chat(tokenizer, json.dumps(TURNS), reply=False)


def test_the_fingerprint_changes_with_what_stands_beside_the_tokenizer(tokenizer):
    found = {tokenizer_fingerprint(tokenizer, beside) for beside in ((), [PLAIN], [MASKED])}
    assert len(found) == 3 and all(re.fullmatch("[0-9a-f]{16}", each) for each in found)
