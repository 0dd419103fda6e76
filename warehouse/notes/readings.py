"""How a run's text was read, beside the run: lake/readings/RUN.json.

It changes no event and no id. What the record of a run has no column for stands here: the fields
that were asked for, and what a folder held.
"""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from gatehouse.warehouse.files import write_atomically
from gatehouse.warehouse.paths import checked_run_id


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


def keep_reading(lake: Path, run_id: str, reading: Reading) -> None:
    """Keep how a run's text was read.

    Raises:
        GatehouseError: the lake cannot be written.
    """
    text = json.dumps(asdict(reading), indent=2) + "\n"
    write_atomically(_file(lake, run_id), lambda path: path.write_text(text, encoding="utf-8"))


def reading_of(lake: Path, run_id: str) -> Reading:
    """Return how a run's text was read; of a run of an earlier Gatehouse nothing is known."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        found = json.loads(_file(lake, run_id).read_text(encoding="utf-8"))
        return Reading(**{field.name: found.get(field.name) for field in fields(Reading)})
    return Reading()


def forget_reading(lake: Path, run_id: str) -> None:
    """Remove what is kept of a run."""
    with suppress(OSError):
        _file(lake, run_id).unlink()


def _file(lake: Path, run_id: str) -> Path:
    return lake / "readings" / f"{checked_run_id(run_id)}.json"
