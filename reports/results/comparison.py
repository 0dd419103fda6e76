"""Several runs of the warehouse side by side on one page."""

from collections.abc import Sequence
from contextlib import closing
from itertools import combinations
from pathlib import Path

import duckdb

from gatehouse.reports.marts import Pair, resolve_run, run_pair
from gatehouse.reports.page.runs.agreement import in_percent
from gatehouse.reports.results.files import write_comparison
from gatehouse.reports.results.results import Bar, assess
from gatehouse.reports.verdict.thresholds import Thresholds
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.plain_text import counted, in_words
from gatehouse.warehouse.reserved import check_output

Pairs = dict[tuple[str, str], Pair]


def compare(
    run_ids: Sequence[str],
    thresholds: Thresholds,
    paths: Paths,
    bar: Bar,
    output: Path | None = None,
) -> tuple[Path, list[str]]:
    """Write the HTML page that puts runs side by side; return its file and sentences on it.

    Two runs are shown even if nothing of them is compared but their own numbers. Of more, those
    of which no pair is compared are left out, and a sentence says so.

    Raises:
        GatehouseError: there are no such runs, fewer than two, one of them twice, or none that can
            be compared; or the file belongs to the warehouse.
    """
    if len(run_ids) < 2:
        raise GatehouseError("--compare takes two runs or more: name another one")
    if output:
        check_output(output, paths)
    with closing(connect(paths)) as connection:
        known = _different([resolve_run(connection, run_id) for run_id in run_ids])
        pairs = _pairs(connection, known)
        kept = known if len(known) == 2 else comparable(known, pairs)
        sides = [assess(connection, run_id, paths, thresholds, bar) for run_id in kept]
    left_out = [run_id for run_id in known if run_id not in kept]
    of_kept = {
        (kept.index(one), kept.index(other)): pair
        for (one, other), pair in pairs.items()
        if {one, other} <= set(kept)
    }
    page = write_comparison(sides, of_kept, left_out, output or paths.comparison(kept))
    return page, _sentences(kept, pairs, left_out)


def _different(run_ids: list[str]) -> list[str]:
    for run_id in run_ids:
        if run_ids.count(run_id) > 1:
            raise GatehouseError(f"--compare takes different runs, not {run_id} twice")
    return run_ids


def _pairs(connection: duckdb.DuckDBPyConnection, run_ids: list[str]) -> Pairs:
    return {pair: run_pair(connection, *pair) for pair in combinations(run_ids, 2)}


def comparable(run_ids: list[str], pairs: Pairs) -> list[str]:
    """Return the runs of which anything is compared with another one.

    Raises:
        GatehouseError: there are none.
    """
    compared = {run_id for ids, pair in pairs.items() if pair.is_compared for run_id in ids}
    if not compared:
        raise GatehouseError(
            f"no two of these {len(run_ids)} runs can be compared: they share no text, or their "
            "models or experts are not the same; name two to see their own numbers side by side"
        )
    return [run_id for run_id in run_ids if run_id in compared]


def _sentences(kept: list[str], pairs: Pairs, left_out: list[str]) -> list[str]:
    """Return what is said on the terminal."""
    if len(kept) == 2 and not left_out:
        (pair,) = pairs.values()
        return [pair.sentence] if pair.sentence else []
    said = []
    if left_out:
        said.append(f"left out, as nothing compares with the others: {in_words(left_out)}")
    found = {ids: pair.equal_sets for ids, pair in pairs.items() if pair.equal_sets is not None}
    if found:
        # of equals the first that was named
        ends = dict.fromkeys(choose(found, key=found.__getitem__) for choose in (min, max))
        shares = " to ".join(f"{in_percent(found[ids])} ({in_words([*ids])})" for ids in ends)
        said.append(f"equal expert sets, of {counted(len(found), 'pair')} of runs: {shares}")
    return said
