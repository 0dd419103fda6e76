"""The plain-text summary of a run: what was captured, every MoE layer, the top tokens."""

from typing import Any

import pandas as pd

from gatehouse.reports.marts.facts import run_facts, token_literal
from gatehouse.reports.results.report_text import RULE, heading

TOP_TOKENS = 10


def summary_text(run: dict[str, Any], layers: pd.DataFrame, frame: pd.DataFrame, layer: int) -> str:
    """Return `analysis_summary.txt`.

    Args:
        run: the row of `dim_run`.
        layers: one row per MoE layer (`reports.marts.layers`).
        frame: the per-token statistics of one of them, the most frequent token first.
        layer: its index among the MoE layers.
    """
    facts = run_facts(run, layers)
    blocks = [
        heading("Routing analysis summary"),
        [f"{name + ':':<18}{value}" for name, value in facts.items()],
        ["Per MoE layer (entropy in nats; normalised = mean entropy / ln experts)", RULE],
        [_layer_table(layers)],
        [f"Top {TOP_TOKENS} tokens, MoE layer {layer}", RULE],
        [_token_table(frame.head(TOP_TOKENS))],
    ]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _layer_table(layers: pd.DataFrame) -> str:
    table = pd.DataFrame(
        {
            "layer": layers["moe_index"],
            "block": layers["block"],
            "mean entropy": layers["mean_entropy"].map("{:.4f}".format),
            "normalised": layers["normalised_entropy"].map("{:.4f}".format),
            "confidence": layers["mean_confidence"].map("{:.4f}".format),
            "consistency": layers["routing_consistency"].map("{:.4f}".format),
            "token types": layers["token_types"].map("{:,}".format),
        }
    )
    return table.to_string(index=False)


def _token_table(top: pd.DataFrame) -> str:
    table = pd.DataFrame(
        {
            "token": top["token_str"].map(token_literal),
            "id": top["token_id"],
            "frequency": top["frequency"].map("{:,}".format),
            "mean entropy": top["mean_entropy"].map("{:.4f}".format),
            "consistency": top["routing_consistency"].map("{:.4f}".format),
            "top expert": top["top_expert"],
        }
    )
    return table.to_string(index=False)
