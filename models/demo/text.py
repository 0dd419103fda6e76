"""Training text of the bundled model: docstrings of third-party packages.

The text that the bundled dataset reads (the standard library's own docstrings) is
excluded by content, so that `gatehouse run` never measures routing on training text.
"""

import ast
import hashlib
import importlib.util
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGES = (
    "transformers",
    "torch",
    "scipy",
    "sympy",
    "pandas",
    "sqlalchemy",
    "networkx",
    "numpy",
    "matplotlib",
    "huggingface_hub",
    "prefect",
    "datasets",
    "pyarrow",
    "duckdb",
    "rich",
)
HELD_OUT_ONE_IN = 40
SHORTEST_DOCSTRING = 60


@dataclass(frozen=True)
class Document:
    """One docstring; `held_out` is decided by its module, so near-copies stay on one side."""

    module: str
    text: str
    held_out: bool


def read_documents() -> list[Document]:
    """Read every distinct docstring of `PACKAGES`, in a fixed order.

    Raises:
        ModuleNotFoundError: a package is missing from the environment.
    """
    seen = {_digest(text) for text in _docstrings_under(Path(sysconfig.get_path("stdlib")))}
    documents = []
    for package in PACKAGES:
        specification = importlib.util.find_spec(package)
        if specification is None or specification.origin is None:
            raise ModuleNotFoundError(f"{package} is not installed: run `make install`")
        root = Path(specification.origin).parent
        for path in sorted(root.rglob("*.py")):
            module = f"{package}/{path.relative_to(root).as_posix()}"
            held_out = int(_digest(module), 16) % HELD_OUT_ONE_IN == 0
            for text in _docstrings(path):
                if (digest := _digest(text)) not in seen:
                    seen.add(digest)
                    documents.append(Document(module, text, held_out))
    return documents


def _docstrings_under(root: Path) -> Iterator[str]:
    for path in sorted(root.rglob("*.py")):
        if "site-packages" not in path.parts:
            yield from _docstrings(path)


def _docstrings(path: Path) -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in other people's sources
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text and len(text) >= SHORTEST_DOCSTRING:
                yield text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
