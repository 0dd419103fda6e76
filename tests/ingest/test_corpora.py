"""A name or a path becomes a corpus, or one line that says what to give instead."""

import platform
from functools import partial
from pathlib import Path

import pytest

from gatehouse.ingest import corpora
from gatehouse.ingest.corpora import is_on_hub, read_corpus
from gatehouse.ingest.pydoc import read_pydoc


def test_pydoc_is_read_under_its_name(stdlib: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "read_pydoc", partial(read_pydoc, stdlib))
    corpus = read_corpus("pydoc")
    assert corpus.name == "pydoc"
    assert corpus.revision == f"Python {platform.python_version()}"
    assert list(corpus.documents) == list(read_pydoc(stdlib))


def test_a_path_is_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "corpus.txt").write_text("a\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("corpus.txt", "./corpus.txt", "~/corpus.txt", str(tmp_path / "corpus.txt")):
        corpus = read_corpus(name)
        assert corpus.name == str((tmp_path / "corpus.txt").resolve())
        assert corpus.revision is None
        assert [document.text for document in corpus.documents] == ["a"]


@pytest.mark.parametrize(
    "name", ["nothing", "", " ", "missing.txt", "data/missing.jsonl", "./a/b", "a/b/c", "a\0b"]
)
def test_what_does_not_exist_is_refused_with_what_does(name: str, refuses) -> None:
    assert not is_on_hub(name)
    with refuses(repr(name), "pydoc, c4, wikitext", "owner/name"):
        read_corpus(name)


def test_what_exists_here_comes_before_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_on_hub("owner/name")
    assert is_on_hub("owner/name:configuration")
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert not is_on_hub("owner/name")
    (tmp_path / "c4").mkdir()
    assert is_on_hub("c4")
    assert not is_on_hub("./c4")
    assert not is_on_hub("pydoc")
