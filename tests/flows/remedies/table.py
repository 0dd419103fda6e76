"""The table of remedies, as it is tested and as docs/robustness.md shows it.

    python -m tests.flows.remedies.table

writes it there.
"""

import re
from pathlib import Path

from tests.flows.remedies import (
    of_processes,
    of_statements,
    of_texts,
    of_the_disk,
    of_the_lake,
    of_the_marts,
    of_words,
)
from tests.flows.remedies.remedy import CAPTURE, Remedy, nothing

TABLE = (
    *of_the_lake.ROWS,
    *of_the_marts.ROWS,
    *of_the_disk.ROWS,
    *of_processes.ROWS,
    *of_texts.ROWS,
    *of_words.ROWS,
    *of_statements.ROWS,
)

PAGE = Path(__file__).resolve().parents[3] / "docs" / "robustness.md"
HEADING = "## Every way out\n"
HEAD = """
A message that says what is wrong says what to do. Here is each fault, the command that meets it,
what that prints, what is then carried out, and the command that must end well afterwards (…: the
first one again). Each row is a test in `tests/flows/remedies`. Another test there reads the
sources: it fails for a command, an option or a variable that is printed as a way out and stands
neither here nor, with the test that carries it out or the reason why none can, in `elsewhere.py`.
For these tests a fake puts a database in place that dbt has built before. CAPTURE is the run's own
`gatehouse capture`; … stands for names and paths.

| fault | met by | printed | carried out | ends well |
|---|---|---|---|---|
"""


def section() -> str:
    """Return the section of the page."""
    return HEADING + HEAD + "".join(f"| {' | '.join(cells(row))} |\n" for row in TABLE)


def cells(row: Remedy) -> tuple[str, ...]:
    """Return a row's cells."""
    first, last = named(row.meets), named(row.last)
    by_hand = row.by_hand is not nothing or not row.commands
    done = row.remedy if by_hand else ", ".join(code(named(each)) for each in row.commands)
    return row.fault, code(first), code(row.says), done, "…" if first == last else code(last)


def named(command: str) -> str:
    """Return a command line with words in capitals for what is elsewhere another."""
    command = command.replace(CAPTURE, "CAPTURE")
    return re.sub(r"\{(\w+)\}", lambda name: name[1].upper(), command)


def code(text: str) -> str:
    """Return a text as code in a cell of a table."""
    shown = text.strip().replace("|", "\\|").replace("\0", "\\0")
    return f"`` {shown} ``" if "`" in shown else f"`{shown}`"


if __name__ == "__main__":
    before, _, _ = PAGE.read_text(encoding="utf-8").partition(HEADING)
    PAGE.write_text(f"{before.rstrip()}\n\n{section()}", encoding="utf-8")
