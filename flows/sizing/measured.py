"""What builds were measured to take, from which that of another lake is told.

`make bench-warehouse` measures them, on lakes that are made up; docs/scaling.md has the table.
"""

from dataclasses import dataclass, fields
from itertools import pairwise


@dataclass(frozen=True)
class Build:
    """A build of one run on two cores.

    Attributes:
        top_k: experts that each event chooses.
        events: in the lake.
        cpu_seconds: that the whole build took, all tests included.
        peak_bytes: most memory that its process held.
        database_bytes: of what it made.
    """

    top_k: float
    events: float
    cpu_seconds: float
    peak_bytes: float
    database_bytes: float


BUILDS = (
    Build(2, 1_100_000, 20.0, 0.6e9, 0.04e9),
    Build(2, 10_000_000, 62.4, 0.75e9, 0.22e9),
    Build(2, 100_000_000, 210.0, 1.37e9, 0.9e9),
    Build(8, 1_000_000, 30.0, 0.7e9, 0.1e9),
    Build(8, 10_000_000, 120.0, 1.2e9, 0.65e9),
    Build(8, 100_000_000, 900.0, 3.0e9, 5.0e9),
)


def build_of(events: int, top_k: int) -> Build:
    """Return what a build takes of so many events.

    It lies on lines between those that were measured, and on the last of these lines beyond: by the
    number of events, and then by that of the experts that each chooses.
    """
    ks = sorted({build.top_k for build in BUILDS})
    told = [
        _on_a_line([build for build in BUILDS if build.top_k == k], "events", events) for k in ks
    ]
    return _on_a_line(told, "top_k", max(top_k, ks[0]))


def _on_a_line(measured: list[Build], axis: str, place: float) -> Build:
    ordered = sorted(measured, key=lambda build: getattr(build, axis))
    spans = list(pairwise(ordered))
    low, high = next((span for span in spans if place <= getattr(span[1], axis)), spans[-1])
    start, end = getattr(low, axis), getattr(high, axis)
    # dbt itself takes most of a small build
    share = max((place - start) / (end - start), 0.0)
    return Build(
        *(
            getattr(low, each.name) + share * (getattr(high, each.name) - getattr(low, each.name))
            for each in fields(Build)
        )
    )
