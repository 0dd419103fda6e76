"""A trace of another engine in the lake: read twice, so that nothing of a bad one lands."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from gatehouse.flows.console import bar, say, working
from gatehouse.flows.steps.imported_run import (
    ImportedRun,
    ImportRequest,
    described_files,
    layout_of,
)
from gatehouse.ingest.traces.formats import FORMATS
from gatehouse.ingest.traces.landing import Survey, events_of, samples_of, shards, survey
from gatehouse.ingest.traces.laws.alignment import alignment
from gatehouse.ingest.traces.laws.fitted import Fitted, fitted
from gatehouse.ingest.traces.laws.vocabulary import Vocabulary
from gatehouse.ingest.traces.sequence import Layout, SequenceFormat
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.plain_text import counted

TESTED_TOKENS = 20_000
"""Tokens from the start of a trace by which the order of its rows is tested."""

BATCHES = (4, 8)
"""Sequences whose rows take turns in FLAME-MoE's traces: its micro-batches."""


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


class Trace:
    """The files of a request, as sequences that fit the model; each iteration reads them anew.

    Args:
        request: names the files.
        layout: of the model.
        renormalised: whether the model divides the weights of the chosen experts by their sum.
        vocabulary: of the model's tokenizer.

    Attributes:
        format: the request's.
        files: all files that are read.
        alignment: whether rows stand beside their tokens, or in which order they follow.

    Raises:
        GatehouseError: there is no file; a sequence breaks a law, or rows fit their tokens in no
            order.
    """

    def __init__(
        self, request: ImportRequest, layout: Layout, renormalised: bool, vocabulary: Vocabulary
    ) -> None:
        self.format: SequenceFormat = FORMATS[request.format]
        self.files = request.files_in(self.format)
        self._given = list(request.files) if self.format.files else self.files
        self._layout = layout
        self._renormalised = renormalised
        self._vocabulary = vocabulary
        self.alignment = alignment(self._first(), BATCHES)

    def __iter__(self) -> Iterator[Fitted]:
        order = self.alignment.order
        sequences = self._as_they_are()
        while together := list(islice(sequences, order.batch)):
            yield from order.applied(together)

    def _as_they_are(self) -> Iterator[Fitted]:
        for sequence in self.format.read(self._given, self._layout):
            routed = fitted(sequence, self._layout, self._renormalised)
            self._vocabulary.check(routed)
            yield routed

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


def import_trace(request: ImportRequest, paths: Paths) -> ImportSummary:
    """Land a trace as a run, or what is missing of it; return what the run holds.

    Args:
        request: which trace, and of which model.
        paths: the warehouse.

    Raises:
        GatehouseError: no such model, a file that cannot be read or breaks a law (named; nothing
            of it lands), or a disk that cannot be written.
    """
    described = request.described()
    if request.format == "router-logits" and (why := described.why_logits_are_not_enough):
        raise GatehouseError(
            f"the logits of {described.name} do not tell which experts were chosen: {why}; record "
            "the experts, and import those"
        )
    with working("checking the trace"):
        vocabulary = Vocabulary(row["token_id"] for row in described.vocabulary)
        trace = Trace(request, layout_of(described), described.renormalises, vocabulary)
        seen = survey(trace)
    aligned = [trace.alignment.sentence] if seen.knows["token ids"] else []
    for line in (*aligned, *notes_of(seen)):
        say(line)
    files, longest = described_files(trace.files), max(seen.longest, 1)
    run = ImportedRun(request, described, files, seen.sequences, longest, Lake(paths.lake))
    with run.lake.writing(run.run_id):
        run.lake.remove_leftovers(run.run_id)
        _land(run, trace, seen)
    return ImportSummary(run.run_id, seen.sequences, seen.tokens, len(described.layers), seen.knows)


def notes_of(seen: Survey) -> list[str]:
    """Return a line on each thing to know of sequences: the first, how many more, and what."""
    return [
        f"{names[0]}{f' and {len(names) - 1:,} more' if names[1:] else ''}: {note}"
        for note, names in seen.notes.items()
    ]


def _land(run: ImportedRun, trace: Trace, seen: Survey) -> None:
    told = {
        "top_k": seen.top_k,
        "has_weights": seen.knows["weights"],
        "has_distribution": seen.knows["distribution"],
        "ranked": seen.knows["order"],
    }
    sums: Sequence[bool | None] = seen.weights_sum_to_one or [None] * len(run.described.layers)
    # what the trace says of its own model goes before what follows from the config
    sizes = [{"expert_bytes": each} for each in seen.expert_bytes or ()] or [{} for _ in sums]
    run.describe(
        [
            told | {"weights_sum_to_one": each} | size
            for each, size in zip(sums, sizes, strict=True)
        ],
        shards=seen.shards,
        has_token_ids=seen.knows["token ids"],
    )
    landed = run.lake.finished_shards(run.run_id)
    if len(landed) == seen.shards:
        say(f"{run.run_id} is finished: nothing to import")
    else:
        _land_shards(run, trace, seen.shards, landed)
    run.lake.finish_run(run.run_id)


def _land_shards(run: ImportedRun, trace: Trace, number_of_shards: int, landed: set[int]) -> None:
    layers = [row["layer"] for row in run.described.layers]
    with bar("importing shards", number_of_shards) as moved:
        started = time.monotonic()
        for number, shard in enumerate(shards(trace)):
            if number not in landed:
                run.lake.land_shard(
                    run.run_id,
                    number,
                    samples_of(shard),
                    events_of(shard, layers, has_drops=trace.format.has_drops),
                    seconds=time.monotonic() - started,
                )
            started = time.monotonic()
            moved(number + 1)
