"""What texts and pages both say of a run: its facts by name, a token as a literal."""

from typing import Any

import pandas as pd

from gatehouse.warehouse.plain_text import repeated
from gatehouse.warehouse.records import CAPTURE, precision


def run_facts(run: dict[str, Any], layers: pd.DataFrame) -> dict[str, str]:
    """Return the facts of the run by name, as text for a reader.

    Args:
        run: the row of `dim_run`, the run's name, and what was read of its folder.
        layers: one row per MoE layer, with num_experts, top_k and scoring.
    """
    named = {"Name": run["name"]} if run.get("name") else {}
    return named | {
        "Run": run["run_id"],
        "Model": run["model"],
        "Dataset": run["dataset"],
        **_files(run),
        **_sizes(run),
        "MoE layers": f"{run['moe_layers']:,}",
        "Experts": _distinct(layers["num_experts"]),
        "Top-k": _distinct(layers["top_k"]),
        "Scoring": _distinct(layers["scoring"]),
        **(_computed(run) if is_captured(run) else _imported(run)),
        "Versions": run["versions"],
    }


def _sizes(run: dict[str, Any]) -> dict[str, str]:
    """Return how much was read and routed, where that is known."""
    if run["samples"] is None:
        return {}
    return {
        "Samples": f"{run['samples']:,}{repeated(run['duplicate_samples'])}",
        "Tokens": f"{run['tokens']:,}",
        **(_dropped(run) if is_captured(run) else {}),
        "Routing events": f"{run['events']:,}",
    }


def is_captured(run: dict[str, Any]) -> bool:
    """Return whether this machine ran the model; how a trace was made is mostly unknown."""
    return bool(run["source"] == CAPTURE)


def _dropped(run: dict[str, Any]) -> dict[str, str]:
    tokens, dropped = run["tokens"], run["dropped_tokens"]
    share = dropped / (tokens + dropped) if tokens + dropped else 0.0
    past = f"past the maximum length of {run['max_length']:,}"
    return {"Dropped tokens": f"{dropped:,} ({share:.1%}) {past}"}


def _computed(run: dict[str, Any]) -> dict[str, str]:
    return {
        "dtype": run["dtype"],
        "Quantization": run["quantization"],
        "Implementations": f"attention {run['attention_implementation']}, "
        f"experts {run['experts_implementation']}",
        "Device": f"{run['device']}, batches of {run['batch_size']:,}",
        "Finished": f"{_minute(run)}, captured in {run['capture_seconds']:,.0f} s",
    }


def _imported(run: dict[str, Any]) -> dict[str, str]:
    return {"Source": how_computed(run), "Imported": _minute(run)}


def _minute(run: dict[str, Any]) -> str:
    return f"{run['finished_at']:%Y-%m-%d %H:%M} UTC"


def _files(run: dict[str, Any]) -> dict[str, str]:
    """Return what was read of a folder and what was not, where that is known."""
    named = {"Files opened": run.get("files_opened"), "Files left out": run.get("files_left_out")}
    return {name: text for name, text in named.items() if text}


def run_title(run: dict[str, Any]) -> str:
    """Return what the run is called: its name if it has one, its id, and its precision."""
    named = f"{run['name']}: " if run.get("name") else ""
    return f"{named}{run['run_id']} ({how_computed(run)})"


def how_computed(run: dict[str, Any]) -> str:
    """Return a run's precision, or of what format the trace is that does not tell it."""
    return precision(run) if is_captured(run) else f"{run['source']} trace"


def token_literal(token_str: str) -> str:
    """Return the token as a quoted literal, so that line breaks and spaces can be seen."""
    return repr(token_str)


def _distinct(values: pd.Series) -> str:
    return ", ".join(str(value) for value in values.drop_duplicates())
