"""What the sources print that tells a person what to do, read from the sources."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[3]
PACKAGES = ("warehouse", "ingest", "models", "reports", "flows")
NO_MESSAGES = (
    "flows/cli/export_options.py",
    "flows/cli/import_options.py",
    "flows/cli/inference_options.py",
    "flows/cli/options.py",
    "flows/cli/replay_options.py",
    "flows/cli/report_options.py",
    "flows/cli/run_options.py",
    "flows/cli/sql_options.py",
    "flows/cli/text_options.py",
    "flows/cli/upkeep_options.py",
    "models/demo/train.py",
    "reports/page/charts.py",
    "reports/page/glossary.py",
    "reports/page/html.py",
    "warehouse/environment.py",
)
"""Help texts, which a test of their own runs, and words of the page."""

COMMAND = re.compile(
    r"`(gatehouse|pip|git|iconv|zstd|make|show|describe) [^`]*`"
    r"|(?<![\w-])--[a-z]|\b(GATEHOUSE|HF|PREFECT|PYTHON)[A-Z_]*\b|\bset HOME\b"
)
"""What a person can carry out as it is printed: a command, an option, a variable."""

DEED = re.compile(
    r"\b(delete|unset|make room|make it|move away|mount|put that right|wait for|close (it|that)|"
    r"ask its owner|run it again|rename it|change to one|choose a|use the)\b"
)
"""What a person can do by hand."""

EXAMPLE = re.compile(r"gatehouse |Example: |pip |\n")
"""How examples in helps begin, and what is no message."""

OF_THE_WAREHOUSE = ("warehouse", "flows")
ERRORS = ("GatehouseError", "BrokenLaw")


class Printed(NamedTuple):
    """A text of the sources: where it is, and what it says, with `{}` for what is filled in."""

    place: str
    text: str

    def is_in(self, line: str) -> bool:
        """Return whether a line can have been made of this text."""
        parts = (re.escape(part) for part in self.text.strip().split("{}"))
        return re.search(".*".join(parts), line) is not None


def remedies() -> list[Printed]:
    """Return every text that names a command, an option or a variable as a way out.

    Of `warehouse` and `flows`, which look after what has landed, every error's text, and what
    else says what to do by hand.
    """
    return [
        printed
        for package in PACKAGES
        for path in sorted((CHECKOUT / package).rglob("*.py"))
        if str(path.relative_to(CHECKOUT)) not in NO_MESSAGES
        for printed in _of(path, is_of_the_warehouse=package in OF_THE_WAREHOUSE)
    ]


def _of(path: Path, *, is_of_the_warehouse: bool) -> Iterator[Printed]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    errors = {
        id(argument)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ERRORS
        for argument in node.args[:1]
    }
    for node in _texts(tree):
        text = _flat(node)
        # a message is one line; of several, a text is an example of a format
        if " " not in text or EXAMPLE.match(text) or "\n" in text.strip():
            continue
        by_hand = is_of_the_warehouse and (id(node) in errors or DEED.search(text))
        if by_hand or COMMAND.search(text):
            yield Printed(f"{path.relative_to(CHECKOUT)}:{node.lineno}", text)


def _texts(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the texts below a node, without docstrings; one in pieces is one."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue
        if isinstance(child, ast.JoinedStr) or (
            isinstance(child, ast.Constant) and isinstance(child.value, str)
        ):
            yield child
        if isinstance(child, ast.JoinedStr):
            for part in child.values:
                if isinstance(part, ast.FormattedValue):
                    yield from _texts(part)
        else:
            yield from _texts(child)


def _flat(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    assert isinstance(node, ast.JoinedStr)
    return "".join(
        str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
    )
