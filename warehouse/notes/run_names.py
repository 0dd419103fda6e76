"""Names that people give to runs, beside the ids under which everything is kept.

    lake/names/RUN.txt      one line of text

A name changes no event and no id: it can be given again, and several runs may bear the same one.
"""

from gatehouse.warehouse.errors import GatehouseError, require
from gatehouse.warehouse.paths import checked_run_id
from gatehouse.warehouse.plain_text import printable
from gatehouse.warehouse.storage.addresses import Place
from gatehouse.warehouse.storage.places import storage_of

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


def name_run(lake: Place, run_id: str, name: str) -> None:
    """Give a run of the lake a name, in place of the one that it had.

    Raises:
        GatehouseError: the lake cannot be written.
    """
    file, content = _file(lake, run_id), f"{name}\n"
    storage_of(file).publish(file, lambda path: path.write_text(content, encoding="utf-8"))


def name_of(lake: Place, run_id: str) -> str | None:
    """Return the run's name, or None if it has none."""
    try:
        content = storage_of(lake).read(_file(lake, run_id))
    except OSError:
        return None
    return printable(content.decode(errors="replace").strip())[:LONGEST] or None


def forget_name(lake: Place, run_id: str) -> None:
    """Remove the run's name, if it has one."""
    storage_of(lake).remove(_file(lake, run_id))


def find_run(lake: Place, word: str) -> str:
    """Return the id of the run that a word means: an id, else the name of exactly one run.

    A word that is neither is returned as it is: whoever looks for the run says what it lacks.

    Raises:
        GatehouseError: several runs have this name.
    """
    storage = storage_of(lake)
    if f"run_id={word}" in storage.names(lake / "runs"):
        return word
    names = storage.names(lake / "names")
    ids = sorted(name.removesuffix(".txt") for name in names if name.endswith(".txt"))
    named = [run_id for run_id in ids if name_of(lake, run_id) == word]
    if len(named) > 1:
        raise GatehouseError(f"{word!r} names {', '.join(named)}: give one of these run ids")
    return named[0] if named else word


def _file(lake: Place, run_id: str) -> Place:
    return lake / "names" / f"{checked_run_id(run_id)}.txt"
