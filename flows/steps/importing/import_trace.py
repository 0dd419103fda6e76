"""A trace of another engine in the lake: read twice, so that nothing of a bad one lands."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from gatehouse.flows.console import bar, say, working
from gatehouse.flows.steps.importing.imported_run import (
    ImportedRun,
    ImportRequest,
    described_files,
    layout_of,
)
from gatehouse.flows.steps.importing.on_workers import ImportWorkers, import_workers
from gatehouse.flows.steps.importing.trace import Trace, ranges_of
from gatehouse.flows.steps.workers.part import WHOLE, Part, PartSummary
from gatehouse.ingest.traces.formats import FORMATS
from gatehouse.ingest.traces.landing import Cut, cuts_of
from gatehouse.ingest.traces.laws.alignment import AS_THEY_ARE, Alignment, alignment
from gatehouse.ingest.traces.laws.fitted import Fitted
from gatehouse.ingest.traces.pieces import Places, Share, pieces_of
from gatehouse.ingest.traces.sequence import Piece
from gatehouse.ingest.traces.survey import Survey, joined
from gatehouse.models.checkpoint.described import Description
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


def import_trace(
    request: ImportRequest, paths: Paths, part: Part | None = None
) -> ImportSummary | PartSummary:
    """Land a trace as a run, or what is missing of it; return what the run holds.

    Args:
        request: which trace, of which model, and by how many workers.
        paths: the warehouse.
        part: the share of the trace that is this process's to land, beside others; None for all.

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
    with ExitStack() as opening:
        with working("checking the trace"):
            files, trace, pieces, aligned = _opened(request, described)
        asked, workers = request.asked_workers, None
        if asked and _can_be_cut(trace, pieces):
            connecting = import_workers(asked, trace, len(pieces), paths)
            workers = opening.enter_context(connecting)
        surveys = _surveys(trace, pieces, workers)
        seen = joined(surveys)
        told = [aligned.sentence] if seen.told.knows["token ids"] else []
        for line in (*told, *notes_of(seen)):
            say(line)
        run = _run_of(request, described, files, seen, paths)
        together = bool(asked or part)
        opening.enter_context(run.lake.locks.held(run.run_id, together=together))
        cuts = cuts_of(seen.lengths, len(trace.layers))
        _describe(run, seen, len(cuts), together=together)
        places = Places(pieces, [len(each.lengths) for each in surveys])
        pending = _pending(run, places, cuts, part or WHOLE)
        if workers is None:
            pending = places.joined(pending)
        _land(run, trace, pending, workers, together=together)
        left = len(cuts) - len(run.lake.shards.finished(run.run_id))
        if part and left:
            return PartSummary(run.run_id, part, len(cuts), left)
        run.lake.finish_run(run.run_id)
    sequences, knows = len(seen.lengths), seen.told.knows
    return ImportSummary(run.run_id, sequences, seen.tokens, len(trace.layers), knows)


def _run_of(
    request: ImportRequest, described: Description, files: list[Path], seen: Survey, paths: Paths
) -> ImportedRun:
    longest = max(max(seen.lengths), 1)
    return ImportedRun(
        request, described, described_files(files), len(seen.lengths), longest, Lake(paths.lake)
    )


def notes_of(seen: Survey) -> list[str]:
    """Return a line on each thing to know of sequences: the first, how many more, and what."""
    return [
        f"{names[0]}{f' and {len(names) - 1:,} more' if names[1:] else ''}: {note}"
        for note, names in seen.notes.items()
    ]


def _opened(
    request: ImportRequest, described: Description
) -> tuple[list[Path], Trace, list[Piece], Alignment]:
    """Return the files of a trace, how it is read, its pieces, and how rows fit tokens.

    Raises:
        GatehouseError: there is no file; or rows fit their tokens in no order.
    """
    form = FORMATS[request.format]
    files, layout = request.files_in(form), layout_of(described)
    given = list(request.files) if form.files else files
    pieces = pieces_of(form, given, layout)
    trace = Trace(
        request.format,
        layout,
        tuple(row["layer"] for row in described.layers),
        described.renormalises,
        ranges_of(row["token_id"] for row in described.vocabulary),
        AS_THEY_ARE,
    )
    aligned = alignment(_first(trace, pieces), BATCHES)
    trace = replace(trace, order=aligned.order)
    if aligned.order.batch > 1 and any(piece.rows is None for piece in pieces):
        # sequences whose rows take turns may be in two files
        pieces = [Piece(tuple(given))]
    return files, trace, pieces, aligned


def _first(trace: Trace, pieces: list[Piece]) -> list[Fitted]:
    first: list[Fitted] = []
    tokens = 0
    for sequence in trace.as_they_are(pieces):
        # of whole batches, whichever it is
        if tokens >= TESTED_TOKENS and len(first) % max(BATCHES) == 0:
            break
        first.append(sequence)
        tokens += len(sequence.experts)
    return first


def _can_be_cut(trace: Trace, pieces: list[Piece]) -> bool:
    """Return whether a trace has pieces that can be read apart, and say so if it has not."""
    if len(pieces) > 1:
        return True
    say(
        f"this trace of {trace.format_name} is one piece, as it is short or can only be read from "
        "its start: one process imports it; several files would be shared among workers"
    )
    return False


def _surveys(trace: Trace, pieces: list[Piece], workers: ImportWorkers | None) -> list[Survey]:
    """Go through every piece; raises as `Trace.survey`."""
    with bar("checking the trace", len(pieces)) as moved:
        found = []
        for survey in workers.surveys(pieces) if workers else map(trace.survey, pieces):
            found.append(survey)
            moved(len(found))
        return found


def _describe(run: ImportedRun, seen: Survey, shards: int, *, together: bool) -> None:
    first = seen.told
    told = {
        "top_k": first.top_k,
        "has_weights": first.knows["weights"],
        "has_distribution": first.knows["distribution"],
        "ranked": first.knows["order"],
    }
    sums: Sequence[bool | None] = seen.weights_sum_to_one or [None] * len(run.described.layers)
    # what the trace says of its own model goes before what follows from the config
    sizes = [{"expert_bytes": each} for each in seen.expert_bytes or ()] or [{} for _ in sums]
    run.describe(
        [
            told | {"weights_sum_to_one": each} | size
            for each, size in zip(sums, sizes, strict=True)
        ],
        shards=shards,
        has_token_ids=first.knows["token ids"],
        together=together,
    )


def _pending(run: ImportedRun, places: Places, cuts: list[Cut], part: Part) -> list[Share]:
    """Return the shares of a rank of which something has not landed."""
    landed = run.lake.shards.finished(run.run_id)
    if len(landed) == len(cuts):
        say(f"{run.run_id} is finished: nothing to import")
    shares = places.shares_of(cuts)
    own = [shares[number] for number in part.of_shards(len(shares))]
    return [each for each in own if not landed.issuperset(cut.number for cut in each.cuts)]


def _land(
    run: ImportedRun,
    trace: Trace,
    shares: list[Share],
    workers: ImportWorkers | None,
    *,
    together: bool,
) -> None:
    """Land what has not landed of some shares."""
    with bar("importing shards", sum(len(share.cuts) for share in shares)) as moved:
        done = 0
        for shards in _landing(run, trace, shares, workers, together=together):
            done += len(shards)
            moved(done)


def _landing(
    run: ImportedRun,
    trace: Trace,
    shares: list[Share],
    workers: ImportWorkers | None,
    *,
    together: bool,
) -> Iterator[list[int]]:
    """Yield the shards of shares as they land."""
    if workers:
        yield from workers.land(shares, run.run_id)
        return
    for share in shares:
        for shard in trace.land(share, run.lake, run.run_id, again=not together):
            yield [shard]
