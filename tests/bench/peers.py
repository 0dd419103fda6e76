"""The per-token statistics of a lake as other engines compute them, and as the warehouse does.

`python -m tests.bench.peers ENGINE HOME ANSWER` times one engine in a process of its own, prints
`{"seconds": …, "cpu_seconds": …}`, and writes its answer as Parquet. Each engine has the
fastest of the formulations that were tried, which for all of them goes layer by layer, because the
lake keeps a row group for each layer. The result is in memory when the clock stops.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from tests.bench.lake import FEW, RUN_ID, VOCABULARY_SIZE

READ = ["token_id", "top_expert", "entropy", "confidence"]


def gatehouse(files: list[str], layers: list[int]) -> pa.Table:
    """The SQL of `fct_token_routing` as dbt compiled it for a built home, layer by layer."""
    import duckdb

    paths = Paths(Path(files[0]).parents[3])
    compiled = paths.dbt_target / "compiled" / "gatehouse" / "models" / "marts" / "tokens"
    query = (compiled / "fct_token_routing.sql").read_text()
    run_id = Path(files[0]).parent.name.removeprefix("run_id=")
    parts = []
    with duckdb.connect(str(paths.database), read_only=True) as connection:
        # as in the project's profile
        connection.execute(
            f"set threads = {pa.cpu_count()}; set memory_limit = '4GB'; "
            "set parquet_metadata_cache = true"
        )
        for layer in layers:
            connection.execute(f"set variable layer = {int(layer)}")
            answer = connection.sql(query).filter(
                duckdb.ColumnExpression("run_id") == duckdb.ConstantExpression(run_id)
            )
            parts.append(answer.to_arrow_table())
    return pa.concat_tables(parts)


def polars_streaming(files: list[str], layers: list[int]) -> pa.Table:
    """Two-level group by on polars' streaming engine, one branch per layer."""
    import polars as pl

    whole = pl.concat([_polars_layer(files, layer) for layer in layers])
    return whole.collect(engine="streaming").to_arrow()


def _polars_layer(files: list[str], layer: int):
    import polars as pl

    events = pl.scan_parquet(files, hive_partitioning=False).filter(pl.col("layer") == layer)
    entropy, confidence = (pl.col(name).cast(pl.Float64) for name in ("entropy", "confidence"))
    count = pl.len().cast(pl.Int64)
    partials = events.group_by("token_id", "top_expert").agg(
        count.alias("count"),
        # the smallest id of equally frequent experts has the largest key
        (count * 65_536 + 65_535 - pl.col("top_expert").first()).alias("modal_key"),
        entropy.sum().alias("entropy_sum"),
        (entropy * entropy).sum().alias("entropy_squares"),
        entropy.min().alias("min_entropy"),
        entropy.max().alias("max_entropy"),
        confidence.sum().alias("confidence_sum"),
        (confidence * confidence).sum().alias("confidence_squares"),
    )
    merged = partials.group_by("token_id").agg(
        pl.col("count", "^.*_sum$", "^.*_squares$").sum(),
        pl.col("min_entropy").min(),
        pl.col("max_entropy", "modal_key").max(),
    )
    frequency = pl.col("count")

    def moments(name: str) -> list:
        total, squares = pl.col(f"{name}_sum"), pl.col(f"{name}_squares")
        variance = (squares - total * total / frequency) / (frequency - 1)
        return [
            (total / frequency).alias(f"mean_{name}"),
            variance.clip(0).sqrt().alias(f"std_{name}"),
        ]

    return merged.select(
        pl.lit(layer).alias("layer"),
        "token_id",
        frequency.alias("frequency"),
        *moments("entropy"),
        "min_entropy",
        "max_entropy",
        *moments("confidence"),
        (65_535 - pl.col("modal_key") % 65_536).alias("top_expert"),
        (pl.col("modal_key") // 65_536 / frequency).alias("routing_consistency"),
    )


def pandas_groupby(files: list[str], layers: list[int]) -> pa.Table:
    """Group by on a data frame of one layer at a time, to bound memory as far as pandas can."""
    import pandas as pd

    frames = [_pandas_layer(files, layer).assign(layer=layer) for layer in layers]
    return pa.Table.from_pandas(pd.concat(frames, ignore_index=True), preserve_index=False)


def _pandas_layer(files: list[str], layer: int):
    import pandas as pd

    events = pd.read_parquet(
        files, columns=READ, filters=[("layer", "=", layer)], partitioning=None
    ).astype({"entropy": "float64", "confidence": "float64"})
    answer = events.groupby("token_id").agg(
        frequency=("entropy", "size"),
        mean_entropy=("entropy", "mean"),
        std_entropy=("entropy", "std"),
        min_entropy=("entropy", "min"),
        max_entropy=("entropy", "max"),
        mean_confidence=("confidence", "mean"),
        std_confidence=("confidence", "std"),
    )
    counts = events.groupby(["token_id", "top_expert"]).size().rename("modal").reset_index()
    order = counts.sort_values(["token_id", "modal", "top_expert"], ascending=[True, False, True])
    modes = order.drop_duplicates("token_id").set_index("token_id")
    answer = answer.join(modes)
    answer["routing_consistency"] = answer.pop("modal") / answer["frequency"]
    return answer.reset_index()


CLICKHOUSE_LAYER = """
select
    {layer} as layer,
    token_id,
    sum(count) as frequency,
    sum(entropy_sum) / frequency as mean_entropy,
    if(frequency > 1, sqrt(greatest(0,
        (sum(entropy_squares) - pow(sum(entropy_sum), 2) / frequency) / (frequency - 1)
    )), null) as std_entropy,
    min(lowest) as min_entropy,
    max(highest) as max_entropy,
    sum(confidence_sum) / frequency as mean_confidence,
    if(frequency > 1, sqrt(greatest(0,
        (sum(confidence_squares) - pow(sum(confidence_sum), 2) / frequency) / (frequency - 1)
    )), null) as std_confidence,
    argMax(top_expert, count * 65536 + 65535 - top_expert) as top_expert,
    max(count) / frequency as routing_consistency
from (
    select
        token_id,
        top_expert,
        count() as count,
        sum(toFloat64(entropy)) as entropy_sum,
        sum(toFloat64(entropy) * entropy) as entropy_squares,
        min(entropy) as lowest,
        max(entropy) as highest,
        sum(toFloat64(confidence)) as confidence_sum,
        sum(toFloat64(confidence) * confidence) as confidence_squares
    from file('{folder}/shard-*.parquet', Parquet)
    where layer = {layer}
    group by token_id, top_expert
)
group by token_id
"""


def clickhouse(files: list[str], layers: list[int]) -> pa.Table:
    """Two-level group by in ClickHouse (chDB), one branch per layer."""
    import chdb

    folder = str(Path(files[0]).parent).replace("\\", "\\\\").replace("'", "\\'")
    branches = [CLICKHOUSE_LAYER.format(layer=layer, folder=folder) for layer in layers]
    query = f"{' union all '.join(branches)} settings max_threads = {pa.cpu_count()}"
    return chdb.query(query, "ArrowTable")


def numpy_floor(files: list[str], layers: list[int]) -> pa.Table:
    """Counts, sums and sums of squares by `bincount`; no minimum, no maximum: the least work."""
    tokens, experts = VOCABULARY_SIZE, FEW.num_experts
    counts = {layer: np.zeros(tokens * experts, np.int64) for layer in layers}
    sums = {layer: np.zeros((4, tokens)) for layer in layers}
    for path in files:
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=["layer", *READ])
            layer = table["layer"][0].as_py()  # a row group has one layer
            token, expert, *values = (table[name].to_numpy() for name in READ)
            key = token.astype(np.int64) * experts + expert
            counts[layer] += np.bincount(key, minlength=tokens * experts)
            for row, value in enumerate(value.astype(np.float64) for value in values):
                sums[layer][row] += np.bincount(token, value, tokens)
                sums[layer][row + 2] += np.bincount(token, value * value, tokens)
    parts = [
        _numpy_layer(layer, counts[layer].reshape(tokens, experts), sums[layer]) for layer in layers
    ]
    return pa.concat_tables(parts)


def _numpy_layer(layer: int, counts: np.ndarray, sums: np.ndarray) -> pa.Table:
    frequency = counts.sum(axis=1)
    token_ids = np.flatnonzero(frequency)
    counts, sums, frequency = counts[token_ids], sums[:, token_ids], frequency[token_ids]
    means = sums[:2] / frequency
    squares = np.maximum(sums[2:] - sums[:2] * means, 0)
    with np.errstate(invalid="ignore"):
        deviations = np.sqrt(squares / (frequency - 1))
    return pa.table(
        {
            "layer": np.full(len(token_ids), layer),
            "token_id": token_ids,
            "frequency": frequency,
            "mean_entropy": means[0],
            "std_entropy": deviations[0],
            "mean_confidence": means[1],
            "std_confidence": deviations[1],
            "top_expert": counts.argmax(axis=1),
            "routing_consistency": counts.max(axis=1) / frequency,
        }
    )


OURS, FLOOR = "Gatehouse", "numpy floor"
ENGINES: dict[str, Callable[[list[str], list[int]], pa.Table]] = {
    OURS: gatehouse,
    "polars": polars_streaming,
    "pandas": pandas_groupby,
    "ClickHouse": clickhouse,
    FLOOR: numpy_floor,
}
PACKAGES = {
    OURS: "duckdb",
    "polars": "polars",
    "pandas": "pandas",
    "ClickHouse": "chdb",
    FLOOR: "numpy",
}


def answer(engine: str, lake: Lake, run_id: str) -> pa.Table:
    """Return an engine's statistics of a run, one row per layer and token."""
    folder = lake.root / "events" / f"run_id={run_id}"
    files = sorted(str(path) for path in folder.glob("shard-*.parquet"))
    return ENGINES[engine](files, lake.layers(run_id)["layer"].to_pylist())


def main(engine: str, home: str, path: str) -> None:
    """Time one engine on the cores that it is given; print the seconds, write the answer."""
    importlib.import_module(PACKAGES[engine])
    started, cpu_started = time.perf_counter(), time.process_time()
    found = answer(engine, Lake(Path(home) / "lake"), RUN_ID)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds}))
    pq.write_table(found, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
