"""Small corpora, and what every refusal must look like."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from gatehouse.ingest import prepare as preparing
from gatehouse.ingest.corpora import Corpus
from gatehouse.ingest.rows import Document
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.records import Sample

Refuses = Callable[..., AbstractContextManager[None]]

LONG = "A sentence that is long enough to count as a docstring, which is sixty characters."


@pytest.fixture
def refuses() -> Refuses:
    """Return a context that expects a GatehouseError of one line with these words."""

    @contextmanager
    def check(*words: str) -> Iterator[None]:
        with pytest.raises(GatehouseError) as caught:
            yield
        message = str(caught.value)
        assert len(message.splitlines()) == 1
        for word in words:
            assert word in message

    return check


@pytest.fixture
def stdlib(tmp_path: Path) -> Path:
    """A standard library of a few files, including all that must stay out of the corpus."""
    files = {
        "pydoc_data/topics.py": f"topics = {{'if': 'The if statement. {LONG}', 'for': 'For.'}}\n",
        "plain.py": f'"""{LONG} Module."""\n\nclass A:\n    """{LONG} Class."""\n',
        "nested.py": (
            "try:\n    import missing\nexcept ImportError:\n"
            f'    def fallback():\n        """{LONG} In a handler."""\n'
            "match 1:\n    case 1:\n        async def late():\n"
            f'            """{LONG} In a case."""\n'
        ),
        "again.py": f'def same():\n    """{LONG} Module."""\n\ndef short():\n    """Short."""\n',
        "empty.py": "",
        "broken.py": "def broken(:\n",
        "latin.py": "# -*- coding: latin-1 -*-\nname = 'caf\u00e9'\n",
        "package/lonely.py": f'def lone():\n    """{LONG} \\ud800 surrogate."""\n',
        "test/test_plain.py": f'"""{LONG} Test."""\n',
        "package/tests/case.py": f'"""{LONG} Test."""\n',
        "idlelib/idle_test/case.py": f'"""{LONG} Test."""\n',
        "site-packages/other.py": f'"""{LONG} Installed."""\n',
        "__pycache__/plain.py": f'"""{LONG} Cached."""\n',
        "config-3.11-x86_64/makesetup.py": f'"""{LONG} Config."""\n',
        "_sysconfigdata_linux.py": f'"""{LONG} Machine."""\n',
    }
    root = tmp_path / "stdlib"
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("latin-1" if name == "latin.py" else "utf-8"))
    return root


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A corpus of 1,200 rows, 200 of them empty or white space."""
    texts = [f"text {index}" if index % 6 else " \t" * (index % 4) for index in range(1_200)]
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterator[Document]], None]:
    """Replace the corpus `pydoc` with these documents."""

    def replace(documents: Iterator[Document]) -> None:
        monkeypatch.setattr(
            preparing, "read_corpus", lambda name, **reading: Corpus(name, documents, None)
        )

    return replace


@pytest.fixture(scope="session")
def samples_of() -> Callable[[Path], list[Sample]]:
    """Return a function that reads every sample of a prepared file."""

    def read(path: Path) -> list[Sample]:
        shards = range(preparing.shard_count(path))
        return [sample for shard in shards for sample in preparing.read_shard(path, shard)]

    return read
