"""The licences of everything that Gatehouse installs or carries, as docs/licences.md lists them.

    python -m tests.licences

writes the file from the metadata of the installed packages, which `make licences` installs.
"""

import json
import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
TARGET = CHECKOUT / "docs" / "licences.md"
COPYLEFT = re.compile(r"GPL|General Public|MPL|Mozilla|EPL|Eclipse|EUPL|CDDL", re.IGNORECASE)
LONGEST = 60
"""Characters of a licence's name: what is longer is the licence itself."""

HEAD = """# Licences

Gatehouse is under Apache-2.0. These are the licences of what it carries and of every package in
`constraints.txt`, as each package states its own. Made by `make licences`. A CUDA build of torch
brings NVIDIA's packages besides, under NVIDIA's terms.

## Carried in this repository

| what | version | licence |
|---|---|---|
"""


def main() -> int:
    """Write docs/licences.md; return 1 where a pinned package is not installed."""
    found, missing = [], []
    for name, version in pins():
        try:
            found.append((name, version, licence(distribution(name))))
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        print(f"not installed: {', '.join(missing)}", file=sys.stderr)
        return 1
    TARGET.write_text(document(found), encoding="utf-8")
    return 0


def pins() -> list[tuple[str, str]]:
    """Return name and version of every package in constraints.txt."""
    lines = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("==") for line in lines if line and not line.startswith("#")]
    return [(name, version) for name, _, version in pairs]


def licence(package: Distribution) -> str:
    """Return a package's licence: its SPDX expression, its classifiers, or its own words."""
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classifiers = metadata.get_all("Classifier") or []
    names = [each.split(" :: ")[-1] for each in classifiers if each.startswith("License ::")]
    words = (metadata.get("License") or "").strip()
    own = [words] if words and len(words) <= LONGEST and "\n" not in words else []
    return " or ".join(names) or "".join(own) or "not stated"


def document(found: list[tuple[str, str, str]]) -> str:
    """Return docs/licences.md for (package, version, licence)."""
    vendored = json.loads((CHECKOUT / "reports" / "assets" / "vendored.json").read_text())
    echarts = vendored["echarts.min.js"]
    carried = [
        ("[Apache ECharts](../reports/assets/echarts.NOTICE)", echarts["version"], "Apache-2.0"),
        ("d3, in Apache ECharts", "", "[BSD-3-Clause](../reports/assets/echarts.LICENSE-d3)"),
        ("[the bundled model](../models/demo/README.md)", "", "Apache-2.0"),
    ]
    copyleft = [name for name, _, words in found if COPYLEFT.search(words)]
    return (
        f"{HEAD}{_rows(carried)}\n## Packages\n\n{_sentence(copyleft)}\n\n"
        f"| package | version | licence |\n|---|---|---|\n{_rows(found)}"
    )


def _sentence(copyleft: list[str]) -> str:
    if not copyleft:
        return "None is under a copyleft licence."
    return (
        "Under a copyleft licence, or under several of which one is copyleft:\n"
        f"{', '.join(copyleft)}. They are used\nas packages of their own, as they are: nothing of "
        "them is changed or copied here."
    )


def _rows(rows: list[tuple[str, str, str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
