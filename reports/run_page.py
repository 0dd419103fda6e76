"""The nouns of the HTML pages: what a run's page says, and what it links to."""

from dataclasses import dataclass, field
from typing import Any

from reports.analysis import Findings, Marts
from reports.hypothesis import Validation


@dataclass(frozen=True)
class RunPage:
    """One run, as its page and its comparisons need it.

    `run` is the row of `dim_run`; `validations` has one per MoE layer in the order of moe_index;
    `model_validation` is that of the token values averaged over the layers. `sentences` says
    for each layer how strong the evidence is, `model_sentence` for the model; `advice` has the
    lines on what to do where a layer's evidence is insufficient. Both lists may be empty.
    """

    run: dict[str, Any]
    marts: Marts
    findings: Findings
    validations: list[Validation]
    model_validation: Validation | None = None
    sentences: list[str] = field(default_factory=list)
    model_sentence: str = ""
    advice: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True)
class Links:
    """The page's links, as relative paths or URLs, and the layer that it shows first.

    `figures` maps the stem of a print figure to its file; it may be empty.
    """

    lineage: str | None = None
    figures: dict[str, str] = field(default_factory=dict)
    layer: int = 0
