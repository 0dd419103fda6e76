"""What a warehouse holds, by content and without times; and how two warehouses differ."""

import hashlib
import json
import re
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from gatehouse.warehouse.paths import Paths
from tests.chaos.rows import Rows

TIMINGS = {
    "started_at",
    "finished_at",
    "capture_seconds",
    "seconds",
    "landed_at",
}
BATCHING = {"batch_size", "device", "events_bytes", "events_sha256"}
"""What depends on the batches and threads of a run: only these may differ with them."""

LAKE_TABLES = ("runs", "layers", "vocabulary", "shards", "counts", "replays", "samples", "events")
OF_OTHER_BATCHES = 1e-5
"""How far floats may be apart where the batches were different, in nats for entropies; for values
above 1, such as sums, as a fraction of the value."""

ROUNDING_OF_WEIGHTS = 2.0**-11
"""The step of float16 below 1: a weight near the middle of two steps may be rounded to either."""

OF_SUMS = 1e-12
"""How far floats of marts and results may be apart: DuckDB's threads sum in no fixed order, so that
two builds over one lake differ in the last bit. Floats of the lake are equal bit for bit."""

KEY = ("run_id", "sample_id", "position", "layer")


@dataclass(frozen=True)
class Contents:
    """Every table of a warehouse, the keys of its events, and the names of its files."""

    tables: dict[str, Rows]
    events: list[tuple[Any, ...]]
    files: frozenset[str]

    @property
    def without_pictures(self) -> "Contents":
        """All but the names of the figures."""
        files = (name for name in self.files if not name.endswith((".png", ".pdf")))
        return Contents(self.tables, self.events, frozenset(files))

    def without(self, folder: str) -> "Contents":
        """All but the names of a folder of the home and of what is in it."""
        files = (name for name in self.files if name.partition("/")[0] != folder)
        return Contents(self.tables, self.events, frozenset(files))


@dataclass(frozen=True)
class Difference:
    """How a warehouse differs from another: events lost and doubled, tables and files that differ.

    `left_over` are files that the other does not have. `apart` is the largest distance between two
    floats within their tolerance, without weights.
    """

    lost: int = 0
    doubled: int = 0
    left_over: int = 0
    differing: list[str] = field(default_factory=list)
    apart: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.differing)


def contents(home: Path, *, other_batches: bool = False) -> Contents:
    """Read a warehouse: every file of the lake and of prepared text, every mart, every result.

    Args:
        home: the warehouse's folder.
        other_batches: leave out what follows from the batches, and the order of an event's
            experts, which rounding may change where two weights are nearly equal.
    """
    paths = Paths(home)
    without = TIMINGS | (BATCHING if other_batches else set())
    lake = {name: _lake_table(paths.lake / name) for name in LAKE_TABLES}
    events = lake["events"]
    keys = list(zip(*(events[name].to_pylist() for name in KEY)))
    if other_batches:
        place = events.schema.get_field_index("experts")
        sets = pa.array([sorted(each) for each in events["experts"].to_pylist()])
        lake["events"] = events.set_column(place, "experts", sets)
    tables = {f"lake {name}": Rows.of(table, without) for name, table in lake.items()}
    if paths.database.exists():
        with closing(duckdb.connect(str(paths.database), read_only=True)) as connection:
            for name in _marts(connection):
                tables[name] = Rows.of(connection.table(name).to_arrow_table(), without)
    for path in sorted(paths.prepared.rglob("*.parquet")):
        name = str(path.relative_to(paths.root))
        tables[name] = Rows.of(pq.read_table(path, partitioning=None), without)
    for path in sorted((paths.root / "results").rglob("*")):
        if path.is_file():
            tables |= _result(path, str(path.relative_to(paths.root)), without, other_batches)
    return Contents(tables, keys, _files(home))


def compare(reference: Contents, found: Contents, *, other_batches: bool = False) -> Difference:
    """Return how `found` differs from `reference`, both read with the same `other_batches`."""
    distinct = set(found.events)
    names = reference.tables.keys() | found.tables.keys()
    differing, apart = sorted(reference.files ^ found.files), 0.0
    for name in sorted(names):
        if not (name in reference.tables and name in found.tables):
            differing.append(name)
            continue
        for column, distance in reference.tables[name].distances(found.tables[name]).items():
            if distance > _tolerance(name, column, other_batches):
                differing.append(f"{name}, {column} by {distance:.2g}")
            elif column != "weights":
                apart = max(apart, distance)
    return Difference(
        lost=len(set(reference.events) - distinct),
        doubled=len(found.events) - len(distinct),
        left_over=len(found.files - reference.files),
        differing=differing,
        apart=apart,
    )


def _tolerance(table: str, column: str, other_batches: bool) -> float:
    if other_batches:
        return ROUNDING_OF_WEIGHTS if column == "weights" else OF_OTHER_BATCHES
    return 0.0 if table.startswith("lake ") else OF_SUMS


def _lake_table(folder: Path) -> pa.Table:
    """Return all files of a table, with the run; no rows and columns where there are none."""
    tables = []
    for path in sorted(folder.rglob("*.parquet")):
        table = pq.read_table(path, partitioning=None)
        run_id = pa.array([path.parent.name.removeprefix("run_id=")] * table.num_rows, pa.string())
        tables.append(table.append_column("run_id", run_id))
    return pa.concat_tables(tables) if tables else pa.table({})


def _marts(connection: duckdb.DuckDBPyConnection) -> list[str]:
    listed = (
        "select table_name from duckdb_tables() where regexp_matches(table_name, '^(fct|dim)_')"
    )
    return sorted(name for (name,) in connection.execute(listed).fetchall())


def _result(path: Path, name: str, without: set[str], other_batches: bool) -> dict[str, Rows]:
    """Return a file of results as tables; none for the page, whose data are the others'."""
    if path.name == "validation.json":
        return {name: _rows_of_json(json.loads(path.read_text()), without)}
    if path.suffix == ".parquet":
        return {name: Rows.of(pq.read_table(path, partitioning=None), without)}
    if path.suffix == ".csv":
        dialect = pa_csv.ParseOptions(newlines_in_values=True)
        return {name: Rows.of(pa_csv.read_csv(path, parse_options=dialect), without)}
    # only names for pictures and the page, which show the others' data; texts have no tolerance
    if path.suffix != ".txt" or other_batches:
        return {}
    kept = re.sub(rb"(?m)^Finished: .*$", b"", path.read_bytes())
    return {name: Rows(1, hashlib.sha256(kept).hexdigest(), {})}


def _rows_of_json(document: Any, without: set[str]) -> Rows:
    """Take a JSON document as a table of places, exact values, and floats."""
    places: list[str] = []
    exact: list[str] = []
    numbers: list[float] = []

    def walk(value: Any, place: str) -> None:
        if isinstance(value, dict):
            for key in value.keys() - without:
                walk(value[key], f"{place}.{key}")
        elif isinstance(value, list):
            for index, each in enumerate(value):
                walk(each, f"{place}[{index}]")
        else:
            is_float = isinstance(value, float)
            places.append(place)
            exact.append("float" if is_float else repr(value))
            numbers.append(value if is_float else 0.0)

    walk(document, "")
    return Rows.of(pa.table({"place": places, "exact": exact, "number": numbers}), set())


def _files(home: Path) -> frozenset[str]:
    """Return the names of all files but those that dbt, Prefect and `verify` keep for themselves.

    What `verify` remembers may be deleted at any time, and is there once it has read a whole run.
    """
    names = (path.relative_to(home) for path in home.rglob("*") if path.name != "dbt")
    kept = ("dbt", "prefect", "remembered")
    return frozenset(str(name) for name in names if name.parts[0] not in kept)
