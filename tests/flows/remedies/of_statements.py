"""Statements that `gatehouse sql` refuses; what is printed leads to another."""

import io
from collections.abc import Callable

from tests.flows.remedies.remedy import Place, Remedy


def stated(
    statement: str, says: str, remedy: str, correct: str, access: str = "--external-access"
) -> Remedy:
    """Return the remedy of a statement that comes through a pipe."""

    def pipe(text: str) -> Callable[[Place], object]:
        def put(place: Place) -> None:
            filled = text.replace("HOME", str(place.home))
            place.patch.setattr("sys.stdin", io.StringIO(filled))

        return put

    command = f"gatehouse sql {access}".strip()
    return Remedy(
        f"the statement {statement!a}", command, says, remedy, pipe(statement), pipe(correct)
    )


ROWS = (
    stated(
        "use memory; detach gatehouse",
        "gatehouse stays attached: leave the shell to detach it",
        "leave the shell",
        "from gatehouse.dim_run",
    ),
    stated(
        "copy (select 1 as a, 2 as b) to 'HOME' (format parquet, partition_by (a), overwrite)",
        "the warehouse lies in …: name another file or folder",
        "name another file or folder",
        "copy (select 1 as a, 2 as b) to 'new' (format parquet, partition_by (a), overwrite)",
    ),
    stated(
        "prepare p as copy (select 1 as a) to $1",
        "it is not certain what $ names: write the file in quotes",
        "write the file in quotes",
        "copy (select 1 as a) to 'a.csv'",
    ),
    stated(
        "copy (select 1) to 'a\0b.csv'",
        "a file name cannot contain a NUL character: leave it out",
        "leave it out",
        "copy (select 1) to 'ab.csv'",
    ),
    stated(
        "select '\udcff'",
        "the query is not in UTF-8: put it into UTF-8",
        "put it into UTF-8",
        "select 'ÿ'",
        access="",
    ),
)
