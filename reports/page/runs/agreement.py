"""What the page of several runs opens with: the share of equal expert sets of each two of them."""

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from gatehouse.reports.marts import Pair
from gatehouse.reports.verdict.findings import AssessedRun
from gatehouse.warehouse.plain_text import counted

Pairs = Mapping[tuple[int, int], Pair]
"""What each two runs have in common, by their places, the smaller first."""

STRONGEST = 85
"""Per cent of the ramp's colour in the cell of the largest share: its text stays legible."""


def label(place: int) -> str:
    """Return the letters of a run by its place: A to Z, then AA, AB, …"""
    beyond, letter = divmod(place, len(ascii_uppercase))
    return (label(beyond - 1) if beyond else "") + ascii_uppercase[letter]


def in_percent(share: float) -> str:
    """Return a share with one decimal; what is not all does not become 100%."""
    return ">99.9%" if 0.9995 <= share < 1 else f"{share:.1%}"


def opening(sides: Sequence[AssessedRun], pairs: Pairs) -> dict[str, Any]:
    """Return what the page opens with: of two runs the number by layer, of more a matrix."""
    if len(sides) > 2:
        return {"number": None, "layers": None, "matrix": _matrix(sides, pairs)}
    (pair,) = pairs.values()
    if pair.equal_sets is None or pair.overlap is None:
        return {"number": None, "layers": None, "matrix": None}
    shares = dict(zip(pair.overlap["moe_index"], pair.overlap["set_agreement"], strict=True))
    known = {int(index): float(share) for index, share in shares.items() if share == share}
    tokens = int(pair.overlap["tokens"].max())
    return {
        "number": in_percent(pair.equal_sets),
        "of": f"{counted(tokens, 'token')} in {counted(len(shares), 'MoE layer')}",
        "layers": {
            "cells": [{"index": index} | _cell(known[index], known.values()) for index in known],
            "legend": _legend(list(known.values())),
        },
        "matrix": None,
    }


def _matrix(sides: Sequence[AssessedRun], pairs: Pairs) -> dict[str, Any]:
    shares = {ids: pair.equal_sets for ids, pair in pairs.items()}
    known = [share for share in shares.values() if share is not None]

    def cell(row: int, column: int) -> dict[str, Any] | None:
        if row == column:
            return None
        ids = (min(row, column), max(row, column))
        name = f"{label(ids[0])} and {label(ids[1])}"
        named = {"pair": key(ids), "name": name, "has_loads": pairs[ids].loads is not None}
        share = shares[ids]
        return named | ({"share": None} if share is None else _cell(share, known))

    return {
        "rows": [
            {
                "label": label(row),
                "run_id": side.run["run_id"],
                "name": side.run.get("name"),
                "cells": [cell(row, column) for column in range(len(sides))],
            }
            for row, side in enumerate(sides)
        ],
        "legend": _legend(known),
    }


def key(ids: tuple[int, int]) -> str:
    """Return the name of a pair in the page's data."""
    return f"{ids[0]}-{ids[1]}"


def _cell(share: float, of: Any) -> dict[str, Any]:
    least, most = min(of), max(of)
    place = (share - least) / (most - least) if most > least else 0.0
    return {"share": in_percent(share), "strength": round(STRONGEST * place)}


def _legend(shares: list[float]) -> dict[str, str] | None:
    """Return the ends of the colours; None where there is one number, or none."""
    if not shares or min(shares) == max(shares):
        return None
    return {"least": in_percent(min(shares)), "most": in_percent(max(shares))}
