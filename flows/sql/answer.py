"""`gatehouse sql`: the answer to one query, to statements from a pipe, or to the examples."""

import sys
from pathlib import Path

from gatehouse.flows.console import answer
from gatehouse.flows.sql import examples, tabular
from gatehouse.warehouse.connect import connect, interruptible, query
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths


def sql(
    text: str | None,
    paths: Paths,
    form: str | None = None,
    output: Path | None = None,
    *,
    spreadsheet_safe: bool = False,
    external_access: bool = False,
) -> None:
    """Print one query's result, or write it to a file; without a query, open the shell.

    If standard input is not a terminal, statements are read from it instead.

    Args:
        text: one query.
        paths: the warehouse.
        form: table, csv, json, parquet or markdown; default: by the suffix of `output`.
        output: the file to write.
        spreadsheet_safe: write CSV in which no text is a formula, see
            `warehouse.contents.spreadsheets`.
        external_access: statements may read and write files other than the lake's.

    Raises:
        GatehouseError: no such format or file, or a query that is not valid or fails.
    """
    form = tabular.chosen_format(form, output, spreadsheet_safe=spreadsheet_safe)
    target = tabular.checked_output(output, paths) if output else None
    if text is None and sys.stdin.isatty():
        if target:
            raise GatehouseError('--output takes a query: gatehouse sql "select …" --output FILE')
        # only the shell needs prompt_toolkit
        from gatehouse.flows.sql import shell

        shell.interact(paths, form, external_access=external_access)
        return
    with connect(paths, external_access=external_access) as connection:
        if text is None and target is None:
            tabular.show_each(connection, sys.stdin.read(), form)
            return
        statement = sys.stdin.read() if text is None else text
        with interruptible(connection):
            relation = query(connection, statement)
            tabular.write(relation, form, target) if target else tabular.show(relation, form)


def sql_examples(
    names: list[str],
    paths: Paths,
    form: str | None = None,
    output: Path | None = None,
    *,
    spreadsheet_safe: bool = False,
) -> None:
    """List the library of example queries, or print the results of those named, or of `all`.

    Args:
        names: the examples to run; without any, the library is listed.
        paths: the warehouse.
        form: as for `sql`.
        output: the file for one example's result.
        spreadsheet_safe: as for `sql`.

    Raises:
        GatehouseError: no such example, format or file, or several examples for one file.
    """
    form = tabular.chosen_format(form, output, spreadsheet_safe=spreadsheet_safe)
    if not names:
        answer(examples.listing())
        return
    chosen = examples.chosen(names)
    if output and len(chosen) > 1:
        raise GatehouseError("--output takes the result of one example: name one")
    target = tabular.checked_output(output, paths) if output else None
    with connect(paths) as connection:
        if target:
            with interruptible(connection):
                tabular.write(chosen[0].run(connection), form, target)
            return
        for example in chosen:
            example.show(connection, form)
