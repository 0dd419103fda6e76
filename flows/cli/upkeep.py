"""Commands that look after what has landed: status, verify, runs, runs rm."""

import sys

import typer

from gatehouse.flows.cli import options, run_options, upkeep_options
from gatehouse.flows.cli.options import paths_of
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.notes.run_names import find_run
from gatehouse.warehouse.plain_text import printable


def status(format: upkeep_options.Answer = "text", home: options.Home = None) -> None:
    """List the runs: how far each has come, how fast, what is left, and whether it is whole."""
    paths = paths_of(home)
    from gatehouse.flows.console import answer
    from gatehouse.flows.upkeep.status import overview

    answer(overview(paths, format))


def runs(
    context: typer.Context, format: upkeep_options.Answer = "text", home: options.Home = None
) -> None:
    """List the runs, as `status` does, or remove one."""
    if context.invoked_subcommand is None:
        status(format, home)


def verify(
    run: upkeep_options.NamedRun = None,
    all: upkeep_options.All = False,
    repair: upkeep_options.Repair = False,
    trust_remote_code: run_options.TrustRemoteCode = False,
    threads: options.Threads = None,
    memory_limit: options.MemoryLimit = None,
    format: upkeep_options.Answer = "text",
    home: options.Home = None,
) -> None:
    """Check the lake against its records, and the marts against the lake.

    The first time, every byte is read. Later, a file whose size, times and
    inode are as they were when it was found right is not read again: what a
    disk loses meanwhile, only --all finds.

    The exit code is 1 if something is wrong.
    """
    paths = paths_of(home)
    options.share(threads, memory_limit)
    from gatehouse.flows.console import answer
    from gatehouse.flows.upkeep.verify import verify_runs

    text, well = verify_runs(
        run and find_run(paths.lake, run),
        paths,
        every_byte=all,
        repair=repair,
        trust_remote_code=trust_remote_code,
        form=format,
    )
    answer(text)
    if not well:
        raise typer.Exit(1)


def rm(
    run: upkeep_options.RemovedRun,
    yes: upkeep_options.Yes = False,
    threads: options.Threads = None,
    memory_limit: options.MemoryLimit = None,
    format: upkeep_options.Answer = "text",
    home: options.Home = None,
) -> None:
    """Remove one run from the lake, the marts and the results."""
    paths = paths_of(home)
    options.share(threads, memory_limit)
    from gatehouse.flows.console import answer
    from gatehouse.flows.upkeep.remove import remove_run

    def confirmed(question: str) -> bool:
        if yes:
            return True
        if not sys.stdin.isatty():
            raise GatehouseError(f"{question} Add --yes to agree")
        return typer.confirm(printable(question), err=True)

    answer(remove_run(find_run(paths.lake, run), paths, confirmed, form=format))
