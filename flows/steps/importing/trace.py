"""The files of a trace as what fits the model: gone through piece by piece, landed share by share.

A process that imports part of a trace needs no model: what is needed of it is packed.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain, groupby, islice
from typing import Any

from gatehouse.ingest.traces.formats import FORMATS
from gatehouse.ingest.traces.landing import Numbered, events_of, samples_of
from gatehouse.ingest.traces.laws.fitted import Fitted, fitted
from gatehouse.ingest.traces.laws.order import Order
from gatehouse.ingest.traces.laws.vocabulary import Vocabulary
from gatehouse.ingest.traces.pieces import Share, read_piece
from gatehouse.ingest.traces.sequence import Layout, Piece, SequenceFormat
from gatehouse.ingest.traces.survey import Survey, survey
from gatehouse.warehouse.lake import Lake


@dataclass(frozen=True)
class Trace:
    """How a trace is read.

    Attributes:
        format_name: of FORMATS.
        layout: of the model.
        layers: what the lake calls each of its MoE layers.
        renormalised: whether the model divides the weights of the chosen experts by their sum.
        token_ids: of the model's tokenizer, as ranges.
        order: in which rows follow their tokens.
    """

    format_name: str
    layout: Layout
    layers: tuple[int, ...]
    renormalised: bool
    token_ids: tuple[tuple[int, int], ...]
    order: Order

    @property
    def format(self) -> SequenceFormat:
        """The format of its files."""
        return FORMATS[self.format_name]

    def as_they_are(self, pieces: Iterable[Piece]) -> Iterator[Fitted]:
        """Yield the sequences of pieces, whatever their order.

        Raises:
            GatehouseError: one breaks a law.
        """
        vocabulary = Vocabulary(chain.from_iterable(range(*each) for each in self.token_ids))
        for piece in pieces:
            for sequence in read_piece(self.format, piece, self.layout):
                routed = fitted(sequence, self.layout, self.renormalised)
                vocabulary.check(routed)
                yield routed

    def sequences(self, pieces: Iterable[Piece]) -> Iterator[Fitted]:
        """Yield the sequences of pieces with their rows beside their tokens; raises alike."""
        found = self.as_they_are(pieces)
        while together := list(islice(found, self.order.batch)):
            yield from self.order.applied(together)

    def survey(self, piece: Piece) -> Survey:
        """Go through a piece; raises as `sequences`, and if two do not tell the same things."""
        return survey(self.sequences([piece]))

    def land(self, share: Share, lake: Lake, run_id: str, *, again: bool) -> Iterator[int]:
        """Land those shards of a share that have not; yield the number of each one that has.

        Args:
            share: of the trace.
            lake: holds the run's description; the caller holds the run's lock.
            run_id: whose shards they are.
            again: as `Lake.land_shard` has it.

        Raises:
            GatehouseError: a disk that cannot be written.
        """
        landed = {cut.number for cut in share.cuts if lake.shards.has_landed(run_id, cut.number)}
        sequences = self.sequences(share.pieces if len(landed) < len(share.cuts) else [])
        for _ in islice(sequences, share.skipped):
            pass
        started = time.monotonic()
        for cut in share.cuts:
            together = islice(sequences, cut.sequences)
            shard = [Numbered(cut.first + place, routed) for place, routed in enumerate(together)]
            if cut.number not in landed:
                lake.land_shard(
                    run_id,
                    cut.number,
                    samples_of(shard),
                    events_of(shard, list(self.layers), has_drops=self.format.has_drops),
                    seconds=time.monotonic() - started,
                    again=again,
                )
            started = time.monotonic()
            yield cut.number

    def as_json(self) -> dict[str, Any]:
        """Return what `trace_of_json` makes the trace of again."""
        return asdict(self)


def trace_of_json(found: dict[str, Any]) -> Trace:
    """Return the trace that `Trace.as_json` has given."""
    told = found["layout"]
    layout = Layout(
        blocks=tuple(told["blocks"]),
        num_blocks=told["num_blocks"],
        num_experts=tuple(told["num_experts"]),
        top_k=tuple(told["top_k"]),
    )
    return Trace(
        found["format_name"],
        layout,
        tuple(found["layers"]),
        found["renormalised"],
        tuple((first, end) for first, end in found["token_ids"]),
        Order(**found["order"]),
    )


def ranges_of(numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Return ascending numbers as ranges: the first of each, and the one after its last."""
    found = []
    for _, together in groupby(enumerate(numbers), key=lambda each: each[1] - each[0]):
        of_range = [number for _, number in together]
        found.append((of_range[0], of_range[-1] + 1))
    return tuple(found)
