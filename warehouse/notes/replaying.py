"""The replay of a run that is under way, beside the run: lake/replaying/RUN.json.

It says of how much text under which policies, so that whoever looks sees how far all of its
processes are. It goes when nothing of that is left; of a replay that was killed it stays until the
same one goes on, or another one of the run begins.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from gatehouse.warehouse.paths import checked_run_id
from gatehouse.warehouse.storage.addresses import Place
from gatehouse.warehouse.storage.places import storage_of


@dataclass(frozen=True)
class Replaying:
    """A replay as one of its processes began it.

    Attributes:
        policy_ids: of the policies.
        sample_ids: what is replayed under all of them.
        begun_at: when that process began.
        begun_with: how many of the samples had landed by then.
    """

    policy_ids: tuple[str, ...]
    sample_ids: tuple[int, ...]
    begun_at: datetime
    begun_with: int

    def is_of(self, other: "Replaying") -> bool:
        """Return whether both are of the same text under the same policies."""
        return (self.policy_ids, self.sample_ids) == (other.policy_ids, other.sample_ids)


def keep_replaying(lake: Place, run_id: str, replaying: Replaying) -> None:
    """Keep what is replayed of a run, in place of what was kept.

    Raises:
        GatehouseError: the lake cannot be written.
    """
    content = json.dumps(
        {
            "policy_ids": replaying.policy_ids,
            "sample_ids": replaying.sample_ids,
            "begun_at": replaying.begun_at.isoformat(),
            "begun_with": replaying.begun_with,
        }
    )
    file = _file(lake, run_id)
    storage_of(file).publish(file, lambda path: path.write_text(content, encoding="utf-8"))


def replaying_of(lake: Place, run_id: str) -> Replaying | None:
    """Return what is kept of a run's replay, or None."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        file = _file(lake, run_id)
        found = json.loads(storage_of(file).read(file))
        return Replaying(
            tuple(found["policy_ids"]),
            tuple(found["sample_ids"]),
            datetime.fromisoformat(found["begun_at"]),
            int(found["begun_with"]),
        )
    return None


def forget_replaying(lake: Place, run_id: str) -> None:
    """Remove what is kept of a run's replay."""
    with suppress(OSError):
        storage_of(lake).remove(_file(lake, run_id))


def _file(lake: Place, run_id: str) -> Place:
    return lake / "replaying" / f"{checked_run_id(run_id)}.json"
