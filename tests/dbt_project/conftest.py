"""dbt run in this process over a small random lake, and what the lake holds, read without SQL.

The lake's run `unfinished` is still being captured.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from gatehouse.flows.steps.dbt_runs import run_dbt
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import DBT_PROJECT
from tests.dbt_project.random_lake import land
from tests.dbt_project.random_replays import land_all_replays
from tests.dbt_project.random_runs import PARTLY_TOLD, RUNS_TO_LAND, TOLD, RandomRun
from tests.older_lake import SCHEMAS, read_today

FINISHED = sorted(run.run_id for run in RUNS_TO_LAND if run.finished and not run.only_counts)
"""The finished runs that have events."""

COUNTED = sorted(run.run_id for run in RUNS_TO_LAND if run.only_counts)
"""The others, of which test_counts.py says what the marts hold."""

MARTS = {path.stem for path in (DBT_PROJECT / "models" / "marts").rglob("*.sql")}
"""The names of all marts."""

AssertMart = Callable[[str, list[str], pd.DataFrame], None]


@dataclass(frozen=True)
class Project:
    """The dbt project at `folder` over the lake and database of `home`."""

    home: Path
    folder: Path = DBT_PROJECT

    @property
    def lake(self) -> Lake:
        return Lake(self.home / "lake")

    @property
    def database(self) -> Path:
        return self.home / "gatehouse.duckdb"

    @property
    def target(self) -> Path:
        return self.home / "dbt"

    def dbt(self, *command: str) -> Any:
        """Run one dbt command and return dbt's own result object."""
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("GATEHOUSE_LAKE", str(self.lake.root))
            environment.setenv("GATEHOUSE_DATABASE", str(self.database))
            return run_dbt(command, self.target, self.folder)


@dataclass(frozen=True)
class LayerEvents:
    """The events of a run's layer as arrays, one row per event; lists are [events, k].

    Unknown numbers are NaN, unknown token ids -1; experts that are not ranked have no first choice.
    """

    run_id: str
    layer: int
    moe_index: int
    stack: str
    num_experts: int
    top_k: int
    max_length: int
    has_weights: bool
    ranked: bool
    has_token_ids: bool
    has_output_norms: bool
    sample_id: np.ndarray
    position: np.ndarray
    token_id: np.ndarray
    domain: np.ndarray
    split: np.ndarray
    experts: np.ndarray
    weights: np.ndarray
    norms: np.ndarray
    entropy: np.ndarray
    confidence: np.ndarray
    phase: np.ndarray

    @property
    def keys(self) -> dict[str, Any]:
        return {"run_id": self.run_id, "layer": self.layer, "moe_index": self.moe_index}

    def where(self, mask: np.ndarray) -> "LayerEvents":
        """Return the events of a mask over events."""
        arrays = {name: value for name, value in vars(self).items() if np.ndim(value)}
        return replace(self, **{name: value[mask] for name, value in arrays.items()})

    def selected(self) -> np.ndarray:
        """Return [events, E] of 1 where the event names the expert, else 0."""
        one_hot = np.zeros((len(self.experts), self.num_experts), dtype=np.int64)
        np.put_along_axis(one_hot, self.experts, 1, axis=1)
        return one_hot

    def load(self) -> np.ndarray:
        """Return [E]: how often each expert was selected and computed."""
        computed = self.experts[self.weights != 0]  # NaN too: what is not known to be dropped
        return np.bincount(computed, minlength=self.num_experts)


@pytest.fixture(scope="session")
def make_project() -> type[Project]:
    """`make_project(home)`: the dbt project over the lake in `home`."""
    return Project


@pytest.fixture(scope="session")
def random_run() -> Callable[[Lake, str], None]:
    """`random_run(lake, run_id)`: land a finished run of one shard, top-1 of 4 experts."""

    def random_run(lake: Lake, run_id: str) -> None:
        land(lake, RandomRun(run_id, num_experts=4, top_k=1, blocks=(0, 1)))

    return random_run


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project, built and tested over the random lake while a capture is going on."""
    project = Project(tmp_path_factory.mktemp("it's a $home"))
    for run in RUNS_TO_LAND:
        land(project.lake, run)
    land_all_replays(project.lake, alike=[TOLD.run_id, *PARTLY_TOLD])
    events = project.lake.root / "events" / "run_id=unfinished"
    (events / "shard-00001.parquet").unlink()  # its samples have landed, its events not yet
    (events / f".shard-00001.parquet.{os.getpid()}.tmp").write_bytes(b"half a file")
    before = set(DBT_PROJECT.rglob("*"))
    outcome = project.dbt("build")
    assert set(DBT_PROJECT.rglob("*")) == before, "dbt wrote into the checkout"
    wrong = [
        (node.node.name, node.message)
        for node in (outcome.result or [])
        if node.status in ("error", "fail", "runtime error")
    ]
    assert outcome.success, (outcome.exception, wrong)
    return project


@pytest.fixture(scope="module")
def connection(built: Project) -> Iterator[duckdb.DuckDBPyConnection]:
    """The built database, read-only; for one module at most, because dbt needs it to itself."""
    with closing(duckdb.connect(str(built.database), read_only=True)) as session:
        yield session


@pytest.fixture(scope="session")
def raw(built: Project) -> dict[str, pd.DataFrame]:
    """The lake's tables of the finished runs, read file by file; float32 as float64."""

    def read(table: str) -> pd.DataFrame:
        parts = []
        for run_id in FINISHED:
            if table in SCHEMAS:
                found = [read_today(built.lake, run_id)[table].to_pandas()]
            else:
                files = sorted((built.lake.root / table / f"run_id={run_id}").iterdir())
                found = [pd.read_parquet(path, partitioning=None) for path in files]
            parts += [each.assign(run_id=run_id) for each in found]
        frame = pd.concat(parts, ignore_index=True)
        doubles = frame.select_dtypes("float32").columns
        return frame.astype(dict.fromkeys(doubles, "float64"))

    return {name: read(name) for name in ("runs", "layers", "vocabulary", "samples", "events")}


@pytest.fixture(scope="session")
def layer_events(raw: dict[str, pd.DataFrame]) -> list[LayerEvents]:
    """The events of every finished run, one entry per MoE layer, by run and MoE index."""
    samples = raw["samples"][["run_id", "sample_id", "domain", "split", "prompt_tokens"]]
    events = raw["events"].merge(samples, on=["run_id", "sample_id"], validate="many_to_one")
    is_given = events["position"] < events["prompt_tokens"]
    events["phase"] = np.where(is_given, "prompt", "generated")
    by_layer = dict(iter(events.groupby(["run_id", "layer"])))
    of_runs = raw["runs"][["run_id", "max_length", "has_token_ids"]].assign(
        has_output_norms=raw["runs"]["output_norms"].notna()
    )
    layers = raw["layers"].merge(of_runs, on="run_id")
    layers = layers.sort_values(["run_id", "moe_index"]).to_dict("records")
    return [arrays(layer, by_layer[(layer["run_id"], layer["layer"])]) for layer in layers]


@pytest.fixture(scope="session")
def token_layers(layer_events: list[LayerEvents]) -> list[LayerEvents]:
    """Those of the runs that have token ids."""
    return [layer for layer in layer_events if layer.has_token_ids]


def arrays(layer: dict[Any, Any], events: pd.DataFrame) -> LayerEvents:
    columns = ("sample_id", "position", "domain", "split", "entropy", "confidence", "phase")
    facts = ("run_id", "layer", "moe_index", "stack", "num_experts", "top_k", "max_length")
    flags = ("has_weights", "ranked", "has_token_ids", "has_output_norms")
    experts = np.stack(events["experts"].to_list()).astype(np.int64)
    unknown = [np.full(layer["top_k"], np.nan)] * len(events)
    weights = events["weights"].to_list() if layer["has_weights"] else unknown
    norms = events["output_norms"].to_list() if layer["has_output_norms"] else unknown
    return LayerEvents(
        **{name: layer[name] for name in facts + flags},
        **{name: events[name].to_numpy() for name in columns},
        token_id=events["token_id"].fillna(-1).to_numpy(dtype=np.int64),
        experts=experts,
        weights=np.stack(weights).astype(np.float64),
        norms=np.stack(norms).astype(np.float64),
    )


def where_known(is_known: bool, columns: dict[str, Any]) -> dict[str, Any]:
    """Return the columns, all of them null where they are unknown."""
    return columns if is_known else dict.fromkeys(columns)


@pytest.fixture(scope="module")
def assert_mart(connection: duckdb.DuckDBPyConnection) -> AssertMart:
    """`assert_mart(name, keys, expected)`: the mart has these rows and columns and no others.

    Rows of runs without events are left out.

    Numbers agree to a relative 1e-9; up to 1e-15 counts as 0.
    """

    def assert_mart(name: str, keys: list[str], expected: pd.DataFrame) -> None:
        found = connection.table(name).to_arrow_table().to_pandas()
        if "run_id" in found:
            found = found[~found["run_id"].isin(COUNTED)]
        assert len(found) > 0
        assert set(found.columns) == set(expected.columns)
        assert not expected.duplicated(keys).any()
        expected = expected.sort_values(keys, ignore_index=True)[list(found.columns)]
        found = found.sort_values(keys, ignore_index=True)
        assert_frame_equal(found, expected, check_dtype=False, rtol=1e-9, atol=1e-15)

    return assert_mart
