"""What `gatehouse replay` does and prints."""

from collections.abc import Callable
from contextlib import closing

from gatehouse.flows.console import bar, say
from gatehouse.flows.replay.request import ReplayRequest
from gatehouse.flows.replay.session import Part, ReplaySession
from gatehouse.flows.steps.build import build
from gatehouse.reports.marts.runs import resolve_run
from gatehouse.reports.results.replay_text import replay_text
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.paths import Paths


def replay(run_id: str | None, request: ReplayRequest, paths: Paths) -> str:
    """Replay a run, build the marts with what it cost, and return that in words.

    Args:
        run_id: a finished run; None for the latest.
        request: which policies, over how much text.
        paths: the warehouse.

    Raises:
        GatehouseError: bad input, a model that cannot be replayed, or a disk that cannot be
            written.
    """
    # the tables are those of the run as it is now
    say(build(paths))
    with closing(connect(paths)) as connection:
        run_id = resolve_run(connection, run_id)
    with ReplaySession(run_id, request, paths) as session:
        replay_parts(session)
    say(build(paths))
    return replayed_text(session, paths)


def replay_parts(
    session: ReplaySession,
    measure: Callable[[ReplaySession, Part], int] = ReplaySession.measure,
) -> None:
    """Measure every pending part of an entered session."""
    with bar("replaying samples", sum(len(part.sample_ids) for part in session.pending)) as moved:
        done = 0
        for part in session.pending:
            done += measure(session, part)
            moved(done)


def replayed_text(session: ReplaySession, paths: Paths) -> str:
    """Return what the policies of a session cost, of the marts that hold it."""
    policy_ids = [each.policy_id for each in session.policies]
    return replay_text(session.run_id, policy_ids, paths)
