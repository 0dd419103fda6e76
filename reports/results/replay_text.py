"""What replays cost, as `gatehouse replay` prints it."""

from contextlib import closing

from gatehouse.reports.marts.session import frame_of
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.paths import Paths


def replay_text(run_id: str, policy_ids: list[str], paths: Paths) -> str:
    """Return a table of the policies.

    Args:
        run_id: a replayed run.
        policy_ids: those to show, in this order.
        paths: the warehouse.
    """
    with closing(connect(paths)) as connection:
        frame = frame_of(connection, "select * from fct_replay where run_id = $1", [run_id])
    return str(frame.set_index("policy_id").loc[policy_ids].to_string())
