"""The `pydoc` corpus: the English that every Python comes with, read but never imported.

It needs only the standard library, so it can be tried under any Python:

    python -c "from gatehouse.ingest.pydoc import read_pydoc; print(next(read_pydoc()))"
"""

import ast
import hashlib
import io
import os
import sysconfig
import tokenize
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

SHORTEST_DOCSTRING = 60
"""Characters; shorter docstrings are labels rather than sentences."""

EXCLUDED_FOLDERS = {
    "__phello__",
    "__pycache__",
    "dist-packages",
    "idle_test",
    "pydoc_data",
    "site-packages",
    "test",
    "tests",
}
"""Tests and installed packages differ from machine to machine; the topics are read separately."""


class _Document(NamedTuple):
    name: str
    domain: str
    read: Callable[[], str]
    module: str | None = None


def read_pydoc(stdlib: Path | None = None) -> Iterator[tuple[str, str, str, str | None]]:
    """Yield (name, domain, text, module) of the library, shuffled by the SHA-256 of the name.

    Domains: `reference` (the topics of `help()`), `docstring` (at least SHORTEST_DOCSTRING
    characters, distinct by content) and `source` (whole files). The order depends on nothing but
    the names, so every prefix is a random sample of all three.

    A source holds its docstrings word for word, so both name their `module`, the path of its file:
    they are one document, all train or all held out. A topic is a document by itself, None.

    Args:
        stdlib: folder of the standard library; by default that of the running Python.
    """
    root = stdlib or Path(sysconfig.get_path("stdlib"))
    documents = [*_topics(root), *_sources_and_docstrings(root)]
    documents.sort(key=lambda document: hashlib.sha256(_encode(document.name)).digest())
    for document in documents:
        yield document.name, document.domain, document.read(), document.module


def _topics(root: Path) -> Iterator[_Document]:
    source = _read_source(root / "pydoc_data" / "topics.py")
    tree = _parse(source)
    for statement in tree.body if tree else []:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Dict):
            for topic, text in ast.literal_eval(statement.value).items():
                yield _Document(f"topics/{topic}", "reference", partial(str, text))


def _sources_and_docstrings(root: Path) -> Iterator[_Document]:
    seen: set[bytes] = set()
    for path in _files(root):
        source = _read_source(path)
        tree = _parse(source)
        if tree is None or not source.strip():
            continue
        name = path.relative_to(root).as_posix()
        yield _Document(name, "source", partial(_read_source, path), name)
        for line, text in _docstrings(tree):
            digest = hashlib.sha256(_encode(text)).digest()
            if digest not in seen:
                seen.add(digest)
                yield _Document(f"{name}:{line}", "docstring", partial(str, text), name)


def _files(root: Path) -> Iterator[Path]:
    """Yield the library's modules; `_sysconfigdata*.py` holds one machine's build settings."""
    for folder, folders, names in os.walk(root):
        # in place: the walk must not even enter a site-packages of many thousand files
        folders[:] = sorted(name for name in folders if not _is_excluded(name))
        for name in sorted(names):
            if name.endswith(".py") and not name.startswith("_sysconfigdata"):
                yield Path(folder, name)


def _is_excluded(folder: str) -> bool:
    return folder in EXCLUDED_FOLDERS or folder.startswith("config-")


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield (first line, text) of the docstrings of a module and of all that it defines."""
    for node in (tree, *_statements(tree)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text and len(text) >= SHORTEST_DOCSTRING:
                yield node.body[0].lineno, text


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    # ast.walk also visits every expression, and takes longer over them than parsing does
    for field in ("body", "handlers", "cases", "orelse", "finalbody"):
        for child in getattr(node, field, ()):
            yield child
            yield from _statements(child)


def _parse(source: str) -> ast.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in other people's sources
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError):
            return None


def _read_source(path: Path) -> str:
    """Return the text, decoded as the file declares, or an empty one if that fails."""
    try:
        content = path.read_bytes()
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        return content.decode(encoding).replace("\r\n", "\n")
    except (OSError, SyntaxError, UnicodeDecodeError):
        return ""


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
