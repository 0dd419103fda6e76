"""What was prepared before: what a prepared dataset is, and how it is found again."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gatehouse.ingest.hub import HUB_DATASETS
from gatehouse.ingest.samples_file import distinct_texts, is_whole
from gatehouse.warehouse.files import write_atomically
from gatehouse.warehouse.plain_text import counted, repeated
from gatehouse.warehouse.records import slug


@dataclass(frozen=True)
class Prepared:
    """A prepared dataset at `path`, a samples file.

    `dataset` is as the user named it, or the resolved path; `fingerprint` is the SHA-256 of every
    sample's name, domain, document and text hash in order; `duplicates` counts the samples with
    the text of an earlier one; `skipped_empty` counts the texts of only white space that were met
    before the last sample, `skipped_broken` the lines, rows and files that could not be read as
    documents, and `first_broken` describes the first of these; `files_opened` and `files_left_out`
    say in words how many of a folder's files were opened, and which were left out and why.
    """

    path: Path
    dataset: str
    fingerprint: str
    num_samples: int
    first_sample: int
    duplicates: int
    skipped_empty: int
    skipped_broken: int = 0
    first_broken: str | None = None
    files_opened: str | None = None
    files_left_out: str | None = None

    @property
    def samples_text(self) -> str:
        """How many samples there are, and how many of them repeat an earlier one."""
        return f"{counted(self.num_samples, 'sample')}{repeated(self.duplicates)}"

    @property
    def notes(self) -> list[str]:
        """One sentence on the files of a folder, and one for each kind of text left out."""
        found = [f"opened {self.files_opened}"] if self.files_opened else []
        return [*found, *self.left_out]

    @property
    def left_out(self) -> list[str]:
        """One sentence for each kind of text or file that was left out."""
        lines = []
        if self.skipped_broken:
            lines.append(f"left out {broken_texts(self.skipped_broken, self.first_broken)}")
        if self.skipped_empty:
            lines.append(f"left out {counted(self.skipped_empty, 'empty sample')}")
        if self.files_left_out:
            lines.append(f"left out {self.files_left_out}")
        return lines


def folder_name(dataset: str, fingerprint: str, first_sample: int) -> str:
    """Name the folder; equal texts with other numbers are another prepared dataset."""
    name = f"{slug(dataset)}-{fingerprint[:10]}"
    return f"{name}-from-{first_sample}" if first_sample else name


def broken_texts(number: int, first: str | None) -> str:
    """Return how many broken texts there are, and the first."""
    return f"{counted(number, 'broken text')}{', the first' if number > 1 else ''}: {first}"


def remember(
    prepared: Prepared, reading: dict[str, Any], revision: str | None, *, exhausted: bool
) -> None:
    """Keep what was asked of the hub beside the samples.

    Args:
        prepared: the samples.
        reading: how the rows were read.
        revision: the commit.
        exhausted: whether the dataset ended before all samples that were asked for.
    """
    record = asdict(prepared) | {
        "reading": _plain(reading),
        "revision": revision,
        "exhausted": exhausted,
    }
    del record["path"]
    text = json.dumps(record, indent=2) + "\n"
    write_atomically(
        prepared.path.with_name("prepared.json"), lambda temporary: temporary.write_text(text)
    )


def _plain(reading: dict[str, Any]) -> dict[str, Any]:
    return reading | {"fields": asdict(reading["fields"])}


def find(
    folder: Path,
    dataset: str,
    num_samples: int,
    first_sample: int,
    reading: dict[str, Any],
    *,
    skip_broken: bool,
) -> Prepared | None:
    """Return what the same request prepared before, if its file still holds the same samples.

    One from which broken texts were left out is such only where that was asked for.
    """
    for memory in sorted(folder.glob("*/prepared.json")):
        try:
            record = json.loads(memory.read_text())
            exhausted, read_as = record.pop("exhausted"), record.pop("reading")
            del record["revision"]
            prepared = Prepared(path=memory.with_name("samples.parquet"), **record)
            read_as["fields"].setdefault("chat_as_text", _was_chat_as_text(dataset, reading))
            enough = prepared.num_samples == num_samples or (
                exhausted and prepared.num_samples < num_samples
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue
        asked = (prepared.dataset, prepared.first_sample) == (dataset, first_sample)
        if (
            asked
            and read_as == _plain(reading)
            and enough
            and (skip_broken or not prepared.skipped_broken)
            and is_whole(prepared.path, prepared.num_samples, prepared.fingerprint)
        ):
            return prepared
    return None


def _was_chat_as_text(dataset: str, reading: dict[str, Any]) -> bool:
    """Return how an earlier Gatehouse took chats: as text, if the dataset can have any."""
    has_texts = dataset in HUB_DATASETS and reading["fields"].text is None
    return bool(reading["fields"].chat_as_text) if has_texts else True


def kept(
    folder: Path, dataset: str, fingerprint: str, num_samples: int, first_sample: int
) -> Prepared | None:
    """Return samples that were prepared before, for a corpus that cannot be read twice.

    Args:
        folder: that of all prepared datasets.
        dataset: its name, as the samples were prepared from it.
        fingerprint: that of the samples, which is computed again.
        num_samples: how many there are.
        first_sample: the number of the first.
    """
    path = folder / folder_name(dataset, fingerprint, first_sample) / "samples.parquet"
    if not is_whole(path, num_samples, fingerprint):
        return None
    duplicates = num_samples - distinct_texts(path)
    return Prepared(path, dataset, fingerprint, num_samples, first_sample, duplicates, 0)
