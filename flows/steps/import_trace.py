"""A trace of another engine in the lake: read twice, so that nothing of a bad one lands."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from gatehouse.flows.console import bar, say, working
from gatehouse.ingest.traces.formats import EVERY_FORMAT, FORMATS
from gatehouse.ingest.traces.landing import Survey, events_of, samples_of, shards, survey
from gatehouse.ingest.traces.laws.alignment import alignment
from gatehouse.ingest.traces.laws.fitted import Fitted, fitted
from gatehouse.ingest.traces.likeness import suffix_of
from gatehouse.ingest.traces.sequence import Format, Layout, SequenceFormat
from gatehouse.models.checkpoint.described import Description, describe
from gatehouse.warehouse.errors import GatehouseError, require
from gatehouse.warehouse.files import sha256_of
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.notes.run_names import LONGEST, is_name, name_run
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.plain_text import counted
from gatehouse.warehouse.records import LAKE_VERSION, LAYERS, VOCABULARY, RunSpec, files_fingerprint
from gatehouse.warehouse.release import gatehouse_version

UNKNOWN = "unknown"
"""How the engine computed, which no trace tells."""


@dataclass(frozen=True)
class ImportSummary:
    """What an imported run holds."""

    run_id: str
    sequences: int
    tokens: int
    moe_layers: int
    knows: dict[str, bool]

    @property
    def line(self) -> str:
        """One sentence for people."""
        lacking = [what for what, has in self.knows.items() if not has]
        without = f"; the trace has no {' and no '.join(lacking)}" if lacking else ""
        return (
            f"{self.run_id}: {counted(self.sequences, 'sequence')}, "
            f"{counted(self.tokens, 'token')} x {counted(self.moe_layers, 'MoE layer')} = "
            f"{counted(self.tokens * self.moe_layers, 'event')}{without}; "
            "`gatehouse build` adds it to the marts"
        )


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

    Raises:
        GatehouseError: an unknown format, or a file that is not there.
    """

    format: str
    files: tuple[Path, ...]
    model: str
    revision: str | None = None
    trust_remote_code: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        if self.format not in EVERY_FORMAT:
            raise GatehouseError(
                f"unknown format {self.format!r}: name one of {', '.join(EVERY_FORMAT)}"
            )
        require(bool(self.files), "files", "one or more: name the files of the trace")
        for path in self.files:
            if not path.exists():
                raise GatehouseError(f"there is no {path}: name a file or folder that is there")
        one_line = f"one line of 1 to {LONGEST} characters without control characters"
        require(self.name is None or is_name(self.name), "name", one_line)


TESTED_TOKENS = 20_000
"""Tokens from the start of a trace by which the order of its rows is tested."""

BATCHES = (4, 8)
"""Sequences whose rows take turns in FLAME-MoE's traces: its micro-batches."""


class Trace:
    """The files of a request, as sequences that fit the model; each iteration reads them anew.

    Args:
        request: names the files.
        layout: of the model.
        renormalised: whether the model divides the weights of the chosen experts by their sum.

    Attributes:
        alignment: whether rows stand beside their tokens, or in which order they follow.

    Raises:
        GatehouseError: there is no file; a sequence breaks a law, or rows fit their tokens in no
            order.
    """

    def __init__(self, request: ImportRequest, layout: Layout, renormalised: bool) -> None:
        self.format: SequenceFormat = FORMATS[request.format]
        self.files = [path for given in request.files for path in files_of(given, self.format)]
        self._given = list(request.files) if self.format.of_folders else self.files
        self._layout = layout
        self._renormalised = renormalised
        self.alignment = alignment(self._first(), BATCHES)

    def __iter__(self) -> Iterator[Fitted]:
        order = self.alignment.order
        sequences = self._as_they_are()
        while together := list(islice(sequences, order.batch)):
            yield from order.applied(together)

    def _as_they_are(self) -> Iterator[Fitted]:
        for sequence in self.format.read(self._given, self._layout):
            yield fitted(sequence, self._layout, self._renormalised)

    def _first(self) -> list[Fitted]:
        first: list[Fitted] = []
        tokens = 0
        for sequence in self._as_they_are():
            # of whole batches, whichever it is
            if tokens >= TESTED_TOKENS and len(first) % max(BATCHES) == 0:
                break
            first.append(sequence)
            tokens += len(sequence.experts)
        return first

    @cached_property
    def source_files(self) -> str:
        """What `runs` says of the files."""
        return described_files(self.files)


def described_files(files: list[Path]) -> str:
    """Return the JSON by which `runs` names the files of an import."""
    described = [
        {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in files
    ]
    return json.dumps(described)


def files_of(given: Path, format: Format) -> list[Path]:
    """Return a file, or the files of the format in a folder and those below it, by name.

    Raises:
        GatehouseError: the folder has none.
    """
    if given.is_file():
        return [given]
    found = [path for path in sorted(given.rglob("*")) if path.is_file()]
    wanted = [path for path in found if suffix_of(path) in format.suffixes]
    if not wanted:
        raise GatehouseError(
            f"{given} holds no {', '.join(format.suffixes)}: name a folder or file of {format.name}"
        )
    return wanted


def import_trace(request: ImportRequest, paths: Paths) -> ImportSummary:
    """Land a trace as a run, or what is missing of it; return what the run holds.

    Args:
        request: which trace, and of which model.
        paths: the warehouse.

    Raises:
        GatehouseError: no such model, a file that cannot be read or breaks a law (named; nothing
            of it lands), or a disk that cannot be written.
    """
    with working(f"looking at {request.model}"):
        described = describe(request.model, request.revision, request.trust_remote_code)
    if request.format == "router-logits" and (why := described.why_logits_are_not_enough):
        raise GatehouseError(
            f"the logits of {described.name} do not tell which experts were chosen: {why}; record "
            "the experts, and import those"
        )
    with working("checking the trace"):
        trace = Trace(request, layout_of(described), described.renormalises)
        seen = survey(trace)
    aligned = [trace.alignment.sentence] if seen.knows["token ids"] else []
    for line in (*aligned, *notes_of(seen)):
        say(line)
    session = _Session(request, described, trace, seen, Lake(paths.lake))
    with session.lake.writing(session.run_id):
        session.lake.remove_leftovers(session.run_id)
        return session.land()


def notes_of(seen: Survey) -> list[str]:
    """Return a line on each thing that was left out of sequences, with how many and the first."""
    return [
        f"{counted(len(names), 'sequence')}, the first {names[0]}: {note}"
        for note, names in seen.notes.items()
    ]


def layout_of(described: Description) -> Layout:
    """Return what the readers of traces need of a model."""
    layers = described.layers
    return Layout(
        blocks=tuple(row["block"] for row in layers),
        num_blocks=described.num_blocks,
        num_experts=tuple(row["num_experts"] for row in layers),
        top_k=tuple(row["top_k"] for row in layers),
    )


def spec_of(
    request: ImportRequest,
    described: Description,
    source_files: str,
    *,
    num_samples: int,
    max_length: int,
) -> RunSpec:
    """Return the identity of an imported run; `source_files` as `described_files` gives it."""
    return RunSpec(
        model=described.name,
        model_fingerprint=described.fingerprint,
        tokenizer_fingerprint=described.tokenizer_fingerprint,
        dataset=str(request.files[0].resolve()),
        dataset_fingerprint=files_fingerprint(source_files),
        first_sample=0,
        num_samples=num_samples,
        max_length=max_length,
        windows=False,
        dtype=UNKNOWN,
        quantization="none",
        attention_implementation=UNKNOWN,
        experts_implementation=UNKNOWN,
        trust_remote_code=request.trust_remote_code,
    )


def record_of(spec: RunSpec, source: str, source_files: str) -> dict[str, Any]:
    """Return the row of `runs` of an import that begins now, without shards and token ids."""
    return asdict(spec) | {
        "lake_version": LAKE_VERSION,
        "shards": 0,
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
        "source": source,
        "source_files": source_files,
        "has_token_ids": False,
    }


@dataclass(frozen=True)
class _Session:
    request: ImportRequest
    described: Description
    trace: Trace
    seen: Survey
    lake: Lake

    @cached_property
    def spec(self) -> RunSpec:
        return spec_of(
            self.request,
            self.described,
            self.trace.source_files,
            num_samples=self.seen.sequences,
            max_length=max(self.seen.longest, 1),
        )

    @property
    def run_id(self) -> str:
        return self.spec.run_id

    def land(self) -> ImportSummary:
        if not self.lake.is_described(self.run_id):
            self.lake.forget_damaged_shards(self.run_id)
            vocabulary = pa.Table.from_pylist(self.described.vocabulary, schema=VOCABULARY)
            self.lake.land_run(self.run_id, self._record(), self._layers(), vocabulary)
        if self.request.name:
            name_run(self.lake.root, self.run_id, self.request.name)
        landed = self.lake.finished_shards(self.run_id)
        if len(landed) == self.seen.shards:
            say(f"{self.run_id} is finished: nothing to import")
        else:
            self._land_shards(landed)
        return self._finish()

    def _land_shards(self, landed: set[int]) -> None:
        layers = self.lake.layers(self.run_id)["layer"].to_pylist()
        with bar("importing shards", self.seen.shards) as moved:
            started = time.monotonic()
            for number, shard in enumerate(shards(self.trace)):
                if number not in landed:
                    self.lake.land_shard(
                        self.run_id,
                        number,
                        samples_of(shard),
                        events_of(shard, layers, has_drops=self.trace.format.has_drops),
                        seconds=time.monotonic() - started,
                    )
                started = time.monotonic()
                moved(number + 1)

    def _layers(self) -> pa.Table:
        knows, sums = self.seen.knows, self.seen.weights_sum_to_one
        told = {
            "top_k": self.seen.top_k,
            "has_weights": knows["weights"],
            "has_distribution": knows["distribution"],
            "ranked": knows["order"],
        }
        rows = [
            row | told | {"weights_sum_to_one": sums[index] if sums else None}
            for index, row in enumerate(self.described.layers)
        ]
        return pa.Table.from_pylist(rows, schema=LAYERS)

    def _record(self) -> dict[str, Any]:
        return record_of(self.spec, self.request.format, self.trace.source_files) | {
            "shards": self.seen.shards,
            "has_token_ids": self.seen.knows["token ids"],
        }

    def _finish(self) -> ImportSummary:
        record = self.lake.run_record(self.run_id)
        assert record is not None
        if record["finished_at"] is None:
            rows = self.lake.shards(self.run_id).values()
            record["finished_at"] = max(datetime.now(UTC), record["started_at"])
            record["capture_seconds"] = sum(row["seconds"] for row in rows)
            self.lake.update_run(self.run_id, record)
        return ImportSummary(
            run_id=self.run_id,
            sequences=self.seen.sequences,
            tokens=self.seen.tokens,
            moe_layers=len(self.described.layers),
            knows=self.seen.knows,
        )


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
