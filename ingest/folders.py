"""What a folder holds: the files that are read, in order, and those left out, with the reason."""

import os
import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from gatehouse.ingest.cards import (
    CARD,
    DESCRIPTION,
    NO_DATA,
    chosen_by_card,
    configurations_of,
    special_folders,
)
from gatehouse.ingest.formats import PROSE, format_of, suffix_of
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import counted, first_few, printable

SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""Words in the name of a file or folder that say which split it holds, as `datasets` takes them."""

DESCRIPTIONS = NO_DATA - {CARD} | {"state.json"}
"""Files that describe what lies beside them."""

SHARD = re.compile(
    r"(?P<before>.*\b)(?P<number>\d{5})-of-(?P<total>\d{5})(-[0-9a-f]+)?(?P<after>\..*)", re.DOTALL
)
"""The name of a file that is one of several: data/train-00000-of-00002.parquet."""

CARDS = {"readme", "license", "licence", "citation", "changelog", "notice", "requirements"}
"""Names of texts that tell of a dataset's rows."""

UNFINISHED = re.compile(r".+\.incomplete|_temporary")
"""Folders that `datasets` and Spark rename, or empty, once what they hold is whole."""

VERSIONED = "_delta_log"
"""The folder in which a Delta table says which of the files beside it hold rows now."""

NAMED_FILES = 3
"""So many files are named for each reason."""


@dataclass
class Listing:
    """A folder's files: `read` in order, `left_out` by reason, both as paths from the folder.

    `opened` counts those of `read` that were needed so far.
    """

    read: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    opened: int = 0

    @property
    def opened_text(self) -> str:
        """How many files were opened, and of which kinds: 2 files: 1 .jsonl, 1 .jsonl.gz."""
        kinds = Counter(suffix_of(Path(name)) for name in self.read)
        each = ", ".join(f"{count:,} {kind}" for kind, count in _most_first(kinds))
        first = f"the first {self.opened:,} of " if self.opened < len(self.read) else ""
        return f"{first}{counted(len(self.read), 'file')}: {each}"

    @property
    def left_out_text(self) -> str:
        """How many files were left out, and why: 2 files: 2 .pdf (a.pdf, b.pdf)."""
        counts = {reason: len(names) for reason, names in self.left_out.items()}
        each = (
            f"{count:,} {reason} ({_named(self.left_out[reason])})"
            for reason, count in _most_first(counts)
        )
        return f"{counted(sum(counts.values()), 'file')}: {', '.join(each)}"


def list_folder(folder: Path) -> Listing:
    """Return what a folder holds; links are followed, and no folder is read twice.

    Files are in the order of their paths. Left out are hidden files, formats that are not read,
    what describes a dataset, and where files hold a split train and others, all but train. What
    is train, and in which order, a card says, if there is one: see `cards.chosen_by_card`. Shards
    that are not there count as left out.

    Raises:
        GatehouseError: a folder cannot be listed, or a card does not say what is to be read.
    """
    listing = Listing()
    for path, reason in _walk(folder):
        reason = reason or _why_not(path)
        if reason:
            listing.left_out.setdefault(reason, []).append(path.relative_to(folder).as_posix())
        else:
            listing.read.append(path.relative_to(folder).as_posix())
    decided = _choose_by_cards(folder, listing)
    _leave_out_cards(listing)
    special = {name for name in listing.read if special_folders(name)} - decided
    _leave_out(listing, dict.fromkeys(special, "in a special folder"))
    _leave_out_splits(listing, decided)
    if missing := _missing_shards(listing.read):
        listing.left_out["missing"] = missing
    for names in listing.left_out.values():
        names.sort()
    return listing


def _walk(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Yield the files, and what is left out with the reason."""
    seen: set[str] = set()
    waiting = deque([folder])
    # behind the folders themselves, whose files keep their own paths where a link leads to them too
    links: deque[Path] = deque()
    while waiting or links:
        inside = waiting.popleft() if waiting else links.popleft()
        real = os.path.realpath(inside)
        if real in seen:
            yield inside, "link to a folder that is read already"
            continue
        seen.add(real)
        for path in _entries(inside):
            if path.name.startswith("."):
                yield path, "hidden"
            elif path.name == VERSIONED and path.is_dir():
                raise GatehouseError(
                    f"{inside} is a Delta table, whose folder keeps rows that were deleted: write "
                    "its rows as Parquet elsewhere, and name that"
                )
            elif path.is_dir() and UNFINISHED.fullmatch(path.name):
                yield path, "unfinished download or output"
            elif path.is_dir():
                (links if path.is_symlink() else waiting).append(path)
            elif path.is_file():
                yield path, None
            else:
                yield path, "link to nothing" if path.is_symlink() else "not a regular file"


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise GatehouseError(
            f"cannot list {folder}: {error.strerror}; make it readable, or move it elsewhere"
        ) from error


def _why_not(path: Path) -> str | None:
    if path.name in DESCRIPTIONS:
        return DESCRIPTION
    if re.fullmatch(r"(cache|indices)-.*\.arrow", path.name):
        return "result that datasets keeps"
    return None if format_of(path) else suffix_of(path)


def _choose_by_cards(folder: Path, listing: Listing) -> set[str]:
    """Leave out what the datasets' cards do not choose; return the files that they do choose."""
    places: dict[str, tuple[str, int]] = {}
    everything, read = sorted(chain(listing.read, *listing.left_out.values())), set(listing.read)
    # a card that lies deeper may be one of the files that another leaves out
    for card in sorted((each for each in everything if Path(each).name == CARD), key=_depth):
        configurations = configurations_of(folder / card) if card in read else {}
        if not configurations:
            continue
        inside = card.removesuffix(CARD)
        files = [name.removeprefix(inside) for name in everything if name.startswith(inside)]
        chosen = chosen_by_card(folder / inside, configurations, files)
        places |= {inside + name: (inside, place) for place, name in enumerate(chosen.train)}
        _leave_out(listing, {inside + name: why for name, why in chosen.others.items()})
        read = set(listing.read)
    listing.read.sort(key=lambda name: places.get(name, (name, 0)))
    return set(places)


def _depth(name: str) -> int:
    return name.count("/")


def _leave_out_cards(listing: Listing) -> None:
    """Leave out a README and its like beside rows: they tell of the rows, and are none."""
    if all(format_of(Path(name)) in PROSE for name in listing.read):
        return
    cards = {name for name in listing.read if _is_card(Path(name))}
    _leave_out(listing, {name: DESCRIPTION for name in cards})


def _is_card(path: Path) -> bool:
    return format_of(path) in PROSE and path.stem.lower() in CARDS


def _leave_out_splits(listing: Listing, decided: set[str]) -> None:
    """Keep the split train where there are others, by the files' names or else their folders'."""
    undecided = [name for name in listing.read if name not in decided]
    for part_of in (_name, _folders):
        split_of = {name: _split_of(part_of(Path(name))) for name in undecided}
        splits = set(split_of.values()) - {None}
        if "train" in splits and len(splits) > 1:
            reasons = {
                name: f"of the split {split}" if split else "of no split"
                for name, split in split_of.items()
                if split != "train"
            }
            _leave_out(listing, reasons)
            return


def _missing_shards(names: list[str]) -> list[str]:
    """Return the files that must have been beside others, which number themselves and say it."""
    series: dict[tuple[str, str], dict[int, str]] = {}
    for name in names:
        if shard := SHARD.fullmatch(name):
            there = series.setdefault((shard["before"], shard["total"]), {})
            there[int(shard["number"])] = shard["after"]
    missing = []
    for (before, total), there in series.items():
        after = next(iter(there.values()))
        # most count from 0
        first = 1 if int(total) in there else 0
        missing += [
            f"{before}{number:05}-of-{total}{after}"
            for number in range(first, first + int(total))
            if number not in there
        ]
    return missing


def _name(path: Path) -> list[str]:
    return [path.name]


def _folders(path: Path) -> list[str]:
    return list(reversed(path.parent.parts))


def _split_of(parts: list[str]) -> str | None:
    for part in parts:
        words = set(re.split(r"[^a-z]+", part.lower()))
        for split, keywords in SPLITS.items():
            if words & set(keywords):
                return split
    return None


def _leave_out(listing: Listing, reasons: dict[str, str]) -> None:
    for name in listing.read:
        if name in reasons:
            listing.left_out.setdefault(reasons[name], []).append(name)
    listing.read = [name for name in listing.read if name not in reasons]


def _most_first(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda found: (-found[1], found[0]))


def _named(names: list[str]) -> str:
    return printable(first_few(names, NAMED_FILES))
