"""What texts and pages both say of a run: its facts by name, a token as a literal."""

from typing import Any

import pandas as pd

from gatehouse.warehouse.plain_text import repeated
from gatehouse.warehouse.records import precision


def run_facts(run: dict[str, Any], layers: pd.DataFrame) -> dict[str, str]:
    """Return the facts of the run by name, as text for a reader.

    Args:
        run: the row of `dim_run`, the run's name, and what was read of its folder.
        layers: one row per MoE layer, with num_experts, top_k and scoring.
    """
    tokens, dropped = run["tokens"], run["dropped_tokens"]
    share = dropped / (tokens + dropped) if tokens + dropped else 0.0
    named = {"Name": run["name"]} if run.get("name") else {}
    return named | {
        "Run": run["run_id"],
        "Model": run["model"],
        "Dataset": run["dataset"],
        **_files(run),
        "Samples": f"{run['samples']:,}{repeated(run['duplicate_samples'])}",
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


def _files(run: dict[str, Any]) -> dict[str, str]:
    """Return what was read of a folder and what was not, where that is known."""
    named = {"Files opened": run.get("files_opened"), "Files left out": run.get("files_left_out")}
    return {name: text for name, text in named.items() if text}


def run_title(run: dict[str, Any]) -> str:
    """Return what the run is called: its name if it has one, its id, and its precision."""
    named = f"{run['name']}: " if run.get("name") else ""
    return f"{named}{run['run_id']} ({precision(run)})"


def token_literal(token_str: str) -> str:
    """Return the token as a quoted literal, so that line breaks and spaces can be seen."""
    return repr(token_str)


def _distinct(values: pd.Series) -> str:
    return ", ".join(str(value) for value in values.drop_duplicates())
