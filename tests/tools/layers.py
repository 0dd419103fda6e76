"""`python -m tests.tools.layers`: the rooms of reports/ and flows/, their layers and imports.

A room is a folder of the package, or a file that lies in it alone. Modules and rooms are one layer
above the highest of their kind that they import.
"""

import ast
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
Graph = dict[str, set[str]]


def modules(package: str) -> Graph:
    """Return each module of a package by its dotted name, with those of the package it imports."""
    known = {_dotted(path): path for path in sorted((CHECKOUT / package).rglob("*.py"))}
    return {name: _imported(path, known.keys()) - {name} for name, path in known.items()}


def rooms(package: str) -> Graph:
    """Return each room of a package with the rooms that it imports."""
    found: Graph = defaultdict(set)
    for name, imports in modules(package).items():
        if room := _room(name):
            found[room] |= {_room(each) for each in imports} - {room, ""}
    return dict(found)


def layers(graph: Graph) -> dict[str, int]:
    """Return the layer of each node, 1 for one that imports none.

    Raises:
        ValueError: nodes import each other.
    """
    found: dict[str, int] = {}
    while rest := {name for name in graph if name not in found}:
        ready = {name for name in rest if graph[name] <= found.keys()}
        if not ready:
            raise ValueError(f"these import each other: {sorted(rest)}")
        found |= {name: 1 + max((found[each] for each in graph[name]), default=0) for name in ready}
    return found


def _dotted(path: Path) -> str:
    parts = path.relative_to(CHECKOUT).with_suffix("").parts
    return ".".join(("gatehouse", *parts)).removesuffix(".__init__")


def _room(name: str) -> str:
    """Return the room of a module: the name after its package, nothing for the package itself."""
    return [*name.split("."), "", ""][2]


def _imported(path: Path, known: Collection[str]) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                names.add(inner if inner in known else node.module)
    return {name for name in names if name in known}


if __name__ == "__main__":
    for package in ("reports", "flows"):
        graph, inner = rooms(package), modules(package)
        print(
            f"{package}: {len(inner)} modules on {max(layers(inner).values())} layers, "
            f"{len(graph)} rooms on {max(layers(graph).values())} layers, "
            f"{sum(map(len, graph.values()))} imports between rooms"
        )
        for room, layer in sorted(layers(graph).items(), key=lambda each: each[::-1]):
            print(f"  {layer}  {room:<16} {', '.join(sorted(graph[room]))}")
