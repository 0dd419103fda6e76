"""The pydoc corpus: what is in it, what is not, and in which order."""

import ast
import hashlib
import sys
from collections import Counter
from pathlib import Path

import pytest

from gatehouse.ingest import pydoc
from gatehouse.ingest.numbering import split_of
from gatehouse.ingest.pydoc import SHORTEST_DOCSTRING, read_pydoc
from gatehouse.warehouse.records import document_hash

Documents = list[tuple[str, str, str, str | None]]


@pytest.fixture(scope="module")
def documents() -> Documents:
    """The standard library of the Python that runs the tests."""
    return list(read_pydoc())


def test_a_small_library_gives_exactly_its_topics_docstrings_and_sources(stdlib: Path) -> None:
    found = list(read_pydoc(stdlib))
    assert {(name, domain) for name, domain, *_ in found} == {
        ("topics/if", "reference"),
        ("topics/for", "reference"),
        ("plain.py", "source"),
        ("nested.py", "source"),
        ("again.py", "source"),
        ("latin.py", "source"),
        ("package/lonely.py", "source"),
        # the second copy of a docstring is the one left out: again.py comes before plain.py
        ("again.py:2", "docstring"),
        ("plain.py:4", "docstring"),
        ("nested.py:5", "docstring"),
        ("nested.py:9", "docstring"),
        ("package/lonely.py:2", "docstring"),
    }
    texts = {name: text for name, _, text, _ in found}
    assert texts["plain.py"] == (stdlib / "plain.py").read_text()
    assert texts["topics/for"] == "For."
    assert "caf\u00e9" in texts["latin.py"]


def test_nothing_is_imported_or_executed(stdlib: Path, tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    (stdlib / "effect.py").write_text(f"open({str(trace)!r}, 'w')\n")
    (stdlib / "pydoc_data" / "topics.py").write_text("topics = {}\nraise SystemExit\n")
    assert "effect.py" in {name for name, *_ in read_pydoc(stdlib)}
    assert not trace.exists()


def test_a_library_without_topics_or_files_is_read_for_what_it_has(tmp_path: Path) -> None:
    assert list(read_pydoc(tmp_path)) == []
    (tmp_path / "one.py").write_text("number = 1\n")
    assert list(read_pydoc(tmp_path)) == [("one.py", "source", "number = 1\n", "one.py")]


def test_reading_twice_gives_the_same_whatever_the_folder_is_called(
    stdlib: Path, tmp_path: Path
) -> None:
    first = list(read_pydoc(stdlib))
    assert first == list(read_pydoc(stdlib))
    moved = stdlib.rename(tmp_path / "moved")
    assert first == list(read_pydoc(moved))


def test_every_python_carries_all_three_domains(documents: Documents) -> None:
    counts = Counter(domain for _, domain, *_ in documents)
    assert set(counts) == {"reference", "docstring", "source"}
    assert counts["reference"] >= 50
    assert counts["docstring"] >= 3_000
    assert counts["source"] >= 400
    assert all(text.strip() for _, _, text, _ in documents)


def test_names_are_unique_and_docstrings_distinct_and_long(documents: Documents) -> None:
    assert len({name for name, *_ in documents}) == len(documents)
    docstrings = [text for _, domain, text, _ in documents if domain == "docstring"]
    assert len(set(docstrings)) == len(docstrings)
    assert min(map(len, docstrings)) >= SHORTEST_DOCSTRING


def test_the_order_is_that_of_the_hashed_names(documents: Documents) -> None:
    digests = [hashlib.sha256(name.encode()).hexdigest() for name, *_ in documents]
    assert digests == sorted(digests)


def test_a_prefix_samples_every_domain_in_its_share(documents: Documents) -> None:
    whole = Counter(domain for _, domain, *_ in documents)
    prefix = Counter(domain for _, domain, *_ in documents[:1000])
    for domain, count in whole.items():
        share = count / len(documents)
        # five standard deviations of a binomial count
        deviation = (1000 * share * (1 - share)) ** 0.5
        assert abs(prefix[domain] - 1000 * share) < 5 * deviation


def test_tests_and_installed_packages_are_left_out(documents: Documents) -> None:
    folders = {part for name, *_ in documents for part in name.split("/")[:-1]}
    assert not folders & {"test", "tests", "idle_test", "site-packages", "__pycache__"}
    assert not any(folder.startswith("config-") for folder in folders)
    assert {"asyncio", "json", "topics"} <= folders


@pytest.mark.parametrize("module", ["typing.py", "ssl.py", "_pydecimal.py", "turtle.py"])
def test_the_statement_walk_misses_no_definition(module: str) -> None:
    """`ast.walk` visits every node, and so every definition."""
    tree = ast.parse((Path(ast.__file__).parent / module).read_bytes())
    definitions = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    walked = {id(node) for node in ast.walk(tree) if isinstance(node, definitions)}
    assert walked
    assert walked == {id(node) for node in pydoc._statements(tree) if isinstance(node, definitions)}


def test_reading_needs_the_standard_library_alone() -> None:
    tree = ast.parse(Path(pydoc.__file__).read_text())
    names = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert names
    assert {name.split(".")[0] for name in names if name} <= sys.stdlib_module_names


def test_a_docstring_is_of_the_same_document_as_its_source(documents: Documents) -> None:
    """A source holds its docstrings word for word: held out alone, they would have been seen."""
    for name, domain, _, module in documents:
        expected = {"reference": None, "source": name, "docstring": name.rpartition(":")[0]}
        assert module == expected[domain]


def test_the_order_says_nothing_of_the_split(documents: Documents) -> None:
    """Both follow from hashes of a name; with the same hash, early sources would all be train."""
    early = [row for row in documents[:1000] if row[1] == "source"]
    held_out = sum(split_of(document_hash(module, "")) != "train" for *_, module in early)
    deviation = (len(early) * 0.2 * 0.8) ** 0.5
    assert len(early) > 50 and abs(held_out - 0.2 * len(early)) < 5 * deviation
