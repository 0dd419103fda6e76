"""The lineage page: dbt's own, made to open on a path that can be read, with links to a report."""

import json
from pathlib import Path
from typing import Any

import yaml

from gatehouse.flows.console import working
from gatehouse.flows.steps.building.command import Dbt
from gatehouse.flows.steps.machine import share_of_machine
from gatehouse.reports.page.html import ASSETS
from gatehouse.reports.page.packing import script_json
from gatehouse.reports.page.sections.lineage import path_address, sections_of
from gatehouse.reports.results.files import has_page, link, page_of
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import write_atomically
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import DBT_PROJECT, Paths

METRIC = "fct_layer_routing.mean_entropy"
"""What the page opens on by default."""

DATA = "{}.JSON INLINE DATA"
"""What dbt's page has, in quotation marks, in the place of the data that are put into it."""

HIDDEN = frozenset({"test", "unit_test", "analysis"})
"""Kinds of nodes that no path in the graph leads to: what they need is on their own pages."""

EDGES = ("#006f8a", "#8ec7d6")
"""dbt's colour of the graph's edges, which its ground nearly hides, and one that can be seen."""

TITLE = "                            Lineage Graph\\n"
KINDS = {
    "source": "#5fb825",
    "staging": "#6b7785",
    "intermediate": "#8453c4",
    "mart": "#2563eb",
    "figure or page": "#ff694b",
}
"""The colours of nodes: of dbt's page, and of `dbt_project.yml`."""


def write_lineage_page(paths: Paths, metric: str = METRIC) -> Path:
    """Write dbt's documentation of the built warehouse as one HTML file and return it.

    Args:
        paths: of the warehouse.
        metric: a mart, or `mart.column`: the page opens on the path from the events to it.

    Raises:
        GatehouseError: there is no warehouse yet, no such mart or column, or dbt failed.
    """
    if not paths.database.exists():
        raise GatehouseError(f"there is no {paths.database} yet: run `gatehouse build` first")
    table, _, column = metric.partition(".")
    columns = columns_of(table)
    if columns is None or (column and column not in columns):
        raise GatehouseError(
            f'--metric {metric}: there is no such mart or column; `gatehouse sql "show tables"` '
            'lists the marts (dim_*, fct_*), and `gatehouse sql "describe fct_layer_routing"` '
            "the columns of one"
        )
    reading = {"GATEHOUSE_ACCESS": "READ_ONLY"}
    dbt = Dbt(paths.lake, paths.database, paths.dbt_target, share_of_machine(), reading)
    with working("writing the lineage page"):
        dbt.run("docs", "generate")
        text = _page(paths, metric)
        write_atomically(paths.lineage_page, lambda file: file.write_text(text, encoding="utf-8"))
    return paths.lineage_page


def columns_of(mart: str) -> list[str] | None:
    """Return the columns of a mart; None if there is no such mart."""
    for path in sorted((DBT_PROJECT / "models" / "marts").rglob("*.yml")):
        text = path.read_text(encoding="utf-8")
        if f"- name: {mart}\n" in text:
            for model in yaml.safe_load(text)["models"]:
                if model["name"] == mart:
                    return [column["name"] for column in model["columns"]]
    return None


def _page(paths: Paths, metric: str) -> str:
    """Return the page's text, from what `dbt docs generate` has left."""
    page = (paths.dbt_target / "index.html").read_text(encoding="utf-8")
    manifest, catalog = (_read(paths, name) for name in ("manifest", "catalog"))
    _hide(manifest)
    if run_id := latest_report(paths):
        _link_report(manifest, run_id, paths)
    _link_pages(manifest, paths)
    of_events = "source.gatehouse.lake.events" in _ancestors(manifest, metric.partition(".")[0])
    opens_on = script_json(path_address(metric, of_events=of_events))
    script = (ASSETS / "scripts" / "lineage_main.js").read_text(encoding="utf-8")
    page = page.replace(
        "<head>", f"<head><script>const opensOn = {opens_on};\n{script}</script>", 1
    )
    page = page.replace(*EDGES).replace(TITLE, TITLE + _legend(), 1)
    for name, content in (("manifest", manifest), ("catalog", catalog)):
        page = page.replace(f'"{DATA.format(name.upper())}"', script_json(content), 1)
    return page


def latest_report(paths: Paths) -> str | None:
    """Return the run that finished last of those whose report lies in its usual place."""
    finished = {
        run_id: record["finished_at"]
        for run_id, record in Lake(paths.lake).runs().items()
        if record["finished_at"] and has_page(run_id, paths)
    }
    return max(finished, key=lambda run_id: finished[run_id]) if finished else None


def _read(paths: Paths, name: str) -> dict[str, Any]:
    content = json.loads((paths.dbt_target / f"{name}.json").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def _hide(manifest: dict[str, Any]) -> None:
    """Take the edges to tests and analyses out of the graph, which draws the parents of nodes."""
    parents = manifest["parent_map"]
    for node in [node for node in parents if node.partition(".")[0] in HIDDEN]:
        parents[node] = []


def _link_report(manifest: dict[str, Any], run_id: str, paths: Paths) -> None:
    """Link exposures and columns to the sections of a run's report, those that it has."""
    report = page_of(run_id, paths)
    text, address = report.read_text(encoding="utf-8"), link(report, paths.lineage_page)

    def place(section: str | None) -> str | None:
        return f"{address}#{section}" if section and f'id="{section}"' in text else None

    for exposure in manifest["exposures"].values():
        exposure["url"] = place(exposure["meta"].get("section"))
    for node in manifest["nodes"].values():
        sections = sections_of(node["name"]) if node["resource_type"] == "model" else {}
        shown = [
            f"{', '.join(f'`{column}`' for column in columns)} in [{section}]({place(section)})"
            for section, columns in sections.items()
            if place(section)
        ]
        if shown:
            node["description"] += f"\n\n**In the report of {run_id}**: {'; '.join(shown)}."


def _link_pages(manifest: dict[str, Any], paths: Paths) -> None:
    """Link the exposures that are pages of several runs to the last one of each kind."""
    for exposure in manifest["exposures"].values():
        if pattern := exposure["meta"].get("page"):
            pages = (paths.root / "results").glob(pattern)
            last = max(pages, key=lambda page: page.stat().st_mtime, default=None)
            exposure["url"] = link(last, paths.lineage_page) if last else None


def _ancestors(manifest: dict[str, Any], table: str) -> set[str]:
    found: set[str] = set()
    waiting = [f"model.gatehouse.{table}"]
    while waiting:
        parents = set(manifest["parent_map"].get(waiting.pop(), ())) - found
        found |= parents
        waiting += parents
    return found


def _legend() -> str:
    """Return the kinds of nodes as HTML without an apostrophe: it stands in a text of a script."""
    style = "margin-left:1em;padding:.15em .6em;border-radius:.3em;color:#fff;background:"
    return "".join(f'<span style="{style}{colour}">{kind}</span>' for kind, colour in KINDS.items())
