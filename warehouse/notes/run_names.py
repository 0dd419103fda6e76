"""Names that people give to runs, beside the ids under which everything is kept.

    lake/names/RUN.txt      one line of text

A name changes no event and no id: it can be given again, and several runs may bear the same one.
"""

from pathlib import Path

from gatehouse.warehouse.errors import GatehouseError, require
from gatehouse.warehouse.paths import checked_run_id
from gatehouse.warehouse.plain_text import printable

LONGEST = 100
"""Characters."""


def is_name(text: str) -> bool:
    """Return whether the text can name a run: one line without control characters."""
    return 0 < len(text) <= LONGEST and printable(text.strip()) == text


def check_name(text: str | None) -> None:
    """Refuse a name that no run can have; None is no name.

    Raises:
        GatehouseError: says what a name is.
    """
    one_line = f"one line of 1 to {LONGEST} characters without control characters"
    require(text is None or is_name(text), "name", one_line)


def name_run(lake: Path, run_id: str, name: str) -> None:
    """Give a run of the lake a name, in place of the one that it had.

    Raises:
        GatehouseError: the lake cannot be written.
    """
    # a command's options are checked before pyarrow is needed
    from gatehouse.warehouse.files import write_atomically

    content = f"{name}\n"
    write_atomically(_file(lake, run_id), lambda path: path.write_text(content, encoding="utf-8"))


def name_of(lake: Path, run_id: str) -> str | None:
    """Return the run's name, or None if it has none."""
    try:
        found = _file(lake, run_id).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
    return printable(found)[:LONGEST] or None


def forget_name(lake: Path, run_id: str) -> None:
    """Remove the run's name, if it has one."""
    _file(lake, run_id).unlink(missing_ok=True)


def find_run(lake: Path, word: str) -> str:
    """Return the id of the run that a word means: an id, else the name of exactly one run.

    A word that is neither is returned as it is: whoever looks for the run says what it lacks.

    Raises:
        GatehouseError: several runs have this name.
    """
    if word in {folder.name.removeprefix("run_id=") for folder in lake.glob("runs/run_id=*")}:
        return word
    ids = sorted(path.stem for path in lake.glob("names/*.txt"))
    named = [run_id for run_id in ids if name_of(lake, run_id) == word]
    if len(named) > 1:
        raise GatehouseError(f"{word!r} names {', '.join(named)}: give one of these run ids")
    return named[0] if named else word


def _file(lake: Path, run_id: str) -> Path:
    return lake / "names" / f"{checked_run_id(run_id)}.txt"
