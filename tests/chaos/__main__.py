"""`make chaos`: kill commands with SIGKILL anywhere, run them again, compare with none killed.

Kills real runs, other commands, a run's own server and pairs of commands at named points and at
seeded moments, runs the same commands again, and compares the lake, the marts and the results with
those of homes where nothing was killed, row for row. Exits with 1 if anything was lost, doubled,
left over or different, if a command ended as it must not, or if a named point was never reached.
The warehouse holds an earlier run, so that a build starts from a copy.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

# its settings must precede the import of torch
import tests.conftest  # noqa: F401

# isort: split
# imported once, for all the processes that are forked
import dbt.adapters.duckdb
import dbt.cli.main  # noqa: F401
import matplotlib.pyplot  # noqa: F401
import pytest
import transformers.models.mixtral.modeling_mixtral  # noqa: F401

import gatehouse.reports.page.report  # noqa: F401
from gatehouse.reports.figures import gallery
from tests.chaos import alone, command, pairs, server, service, workers
from tests.chaos.ground import Ground, Outcome, Reference, lay_ground
from tests.chaos.plan import OTHER_BATCHES, Attempt, moments, named, short, variations
from tests.chaos.run import PHASES
from tests.chaos.scenes import Undisturbed, lay_scenes
from tests.conftest import draw_quickly

COLUMNS = (
    "killed in",
    "points",
    "killed",
    "survived",
    "lost",
    "doubled",
    "left over",
    "differing",
)
KINDS = alone.KINDS | pairs.PAIRS | workers.KINDS
"""What is killed besides runs, by the group of its attempts."""

NEVER = "never killed"
GROUPS = (
    *KINDS,
    "random",
    "named",
    command.GROUP,
    server.GROUP,
    service.GROUP,
    *OTHER_BATCHES,
    NEVER,
)


def main() -> None:
    """Kill, compare, print the tables; exit with 1 if a warehouse differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--points", type=int, default=60, help="seeded moments of a run")
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--processes", type=int, default=2, help="runs at a time")
    parser.add_argument("--short", action="store_true", help="ten points, in half a minute")
    parser.add_argument("--only", action="append", choices=GROUPS, help="these groups")
    parser.add_argument("--each", type=int, help="so many warehouses of each group")
    options = parser.parse_args()
    draw_little()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        ground = lay_ground(Path(name), empty=options.short)
        plain, reference = ground.uninterrupted()
        events = len(reference.exact.events)
        print(
            f"an uninterrupted run: {plain.seconds:.1f} s, {events:,} events in the lake",
            flush=True,
        )
        if options.short:
            outcomes = [said(ground.attempt(each, reference)) for each in short()]
        else:
            kinds = [kind for group, kind in KINDS.items() if group in (options.only or KINDS)]
            undisturbed = Undisturbed.on(ground, kinds)
            attempts = [
                *alone.alone(undisturbed, options.seed),
                *pairs.pairs(undisturbed, options.seed),
                *moments(plain, options.points, options.seed),
                *named(),
                *command.commands(),
                *server.servers(options.seed),
                *service.services(options.seed),
                *workers.workers(options.seed),
                *variations(plain, options.seed),
                Attempt(NEVER),
            ]
            here = ground, reference, undisturbed
            chosen = chosen_of(attempts, options.only, options.each)
            outcomes = list(carried_out(chosen, here, options.processes))
    print_tables(outcomes)
    print(f"seed {options.seed}, {time.monotonic() - started:.0f} s, {options.processes} at a time")
    sys.exit(not all(outcome.survived and not outcome.missed for outcome in outcomes))


def chosen_of(attempts: list[Attempt], groups: list[str] | None, each: int | None) -> list[Attempt]:
    """Return the attempts of some groups, or of all, and only the first ones of each."""
    names = groups or list(dict.fromkeys(attempt.group for attempt in attempts))
    of_group = ([one for one in attempts if one.group == name] for name in names)
    return [one for found in of_group for one in found[:each]]


def draw_little() -> None:
    """Draw few figures, and save them empty: they land just as all do."""
    draw_quickly(pytest.MonkeyPatch())
    for drawings in (gallery.FIGURES, gallery.RUN_FIGURES):
        for name in list(drawings)[1:]:
            del drawings[name]


Here = tuple[Ground, Reference, Undisturbed]


def carried_out(attempts: list[Attempt], here: Here, processes: int) -> Iterator[Outcome]:
    """Yield the outcome of every attempt as it comes; each process has its own ground."""
    context = multiprocessing.get_context("fork")
    numbers = context.Value("i", 0)
    with context.Pool(processes, begin, (here, numbers)) as pool:
        yield from map(said, pool.imap_unordered(try_it, attempts))


def said(outcome: Outcome) -> Outcome:
    """Print what became of a warehouse."""
    at = ", then ".join(map(str, outcome.attempt.points)) or "nowhere"
    died = ", ".join(outcome.deaths) or "no phase"
    verdict = "survived" if outcome.survived else "DIFFERS "
    if outcome.missed:
        verdict = "MISSED  "
    print(
        f"{verdict} {outcome.seconds:5.1f} s  {outcome.attempt.group}: {at} (died in {died})",
        flush=True,
    )
    if not outcome.survived:
        again = f"{outcome.captured_again} shards captured again"
        print(f"    {outcome.difference}, {again} {outcome.failure}", flush=True)
    return outcome


_here: Here


def begin(here: Here, numbers) -> None:
    """Lay the ground for one process of the pool."""
    global _here
    ground, reference, undisturbed = here
    with numbers.get_lock():
        numbers.value += 1
        folder = ground.folder.with_name(f"ground-{numbers.value}")
    own = Ground(folder, ground.request, ground.earlier)
    own.lay()
    lay_scenes(own)
    _here = own, reference, undisturbed


def try_it(attempt: Attempt) -> Outcome:
    """Carry out one attempt in a process of the pool."""
    ground, reference, undisturbed = _here
    if attempt.group in alone.KINDS:
        return alone.killed_alone(ground, attempt, undisturbed)
    if isinstance(attempt, pairs.Together):
        return pairs.killed_together(ground, attempt, undisturbed)
    if attempt.group in workers.KINDS:
        return workers.killed_on_workers(ground, attempt, undisturbed)
    if attempt.group == command.GROUP:
        return command.by_command(ground, attempt, reference)
    if attempt.group == service.GROUP:
        return service.killed_service(ground, attempt, reference)
    if attempt.group == server.GROUP:
        return server.killed_server(ground, attempt, reference)
    return ground.attempt(attempt, reference)


def print_tables(outcomes: list[Outcome]) -> None:
    """Print what became of the kills, by their phase, then of the other warehouses.

    It is the table of docs/robustness.md.
    """
    rows = [list(COLUMNS), ["---"] * len(COLUMNS)]
    for group in ("random", "named"):
        of_group = [each for each in outcomes if each.attempt.group == group]
        for phase in PHASES:
            # a moment that came late killed a run in its next phase, or not at all
            killed = [each for each in of_group for death in each.deaths if death == phase]
            aimed = sum(point.phase == phase for each in of_group for point in each.attempt.points)
            if aimed or killed:
                rows.append([f"{group}: {phase}", str(aimed), *row(killed)])
    rest = [each for each in outcomes if each.attempt.group not in ("random", "named")]
    for group in dict.fromkeys(each.attempt.group for each in rest):
        found = [each for each in rest if each.attempt.group == group]
        apart = max(each.difference.apart for each in found)
        points = str(sum(len(each.attempt.points) for each in found))
        kills = [each for each in found for _ in each.deaths] or found
        rows.append([f"{group} (apart {apart:.1e})", points, *row(kills)])
    points = str(sum(len(each.attempt.points) for each in outcomes))
    rows.append(["all", points, *row([each for each in outcomes for _ in each.deaths])])
    for cells in rows:
        print(f"| {' | '.join(cells)} |")
    print(f"{len(outcomes)} warehouses: lake, marts and results compared")


def row(killed: list[Outcome]) -> list[str]:
    """Return the cells of a row of kills; each kill counts for its warehouse."""
    warehouses = list({id(each): each for each in killed}.values())
    differences = [each.difference for each in warehouses]
    return [
        str(sum(bool(each.deaths) for each in killed)),
        str(sum(each.survived for each in killed)),
        str(sum(each.lost for each in differences)),
        str(sum(each.doubled for each in differences)),
        str(sum(each.left_over for each in differences)),
        str(sum(not each.survived for each in warehouses)),
    ]


if __name__ == "__main__":
    main()
