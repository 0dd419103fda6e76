"""How a run's text was read, beside the run: lake/readings/RUN.json.

It changes no event and no id. What the record of a run has no column for stands here: the fields
that were asked for, and what a folder held.
"""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, fields

from gatehouse.warehouse.paths import checked_run_id
from gatehouse.warehouse.storage.addresses import Place
from gatehouse.warehouse.storage.places import storage_of


@dataclass(frozen=True)
class Reading:
    """How a run's text was read.

    `text_field` and `domain_field` are the fields that were asked for; `files_opened` and
    `files_left_out` say in words what a folder held; `chat_as_text` is whether chats were taken as
    plain texts. All are None where there is nothing to say.
    """

    text_field: str | None = None
    domain_field: str | None = None
    files_opened: str | None = None
    files_left_out: str | None = None
    chat_as_text: bool | None = None


def keep_reading(lake: Place, run_id: str, reading: Reading) -> None:
    """Keep how a run's text was read.

    Raises:
        GatehouseError: the lake cannot be written.
    """
    text = json.dumps(asdict(reading), indent=2) + "\n"
    file = _file(lake, run_id)
    storage_of(file).publish(file, lambda path: path.write_text(text, encoding="utf-8"))


def reading_of(lake: Place, run_id: str) -> Reading:
    """Return how a run's text was read; of a run of an earlier Gatehouse nothing is known."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        file = _file(lake, run_id)
        found = json.loads(storage_of(file).read(file))
        return Reading(**{field.name: found.get(field.name) for field in fields(Reading)})
    return Reading()


def forget_reading(lake: Place, run_id: str) -> None:
    """Remove what is kept of a run."""
    with suppress(OSError):
        storage_of(lake).remove(_file(lake, run_id))


def _file(lake: Place, run_id: str) -> Place:
    return lake / "readings" / f"{checked_run_id(run_id)}.json"
