"""Where everything of one warehouse is kept: one folder, named by GATEHOUSE_HOME."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path

from gatehouse.warehouse.errors import GatehouseError

PACKAGE = Path(__file__).resolve().parent.parent
DBT_PROJECT = PACKAGE / "dbt_project"
IS_CHECKOUT = (PACKAGE / "pyproject.toml").is_file()
"""Whether the package is a checkout: nothing is written into an installed one."""


@dataclass(frozen=True)
class Paths:
    """The folders and files of the warehouse at `root`."""

    root: Path

    @classmethod
    def resolve(cls, home: Path | None = None) -> "Paths":
        """Return the paths of `home`, else of GATEHOUSE_HOME, else of `default_home`."""
        chosen = home or os.environ.get("GATEHOUSE_HOME") or default_home()
        return cls(Path(chosen).expanduser().resolve())

    @property
    def lake(self) -> Path:
        """Parquet files, one folder a table."""
        return self.root / "lake"

    @property
    def database(self) -> Path:
        """The DuckDB file that dbt writes and everything else reads."""
        return self.root / "gatehouse.duckdb"

    @property
    def prepared(self) -> Path:
        """Datasets as prepared samples."""
        return self.root / "prepared"

    @property
    def prefect(self) -> Path:
        """Prefect's own folder."""
        return self.root / "prefect"

    @property
    def dbt_target(self) -> Path:
        """dbt's artifacts, the static documentation page among them."""
        return self.root / "dbt"

    @property
    def lineage_page(self) -> Path:
        """The page of every model, column and its lineage, once `gatehouse docs` has written it."""
        return self.dbt_target / "static_index.html"

    @property
    def sweep(self) -> Path:
        """The verdict of every run, layer and pair of thresholds."""
        return self.root / "results" / "sweep.csv"

    def comparison(self, run_id: str, other_run_id: str) -> Path:
        """The page of two runs side by side.

        Raises:
            GatehouseError: a name is not a run id.
        """
        name = f"{checked_run_id(run_id)}-and-{checked_run_id(other_run_id)}.html"
        return self.root / "results" / name

    def results(self, run_id: str) -> Path:
        """Tables, figures and the report of one run.

        Raises:
            GatehouseError: the name is not a run id.
        """
        return self.root / "results" / checked_run_id(run_id)


def default_home() -> Path:
    """Return warehouse/data in a checkout; of an installed package the platform's data folder."""
    return PACKAGE / "warehouse" / "data" if IS_CHECKOUT else user_data_path("gatehouse")


def is_run_id(name: str) -> bool:
    """Return whether the name can be a run id."""
    return bool(re.fullmatch(r"[a-z0-9][a-z0-9-]*", name))


def checked_run_id(run_id: str) -> str:
    """Return the name if it can be a run id: no separators, dots or quotes get near a path.

    Raises:
        GatehouseError: the name has characters that a run id cannot have.
    """
    if not is_run_id(run_id):
        raise GatehouseError(f"{run_id!r} is not a run id: `gatehouse status` lists the runs")
    return run_id
