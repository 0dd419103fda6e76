"""What builds were measured to take, from which that of another lake is told.

The lakes are those that `make bench-warehouse` makes up; docs/scaling.md has the table.
"""

from dataclasses import dataclass, fields, replace
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
    Build(2, 999_424, 42.3, 0.63e9, 0.057e9),
    Build(2, 9_994_240, 80.2, 0.96e9, 0.262e9),
    Build(2, 29_999_104, 135.8, 1.23e9, 0.522e9),
    Build(2, 100_007_936, 302.3, 1.58e9, 0.714e9),
    Build(8, 1_007_616, 82.1, 0.98e9, 0.154e9),
    Build(8, 4_988_928, 219.8, 1.69e9, 0.559e9),
    Build(8, 10_002_432, 237.8, 1.87e9, 0.778e9),
    Build(8, 99_999_744, 1275.3, 3.58e9, 2.51e9),
)
"""Top-2 of 8 experts in 32 layers, and top-8 of 128 in 48. The machine was slow, and did
other work during the last of them, for which DuckDB had 3 GB. Others take about half as long."""

FULL = 3
"""So many times the largest build that was measured, a database is taken to grow no more: there are
only so many pairs of tokens and experts. That is a guess."""


def build_of(events: int, top_k: int) -> Build:
    """Return what a build takes of so many events.

    It lies on lines between those that were measured, and on the last of these lines beyond: by the
    number of events, and then by that of the experts that each chooses.
    """
    told = _told(events, top_k)
    most = FULL * max(build.events for build in BUILDS)
    return replace(told, database_bytes=_told(min(events, most), top_k).database_bytes)


def _told(events: float, top_k: float) -> Build:
    ks = sorted({build.top_k for build in BUILDS})
    of_each = [
        _on_a_line([build for build in BUILDS if build.top_k == k], "events", events) for k in ks
    ]
    return _on_a_line(of_each, "top_k", max(top_k, ks[0]))


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
