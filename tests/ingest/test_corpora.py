"""A name or a path becomes a corpus, or one line that says what to give instead."""

import json
import platform
from functools import partial
from pathlib import Path

import pytest

from gatehouse.ingest import corpora
from gatehouse.ingest.articles import joined_articles
from gatehouse.ingest.corpora import is_on_hub, read_corpus
from gatehouse.ingest.fields import Fields
from gatehouse.ingest.pydoc import read_pydoc
from gatehouse.ingest.rows import Broken, Document


def test_pydoc_is_read_under_its_name(stdlib: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "read_pydoc", partial(read_pydoc, stdlib))
    corpus = read_corpus("pydoc")
    assert corpus.name == "pydoc"
    assert corpus.revision == f"Python {platform.python_version()}"
    assert [document[:4] for document in corpus.documents] == list(read_pydoc(stdlib))


def test_a_path_is_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "corpus.txt").write_text("a")
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


WIKITEXT = [
    "",
    " = A = \n",
    "",
    " One . \n",
    " = = Part = = \n",
    " Two . \n",
    "",
    " = B = C = \n",
    "x",
]


def test_rows_of_articles_are_joined_wherever_they_are(tmp_path: Path) -> None:
    path = tmp_path / "part.jsonl"
    path.write_text("".join(json.dumps({"text": row}) + "\n" for row in WIKITEXT))
    found = [each for each in read_corpus(str(path)).documents if each.text.strip()]
    assert [(each.name, each.text, each.document) for each in found] == [
        ("part.jsonl:2", "".join(WIKITEXT[1:6]).replace("= A = \n", "= A = \n\n") + "\n", None),
        ("part.jsonl:8", " = B = C = \nx\n", None),
    ]
    # a corpus that only mentions such a row keeps its rows
    path.write_text("".join(json.dumps({"text": row}) + "\n" for row in ["x", *WIKITEXT]))
    assert [each.text for each in read_corpus(str(path)).documents] == ["x", *WIKITEXT]


def test_a_broken_row_within_an_article_is_still_met() -> None:
    title, broken = Document("a", "d", " = A = "), Broken("row 1", "mend it")
    rows = [broken, title, broken, Document("b", "d", "text")]
    found = list(joined_articles(iter(rows)))
    assert found == [broken, broken, Document("a", "d", " = A = \ntext\n")]
    assert list(joined_articles(iter([broken]))) == [broken]


def test_options_that_a_dataset_cannot_have_are_refused(refuses) -> None:
    with refuses("--document-field page", "pydoc", "leave it out"):
        read_corpus("pydoc", fields=Fields(document="page"))
