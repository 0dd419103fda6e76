"""A run as a data set of Hugging Face: a folder of Parquet files with a card."""

from pathlib import Path
from typing import Any

import duckdb
import yaml

from gatehouse.reports.exports.events import no_events, write_rows
from gatehouse.reports.marts.runs import run_summary
from gatehouse.warehouse.plain_text import printable

SPLITS = ("train", "validation", "test")

BY_SPLIT = {
    "events": """
        select events.* exclude (run_id)
        from events
        inner join dim_sample as samples
            on events.run_id = samples.run_id and events.sample_id = samples.sample_id
        where events.run_id = $1 and samples.split = $2
        order by events.sample_id, events.position, events.layer
    """,
    "samples": """
        select * exclude (run_id)
        from dim_sample
        where run_id = $1 and split = $2
        order by sample_id
    """,
}
"""Configuration -> the rows of one split of a run."""

WHOLE = {
    "layers": "select * exclude (run_id) from dim_layer where run_id = $1 order by moe_index",
    "vocabulary": "select * exclude (run_id) from vocabulary where run_id = $1 order by token_id",
}
"""Configuration -> the rows of a run, which have no split."""

MEANS = {
    "events": "a token at an MoE layer: what the router decided",
    "samples": "a sample: its document, its split and its number of tokens; no text",
    "layers": "an MoE layer: its block, experts E and k",
    "vocabulary": "a token of the tokenizer",
}

CARD = """# Routing of {model}

How the Mixture-of-Experts routers of {model} routed {tokens:,} tokens of {dataset}: {events:,}
routing decisions in {layers:,} MoE layers. It was exported from the Gatehouse run `{run_id}`.

```python
from datasets import load_dataset

events = load_dataset("path/to/this/folder", "events", split="train")
```

| configuration | rows | a row is |
|---|---|---|
{table}

`experts` of an event are the ids of the chosen experts, the one with the largest weight first if
`ranked` of the layer says so, `weights` what the model multiplied their outputs by (0: the expert
did not run), `entropy` that of the router's distribution in nats, `confidence` its largest
probability. What the run's source did not tell is null. Samples are in the splits of their
documents; layers and vocabulary, which have no splits, are under `train`.
"""


def write_data_set(connection: duckdb.DuckDBPyConnection, run_id: str, target: Path) -> None:
    """Write a folder that `datasets.load_dataset(folder, configuration)` reads, with its card.

    Events and samples have the splits that have rows; a batch of rows is in memory at a time.

    Args:
        connection: a session over the marts.
        run_id: a finished run.
        target: the folder to make.

    Raises:
        GatehouseError: the run has no events, only counts of experts.
    """
    target.mkdir()
    rows: dict[str, dict[str, int]] = {}
    for name, query in BY_SPLIT.items():
        rows[name] = {}
        for split in SPLITS:
            rows[name] |= _written(connection, query, [run_id, split], target / name, split)
        if not rows[name]:
            raise no_events(run_id)
    for name, query in WHOLE.items():
        rows[name] = _written(connection, query, [run_id], target / name, "train")
    found = {name: splits for name, splits in rows.items() if splits}
    card = _card(run_summary(connection, run_id), found)
    (target / "README.md").write_text(card, encoding="utf-8")


def _written(
    connection: duckdb.DuckDBPyConnection, query: str, values: list[Any], folder: Path, split: str
) -> dict[str, int]:
    """Write a split of a configuration; return it with its rows, or nothing if it has none."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{split}.parquet"
    if rows := write_rows(connection, query, values, path):
        return {split: rows}
    path.unlink()
    return {}


def _card(run: dict[str, Any], rows: dict[str, dict[str, int]]) -> str:
    configurations = [
        {
            "config_name": name,
            "data_files": [{"split": split, "path": f"{name}/{split}.parquet"} for split in splits],
            **({"default": True} if name == "events" else {}),
        }
        for name, splits in rows.items()
    ]
    header = {"tags": ["mixture-of-experts", "routing"], "configs": configurations}
    table = "\n".join(
        f"| `{name}` | {sum(splits.values()):,} | {MEANS[name]} |" for name, splits in rows.items()
    )
    text = CARD.format(
        model=printable(str(run["model"])),
        dataset=printable(str(run["dataset"])),
        run_id=run["run_id"],
        tokens=run["tokens"],
        events=run["events"],
        layers=run["moe_layers"],
        table=table,
    )
    return f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n\n{text}"
