"""The plain-text summary of a run: what was captured, every MoE layer, the top tokens."""

from typing import Any

import pandas as pd

from reports.report_text import RULE, heading

TOP_TOKENS = 10


def summary_text(run: dict[str, Any], layers: pd.DataFrame, frame: pd.DataFrame, layer: int) -> str:
    """Return `analysis_summary.txt`.

    Args:
        run: the row of `dim_run`.
        layers: one row per MoE layer (`queries.layers`).
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


def run_facts(run: dict[str, Any], layers: pd.DataFrame) -> dict[str, str]:
    """Return the facts of the run by name, as text for a reader.

    Args:
        run: the row of `dim_run`.
        layers: one row per MoE layer, with num_experts, top_k and scoring.
    """
    tokens, dropped = run["tokens"], run["dropped_tokens"]
    share = dropped / (tokens + dropped) if tokens + dropped else 0.0
    return {
        "Run": run["run_id"],
        "Model": run["model"],
        "Dataset": run["dataset"],
        "Samples": f"{run['samples']:,}",
        "Tokens": f"{tokens:,}",
        "Dropped tokens": f"{dropped:,} ({share:.1%}) past the maximum length "
        f"of {run['max_length']:,}",
        "Routing events": f"{run['events']:,}",
        "MoE layers": f"{run['moe_layers']:,}",
        "Experts": _distinct(layers["num_experts"]),
        "Top-k": _distinct(layers["top_k"]),
        "Scoring": _distinct(layers["scoring"]),
        "dtype": run["dtype"],
        "Quantization": run["quantization"],
        "Implementations": f"attention {run['attention_implementation']}, "
        f"experts {run['experts_implementation']}",
        "Device": f"{run['device']}, batches of {run['batch_size']:,}",
        "Finished": f"{run['finished_at']:%Y-%m-%d %H:%M} UTC, "
        f"captured in {run['capture_seconds']:,.0f} s",
        "Versions": run["versions"],
    }


def shown(token_str: str) -> str:
    """Return the token as a quoted literal, so that line breaks and spaces can be seen."""
    return repr(token_str)


def _distinct(values: pd.Series) -> str:
    return ", ".join(str(value) for value in values.drop_duplicates())


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
            "token": top["token_str"].map(shown),
            "id": top["token_id"],
            "frequency": top["frequency"].map("{:,}".format),
            "mean entropy": top["mean_entropy"].map("{:.4f}".format),
            "consistency": top["routing_consistency"].map("{:.4f}".format),
            "top expert": top["top_expert"],
        }
    )
    return table.to_string(index=False)
