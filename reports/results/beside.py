"""What lies in a results folder beside the page of its run: files by what they hold, figures."""

from pathlib import Path

HELD = {
    "Verdict": {"text": "validation_report.txt", "JSON": "validation.json"},
    "Summary": {"text": "analysis_summary.txt"},
    "Statistics of tokens": {"Parquet": "routing_stats.parquet", "CSV": "routing_stats.csv"},
}
"""What a run's files hold -> their kinds -> their names."""

EXPORTS = "Exports"
"""All else that is in the folder: what `gatehouse export` and the reader put there."""


def files_beside(folder: Path, page: Path) -> dict[str, dict[str, Path]]:
    """Return the files in a results folder: what they hold, their kind or name, where they are.

    Args:
        folder: of the results; it need not exist.
        page: the page's own file, which is left out.
    """
    there = {path.name: path for path in sorted(folder.glob("*")) if _is_for_readers(path, page)}
    found = {
        what: {kind: there.pop(name) for kind, name in kinds.items() if name in there}
        for what, kinds in HELD.items()
    }
    return {what: kinds for what, kinds in (found | {EXPORTS: there}).items() if kinds}


def layer_figures(folder: Path) -> dict[str, Path]:
    """Return the PNG of each layer's figures, where several layers were asked for, by name."""
    found = sorted(folder.glob("layer-*/figures/*.png"), key=lambda path: (_layer(path), path.stem))
    return {f"layer {_layer(path)}, {path.stem}": path for path in found}


def _layer(png: Path) -> int:
    number = png.parent.parent.name.removeprefix("layer-")
    return int(number) if number.isdecimal() else -1


def _is_for_readers(path: Path, page: Path) -> bool:
    """Return whether a name in a results folder is a file or an export, and not of figures."""
    is_figures = path.name == "figures" or path.name.startswith("layer-")
    is_page = path.name in (page.name, "report.html")
    # what is being written has a name that begins with a dot
    return not (is_figures or is_page or path.name.startswith("."))
