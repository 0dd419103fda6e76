"""What was found right, and by which marks of its files it is known to have stayed as it was."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gatehouse.warehouse.remembered.memory import recall, remember
from gatehouse.warehouse.storage.addresses import Place
from gatehouse.warehouse.storage.places import storage_of


@dataclass(frozen=True)
class Unread:
    """How many of the files in question were not read, and when the first of these had been."""

    files: int
    unchanged: int
    since: datetime | None

    @classmethod
    def of_all(cls, each: Iterable["Unread"]) -> "Unread":
        """Return the sum of several."""
        every = list(each)
        return cls(
            sum(one.files for one in every),
            sum(one.unchanged for one in every),
            min((one.since for one in every if one.since), default=None),
        )


class Subject:
    """What was found right of one subject: a run, or the database.

    Args:
        known: what an earlier object had as its `right`.
    """

    def __init__(self, known: dict[str, Any]) -> None:
        self.right: dict[str, Any] = {}
        self._known = known
        self._pending: dict[str, dict[str, Any]] = {}
        self._marks: dict[str, list[Any]] = {}
        self._unread: dict[str, str] = {}
        self._read: set[str] = set()

    def still(self, name: str, against: object = None, files: Iterable[Place] = ()) -> Any:
        """Return what was found of `name`, if it was right and nothing of it has changed since.

        Asked before the files are read: what `found_right` then adds is true of them as they are
        now, or as they are left.

        Args:
            name: a part of the subject.
            against: what the files are compared with, as JSON can say it.
            files: those that are read to find it right.

        Returns:
            What was given to `found_right`; None if it must be read again.
        """
        places = list(files)
        paths = [str(place) for place in places]
        now = {"against": _digest(against), "marks": [self._mark(place) for place in places]}
        known = self._known.get(name)
        if known and all(known[key] == now[key] for key in now):
            self.right[name] = known
            self._unread |= dict.fromkeys(paths, known["at"])
            return known["found"]
        self._read.update(paths)
        self._pending[name] = now
        return None

    def reads(self, *files: Place) -> None:
        """Count files as read, whatever is known of them."""
        self._read.update(map(str, files))

    def found_right(self, name: str, found: Any = True) -> None:
        """Remember that what `still` could not answer was found right, or what was found.

        Files that changed a moment ago are read once more the next time.
        """
        now = self._pending.pop(name)
        if all(mark and mark[-1] for mark in now["marks"]):
            self.right[name] = now | {"at": datetime.now(UTC).isoformat(), "found": found}

    @property
    def unread(self) -> Unread:
        """What of the subject's files was not read."""
        left = [at for path, at in self._unread.items() if path not in self._read]
        files = len(self._read | self._unread.keys())
        since = datetime.fromisoformat(min(left)) if left else None
        return Unread(files, len(left), since)

    def _mark(self, place: Place) -> list[Any]:
        """Return what shows that a file was written, and last whether it will show it again."""
        if str(place) not in self._marks:
            # those of other files that come with it hold as well: they were taken no later
            self._marks = storage_of(place).marks(place) | self._marks
        return self._marks[str(place)]


class Verified:
    """What was found right of all subjects.

    Args:
        file: where a home remembers it.
        distrusted: know nothing, so that all is read.
    """

    def __init__(self, file: Path, *, distrusted: bool = False) -> None:
        self._file = file
        self._known = {} if distrusted else recall(file)
        self._subjects: dict[str, Subject] = {}

    def of(self, subject: str) -> Subject:
        """Return what was found right of a run, or of the database, and takes in more."""
        if subject not in self._subjects:
            self._subjects[subject] = Subject(self._known.get(subject, {}))
        return self._subjects[subject]

    def remember(self, subjects: Iterable[str]) -> None:
        """Remember what was found right, and nothing of subjects other than these."""
        known = recall(self._file)
        found = {name: subject.right for name, subject in self._subjects.items()}
        wanted = set(subjects) | found.keys()
        kept = {name: right for name, right in (known | found).items() if name in wanted and right}
        if kept != known:
            remember(self._file, kept)


def _digest(against: object) -> str:
    return hashlib.sha256(json.dumps(against, default=str).encode()).hexdigest()[:32]
