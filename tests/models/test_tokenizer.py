"""A long text encoded in pieces has the token ids of the whole text."""

import pydoc_data.topics
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from gatehouse.models import tokenizer as encoding
from gatehouse.models.tokenizer import encode
from gatehouse.models.zoo import resolve
from gatehouse.warehouse.errors import GatehouseError

ENGLISH = "\n".join(text for _, text in sorted(pydoc_data.topics.topics.items()))[:60_000]
CHINESE = "路由器为每个标记选择专家并记录它们的权重。熵以奈特为单位。" * 40
ODD = [
    *("<s>", "</s>", " ", "  \n\n ", "\t", "é", "e\u0301", "🙂", "\x00", "'s", "don't", "ﬁ"),
    *("1234567", "a" * 40),
]
SPECIAL = ["<s>", "</s>", "<unk>"]


def sentencepiece_like(model: models.Model, trainer: trainers.Trainer) -> Tokenizer:
    """Return a tokenizer that sees a whole text as one word, as Llama's and Mixtral's does."""
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Replace("▁", " ")
    # trained word by word: learning from one word of 60,000 characters would take minutes
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("▁"), "merged_with_next")
    tokenizer.train_from_iterator([ENGLISH, CHINESE], trainer)
    tokenizer.pre_tokenizer = None
    return tokenizer


def byte_fallback() -> Tokenizer:
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=SPECIAL, show_progress=False)
    return sentencepiece_like(models.BPE(unk_token="<unk>", fuse_unk=True), trainer)


def unigram() -> Tokenizer:
    trainer = trainers.UnigramTrainer(
        vocab_size=400, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    return sentencepiece_like(models.Unigram(), trainer)


def unigram_of_words() -> Tokenizer:
    """As T5's and Switch Transformers' is."""
    tokenizer = unigram()
    tokenizer.normalizer = None
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def word_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=600, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator([ENGLISH], trainer)
    return tokenizer


@pytest.fixture(
    scope="module", params=["byte level", byte_fallback, unigram, unigram_of_words, word_piece]
)
def tokenizer(request):
    if request.param == "byte level":
        return resolve("demo").tokenizer
    built = request.param()
    built.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=built, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(encoding, "PIECE", 400)
    monkeypatch.setattr(encoding, "SHARED", 160)


def whole(tokenizer, text: str) -> array:
    return array("i", tokenizer([text], add_special_tokens=True, verbose=False)["input_ids"][0])


@pytest.mark.parametrize(
    "text",
    [
        ENGLISH[:20_000],
        CHINESE,
        "x" * 5_000,
        "ab" * 3_000,
        " " * 3_000 + "end",
        "word " * 1_000,
        ENGLISH[:3_000] + "z" * 2_000 + ENGLISH[3_000:6_000],
        ("</s>" + ENGLISH[:50] + "<s>") * 30,
    ],
    ids=["English", "Chinese", "a letter", "two letters", "spaces", "a word", "mixed", "specials"],
)
def test_pieces_give_the_ids_of_the_whole_text(tokenizer, small_pieces, text):
    assert encode(tokenizer, [text, "short"]) == [whole(tokenizer, text), whole(tokenizer, "short")]


@settings(max_examples=40)
@given(st.lists(st.sampled_from([*ODD, *ENGLISH[:4_000].split()]), min_size=100, max_size=600))
def test_so_they_do_for_odd_texts(tokenizer, parts):
    text = "".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "PIECE", 400)
        patch.setattr(encoding, "SHARED", 160)
        assert encode(tokenizer, [text]) == [whole(tokenizer, text)]


def test_a_tokenizer_that_panics_is_named():
    """An expression that takes back too much: Oniguruma gives up, and the library panics."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"(e+|[a-z ]+)+\d\d$"), "isolated")
    panicking = PreTrainedTokenizerFast(tokenizer_object=tokenizer, name_or_path="a/model")
    with pytest.raises(GatehouseError, match=r"the tokenizer of a/model gave up .*name another"):
        encode(panicking, ["the router sends every token to two experts of a layer " * 3])


def test_no_more_than_some_pieces_are_encoded_at_once(tokenizer, small_pieces, monkeypatch):
    sizes = []
    encoded = encoding._encoded
    monkeypatch.setattr(
        encoding,
        "_encoded",
        lambda tokenizer, texts: sizes.append(sum(map(len, texts))) or encoded(tokenizer, texts),
    )
    encode(tokenizer, [ENGLISH])
    if tokenizer.backend_tokenizer.pre_tokenizer is None and "Unigram" in str(
        tokenizer.backend_tokenizer.model
    ):
        assert sizes[-1] >= len(ENGLISH)
        return
    # pieces that disagree over so short a text as they share here are encoded again, longer
    assert max(sizes) <= 4 * encoding.TOGETHER * encoding.PIECE < len(ENGLISH) / 4
    assert sum(sizes) < 4 * len(ENGLISH)
