"""What a chart of a page is, a group of charts under one heading, and a part of groups."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Chart:
    """One chart: its id in the page, its heading and how to read it.

    `of_layer` says that it shows the selected layer, `wide` that it takes both columns. `needs`
    names what the run's source must tell for it. `untested` is how to read it where the run has no
    verdict, if that differs.
    """

    stem: str
    heading: str
    reading: str
    of_layer: bool = True
    wide: bool = False
    needs: frozenset[str] = frozenset()
    untested: str = ""


@dataclass(frozen=True)
class Group:
    """Charts under one heading."""

    stem: str
    heading: str
    charts: tuple[Chart, ...]


@dataclass(frozen=True)
class Part:
    """Groups that answer what one kind of reader came for; `stem` is what `--focus` calls it."""

    stem: str
    heading: str
    groups: tuple[Group, ...]
