"""The run that an import lands: what was asked for, which files, its identity and description."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from gatehouse.flows.console import working
from gatehouse.flows.request import Workers
from gatehouse.ingest.traces.formats import EVERY_FORMAT
from gatehouse.ingest.traces.likeness import suffix_of
from gatehouse.ingest.traces.sequence import Format, Layout
from gatehouse.models.checkpoint.described import Description, describe
from gatehouse.warehouse.errors import GatehouseError, require
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.notes.run_names import check_name, name_run
from gatehouse.warehouse.records import LAKE_VERSION, LAYERS, VOCABULARY, RunSpec, files_fingerprint
from gatehouse.warehouse.release import gatehouse_version
from gatehouse.warehouse.tables import sha256_of

UNKNOWN = "unknown"
"""How the engine computed, which no trace tells."""


@dataclass(frozen=True)
class ImportRequest:
    """What to import.

    Attributes:
        format: a name in `ingest.traces.formats.EVERY_FORMAT`.
        files: files or folders of that format, read in this order.
        model: a hub id, an alias, a folder, or a config.json: what the trace is of.
        revision: branch, tag or commit of a hub model.
        trust_remote_code: whether code from the model's repository may run.
        name: a person's name for the run.
        asked_workers: the processes that read and land it, None where this one does.

    Raises:
        GatehouseError: an unknown format, or a file that is not there.
    """

    format: str
    files: tuple[Path, ...]
    model: str
    revision: str | None = None
    trust_remote_code: bool = False
    name: str | None = None
    asked_workers: Workers | None = None

    def __post_init__(self) -> None:
        if self.format not in EVERY_FORMAT:
            raise GatehouseError(
                f"unknown format {self.format!r}: name one of {', '.join(EVERY_FORMAT)}"
            )
        require(bool(self.files), "files", "one or more: name the files of the trace")
        for path in self.files:
            if not path.exists():
                raise GatehouseError(f"there is no {path}: name a file or folder that is there")
        check_name(self.name)

    def files_in(self, format: Format[Any]) -> list[Path]:
        """Return the files, and those of the format in the folders and below, each once.

        Raises:
            GatehouseError: a folder has none.
        """
        found = [path for given in self.files for path in _files_of(given, format)]
        # all files of a folder are read once, however many of them are named
        return list(dict.fromkeys(found)) if format.files else found

    def described(self) -> Description:
        """Look at the model.

        Raises:
            GatehouseError: there is no such model, or it has no MoE layers.
        """
        with working(f"looking at {self.model}"):
            return describe(self.model, self.revision, self.trust_remote_code)


def _files_of(given: Path, format: Format[Any]) -> list[Path]:
    if given.is_file() and not given.stat().st_size:
        raise GatehouseError(f"{given} is empty: leave it out, or write it again")
    if format.files:
        wanted = format.files(given)
    elif given.is_file():
        return [given]
    else:
        found = [path for path in sorted(given.rglob("*")) if path.is_file()]
        wanted = [path for path in found if suffix_of(path) in format.suffixes]
    if not wanted:
        raise GatehouseError(
            f"{given} holds no {', '.join(format.suffixes)}: name a folder or file of {format.name}"
        )
    return wanted


def described_files(files: Iterable[Path]) -> str:
    """Return the JSON by which `runs` names the files of an import."""
    described = [
        {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in files
    ]
    return json.dumps(described)


def layout_of(described: Description) -> Layout:
    """Return what the readers of traces need of a model."""
    layers = described.layers
    return Layout(
        blocks=tuple(row["block"] for row in layers),
        num_blocks=described.num_blocks,
        num_experts=tuple(row["num_experts"] for row in layers),
        top_k=tuple(row["top_k"] for row in layers),
    )


@dataclass(frozen=True)
class ImportedRun:
    """A run of the lake that an import lands.

    Attributes:
        request: what was asked for.
        described: the model.
        source_files: as `described_files` gives it.
        num_samples: how many sequences there are.
        max_length: tokens of the longest, at least 1.
        lake: where it lands.
    """

    request: ImportRequest
    described: Description
    source_files: str
    num_samples: int
    max_length: int
    lake: Lake

    @cached_property
    def spec(self) -> RunSpec:
        """The run's identity."""
        first, *others = self.request.files
        more = f" and {len(others)} more" if others else ""
        return RunSpec(
            model=self.described.name,
            model_fingerprint=self.described.fingerprint,
            tokenizer_fingerprint=self.described.tokenizer_fingerprint,
            dataset=f"{first.resolve()}{more}",
            dataset_fingerprint=files_fingerprint(self.source_files),
            first_sample=0,
            num_samples=self.num_samples,
            max_length=self.max_length,
            windows=False,
            dtype=UNKNOWN,
            quantization="none",
            attention_implementation=UNKNOWN,
            experts_implementation=UNKNOWN,
            trust_remote_code=self.request.trust_remote_code,
        )

    @cached_property
    def run_id(self) -> str:
        """Its name in the lake."""
        return self.spec.run_id

    def describe(
        self,
        told: Iterable[dict[str, Any]],
        *,
        shards: int = 0,
        has_token_ids: bool = False,
        together: bool = False,
    ) -> None:
        """Land the run's record, layers and vocabulary unless they are there, and name the run.

        Args:
            told: for each MoE layer, what the trace tells of it: columns of LAYERS.
            shards: how many it has.
            has_token_ids: whether the trace has token ids.
            together: whether other processes land it too.
        """
        if not self.lake.is_described(self.run_id):
            if not together:
                self.lake.shards.forget_damaged(self.run_id)
            rows = [row | more for row, more in zip(self.described.layers, told, strict=True)]
            record = self._record() | {"shards": shards, "has_token_ids": has_token_ids}
            self.lake.land_run(
                self.run_id,
                record,
                pa.Table.from_pylist(rows, schema=LAYERS),
                pa.Table.from_pylist(self.described.vocabulary, schema=VOCABULARY),
            )
        if self.request.name:
            name_run(self.lake.root, self.run_id, self.request.name)

    def _record(self) -> dict[str, Any]:
        return asdict(self.spec) | {
            "lake_version": LAKE_VERSION,
            "skipped_empty": 0,
            "skipped_broken": 0,
            "lines": False,
            "document_field": None,
            "batch_size": 0,
            "device": UNKNOWN,
            "versions": f"gatehouse {gatehouse_version()}",
            "started_at": datetime.now(UTC),
            "finished_at": None,
            "capture_seconds": 0.0,
            "source": self.request.format,
            "source_files": self.source_files,
        }


def example_of(name: str) -> str:
    """Return an example of a format, or for `all` a line on each.

    Raises:
        GatehouseError: there is no such format.
    """
    if name == "all":
        return "\n".join(f"{each.name:14} {each.description}" for each in EVERY_FORMAT.values())
    if name not in EVERY_FORMAT:
        known = ", ".join(EVERY_FORMAT)
        raise GatehouseError(f"unknown format {name!r}: name one of {known}, or all")
    return EVERY_FORMAT[name].example
