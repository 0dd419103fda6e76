"""What `gatehouse replay` does and prints."""

from collections.abc import Callable
from contextlib import closing

from gatehouse.flows.console import bar, say
from gatehouse.flows.replay.planned import Part, samples_of
from gatehouse.flows.replay.request import ReplayRequest
from gatehouse.flows.replay.session import RankSummary, ReplaySession
from gatehouse.flows.steps.build import build
from gatehouse.flows.steps.workers import part as ranks
from gatehouse.flows.steps.workers.devices import take_own_gpu
from gatehouse.reports.marts.runs import resolve_run
from gatehouse.reports.results.replay_text import replay_text
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.paths import Paths


def replay(
    run_id: str | None, request: ReplayRequest, paths: Paths, rank: ranks.Part | None = None
) -> str:
    """Replay a run, build the marts with what it cost, and return that in words.

    Args:
        run_id: a finished run; None for the latest.
        request: which policies, over how much text, and by how many workers.
        paths: the warehouse.
        rank: whose share of the text; the rank that replays the last of it builds and reports.

    Raises:
        GatehouseError: bad input, a model that cannot be replayed, or a disk that cannot be
            written.
    """
    if rank:
        take_own_gpu(request.device_map)
    # the tables are those of the run as it is now
    say(build(paths, waits=rank is not None))
    with closing(connect(paths)) as connection:
        run_id = resolve_run(connection, run_id)
    with ReplaySession(run_id, request, paths, rank) as session:
        replay_parts(session)
        # whoever lands the last part sees that all have
        left = session.left() if rank else 0
    if rank and left:
        return RankSummary(run_id, rank, left).line
    say(build(paths, waits=rank is not None))
    return replayed_text(session, paths)


def replay_parts(
    session: ReplaySession,
    measure: Callable[[ReplaySession, Part], int] = ReplaySession.measure,
) -> None:
    """Measure every pending part of an entered session."""
    with bar("replaying samples", samples_of(session.pending)) as moved:
        done = 0
        for part in session.pending:
            done += measure(session, part)
            moved(done)


def replayed_text(session: ReplaySession, paths: Paths) -> str:
    """Return what the policies of a session cost, of the marts that hold it."""
    policy_ids = [each.policy_id for each in session.policies]
    return replay_text(session.run_id, policy_ids, paths)
