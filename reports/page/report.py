"""A run's report as one self-contained HTML page: text, data, charts."""

from typing import Any

import pandas as pd

from gatehouse.reports.marts.facts import how_computed, run_title
from gatehouse.reports.marts.texts import Texts
from gatehouse.reports.page import charts, replay, text
from gatehouse.reports.page.html import Script, rendered, script
from gatehouse.reports.page.inference_charts import ADVISED
from gatehouse.reports.page.packing import script_json
from gatehouse.reports.page.passages import colourings, with_texts
from gatehouse.reports.page.payload import Links, payload
from gatehouse.reports.page.sections.cards import CARDS
from gatehouse.reports.page.sections.lineage import origins
from gatehouse.reports.verdict.findings import AssessedRun
from gatehouse.reports.verdict.model_verdict import ModelVerdict

CORE = tuple(f"core/{name}.js" for name in ("data", "format", "state", "look", "marks", "figure"))
"""What every page's own scripts are made of."""

SCRIPTS = (
    *CORE,
    "controls/layer_bar.js",
    "charts/passages.js",
    "charts/routing.js",
    "controls/sliders.js",
    "charts/fast_path.js",
    "charts/replay.js",
    "charts/published.js",
    "controls/layer_panel.js",
    "charts/overview.js",
    "charts/layers.js",
    "charts/experts.js",
    "charts/cards.js",
    "charts/caches.js",
    "charts/placement.js",
    "charts/needed_experts.js",
    "charts/text.js",
    "controls/token_table.js",
    "controls/token_detail.js",
    "main.js",
)
"""In the order in which they are joined: a file uses what stands before it."""


def render(
    assessed: AssessedRun, links: Links, texts: Texts | None = None, focus: str | None = None
) -> str:
    """Return the page as HTML text.

    Args:
        assessed: the run, all of its MoE layers.
        links: the page's links, and the layer that it shows first.
        texts: passages of the run's texts, of a run with events and token ids; None: the page
            has no section on them.
        focus: the part that comes first, by its stem in `charts.PARTS`; default: their order.
    """
    run, layers = assessed.run, assessed.marts.layers
    indices = [int(index) for index in layers["moe_index"]]
    first = indices.index(links.layer) if links.layer in indices else 0
    found = assessed.layers[first].validation.verdict if assessed.layers else "routing"
    content = payload(assessed, links, texts)
    parts = with_texts(charts.shown(assessed.untold, focus), content)
    advised = (*ADVISED, replay.COST.stem, CARDS.stem)
    return rendered(
        "report.html.j2",
        scripts=scripts(SCRIPTS),
        title=f"{run_title(run)}: {found}",
        data=script_json(content),
        run=run,
        precision=how_computed(run),
        layers=layer_views(assessed) if assessed.layers else untested_layers(layers),
        untold=assessed.untold,
        absent=text.absent(assessed, charts.left_out(assessed.untold)),
        layer=first,
        model=model_view(assessed),
        scope=text.scope(assessed),
        routing=text.routing(assessed),
        facts=text.facts(assessed),
        parts=replay.with_replays(parts, assessed),
        passages=content.get("text"),
        colourings=colourings(content["text"]) if "text" in content else [],
        advice={stem: content[stem]["advice"] for stem in advised if stem in content},
        policies=replay.policy_rows(assessed),
        could_be_replayed=replay.could_be_replayed(assessed),
        thresholds=assessed.findings.thresholds,
        limits=text.limits(assessed, first)
        if assessed.layers
        else text.untested_limits(assessed.untold),
        citation=text.citation(run),
        links=links,
        origins=origins(links.lineage),
    )


def scripts(names: tuple[str, ...]) -> list[Script]:
    """Return the scripts of a page: the charts' library, then its own files joined."""
    return [script(("echarts.min.js",)), script(tuple(f"scripts/{name}" for name in names), True)]


def layer_views(assessed: AssessedRun) -> list[dict[str, Any]]:
    """Return what the page says about each MoE layer, in order."""
    rows = assessed.marts.layers.to_dict("records")
    findings = [finding for _, finding in assessed.findings.layers.iterrows()]
    return [
        {
            **{str(name): value for name, value in row.items()},
            "index": each.layer,
            "validation": each.validation,
            "criteria": text.criteria(each.validation, finding),
            "measures": text.measures(each.validation),
            "held_out_consistency": _held_out(finding),
            "sentence": each.strength,
            "advice": each.advice,
        }
        for row, each, finding in zip(rows, assessed.layers, findings, strict=True)
    ]


def untested_layers(layers: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what the page says about each MoE layer of a run without a verdict, in order."""
    return [
        {**{str(name): value for name, value in row.items()}, "index": int(row["moe_index"])}
        for row in layers.to_dict("records")
    ]


def _held_out(finding: pd.Series) -> float | None:
    value = finding["held_out_consistency"]
    return None if pd.isna(value) else float(value)


def _gist(verdict: ModelVerdict) -> str:
    layers = len(verdict.supporting)
    if layers == 1:
        return verdict.sentence
    return f"{sum(verdict.supporting)} of {layers} MoE layers meet all three criteria."


def model_view(assessed: AssessedRun) -> dict[str, Any] | None:
    """Return what the page says about the model: its layers counted, their average described.

    None where nothing could be tested.
    """
    if not assessed.layers:
        return None
    average = assessed.average
    return {
        "verdict": assessed.verdict.verdict,
        "supported": assessed.verdict.supported,
        "sentence": assessed.verdict.sentence,
        "gist": _gist(assessed.verdict),
        "average": text.criteria(average.validation, assessed.findings.average.iloc[0])
        if average
        else [],
        "no_average": None if average else assessed.no_average,
    }
