"""A run's report as one self-contained HTML page: text, data, charts."""

from typing import Any

import pandas as pd

from reports import page_text
from reports.facts import run_facts
from reports.html import Script, rendered, script
from reports.packing import script_json
from reports.page_charts import GROUPS
from reports.page_data import payload
from reports.run_page import Links, RunPage

CORE = ("data.js", "format.js", "state.js", "look.js", "marks.js", "figure.js")
"""What every page's own scripts are made of."""

SCRIPTS = (
    *CORE,
    "layer_bar.js",
    "routing_figures.js",
    "fast_path.js",
    "fast_path_figures.js",
    "published.js",
    "layer_panel.js",
    "overview.js",
    "layer_figures.js",
    "expert_figures.js",
    "text_figures.js",
    "token_table.js",
    "token_detail.js",
    "main.js",
)
"""In the order in which they are joined: each file uses those before it."""


def render(page: RunPage, links: Links) -> str:
    """Return the page as HTML text.

    Args:
        page: the run and what was found of it.
        links: the page's links, and the layer that it shows first.
    """
    indices = [int(index) for index in page.marts.layers["moe_index"]]
    first = indices.index(links.layer) if links.layer in indices else 0
    return rendered(
        "report.html.j2",
        scripts=scripts(SCRIPTS),
        title=f"{page.run['run_id']}: {page.validations[first].verdict}",
        data=script_json(payload(page, links)),
        run=page.run,
        layers=layer_views(page),
        layer=first,
        model=model_view(page),
        facts=run_facts(page.run, page.marts.layers),
        groups=GROUPS,
        thresholds=page.findings,
        limits=page_text.limits(page, first),
        citation=page_text.citation(page.run),
        links=links,
    )


def scripts(names: tuple[str, ...]) -> list[Script]:
    """Return the scripts of a page: the charts' library, then its own files joined."""
    return [script(("echarts.min.js",)), script(tuple(f"page/{name}" for name in names), True)]


def layer_views(page: RunPage) -> list[dict[str, Any]]:
    """Return what the page says about each MoE layer, in order."""
    findings = {int(row["moe_index"]): row for _, row in page.findings.layers.iterrows()}
    views = []
    for place, (row, validation) in enumerate(
        zip(page.marts.layers.to_dict("records"), page.validations, strict=True)
    ):
        index = int(row["moe_index"])
        finding = findings.get(index)
        views.append(
            {
                **{str(name): value for name, value in row.items()},
                "index": index,
                "validation": validation,
                "criteria": page_text.criteria(validation, finding),
                "measures": page_text.measures(validation),
                "held_out_consistency": _held_out(finding),
                "sentence": page.sentences[place] if page.sentences else "",
                "advice": page.advice[place] if page.advice else [],
            }
        )
    return views


def _held_out(finding: pd.Series | None) -> float | None:
    value = None if finding is None else finding["held_out_consistency"]
    return None if pd.isna(value) else float(value)


def model_view(page: RunPage) -> dict[str, Any]:
    """Return what the page says about the model: its layers counted, their average tested."""
    supporting = sum(each.supported for each in page.validations)
    averaged = page.model_validation
    row = page.findings.model.iloc[0] if len(page.findings.model) else None
    return {
        "supporting": supporting,
        "verdict": averaged.verdict if averaged else None,
        "supported": averaged.supported if averaged else None,
        "criteria": page_text.criteria(averaged, row) if averaged else [],
        "sentence": page.model_sentence,
    }
