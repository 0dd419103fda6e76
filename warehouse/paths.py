"""Where everything of one warehouse is kept.

One folder, named by GATEHOUSE_HOME, has it all.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from platformdirs import user_data_path

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.storage.addresses import (
    ObjectPath,
    Place,
    checked_address,
    is_address,
    was_address,
)

PACKAGE = Path(__file__).resolve().parent.parent
DBT_PROJECT = PACKAGE / "dbt_project"
IS_CHECKOUT = (PACKAGE / "pyproject.toml").is_file()
"""Whether the package is a checkout: nothing is written into an installed one."""


@dataclass(frozen=True)
class Paths:
    """The folders and files of the warehouse at `root`.

    Attributes:
        root: the home.
        bucket: where the lake is, if it is not in the home.
    """

    root: Path
    bucket: ObjectPath | None = None

    @classmethod
    def resolve(cls, home: Path | None = None) -> "Paths":
        """Return the paths of `home`, else of GATEHOUSE_HOME, else of `default_home`.

        The lake is in the home, unless GATEHOUSE_LAKE has an address.

        Raises:
            GatehouseError: it is an address, it lies in the lake of a warehouse, or
                GATEHOUSE_LAKE has an address that no lake can have.
        """
        chosen = Path(home or os.environ.get("GATEHOUSE_HOME") or default_home())
        if was_address(chosen):
            # not quoted: it may hold a password
            raise GatehouseError(
                "an address is no home, and a home is a folder of this machine: name a folder; "
                "--lake takes the address of a bucket"
            )
        root = chosen.expanduser().resolve()
        for folder in (root, *root.parents):
            if folder.name == "lake" and (folder / "VERSION").is_file():
                raise GatehouseError(
                    f"{root} lies in a lake: name {folder.parent}, or another home"
                )
        lake = os.environ.get("GATEHOUSE_LAKE", "")
        return cls(root, checked_address(lake) if is_address(lake) else None)

    @property
    def lake(self) -> Place:
        """Parquet files, one folder a table."""
        return self.bucket or self.root / "lake"

    @property
    def database(self) -> Path:
        """The DuckDB file that dbt writes and everything else reads."""
        return self.root / "gatehouse.duckdb"

    @property
    def prepared(self) -> Path:
        """Datasets as prepared samples."""
        return self.root / "prepared"

    @property
    def remembered(self) -> Path:
        """What need not be read again; safe to delete."""
        return self.root / "remembered"

    @property
    def prefect(self) -> Path:
        """Prefect's own folder."""
        return self.root / "prefect"

    @property
    def service(self) -> Path:
        """What `gatehouse up` keeps: records, logs and the database of a server with pages."""
        return self.root / "server"

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

    def comparison(self, run_ids: Sequence[str]) -> Path:
        """The page of two runs or more side by side.

        Raises:
            GatehouseError: a name is not a run id.
        """
        first, *others = map(checked_run_id, run_ids)
        name = f"{first}-and-{others[0]}"
        if len(others) > 1:
            # other runs with the same first one are another page
            digest = sha256("/".join(others).encode()).hexdigest()[:10]
            name = f"{first}-and-{len(others)}-others-{digest}"
        return self.root / "results" / f"{name}.html"

    def trend(self, series: str) -> Path:
        """The page of the runs of a series, by its name in `fct_run_trend`."""
        return self.root / "results" / f"trend-{series}.html"

    def results(self, run_id: str) -> Path:
        """Tables, figures and the report of one run.

        Raises:
            GatehouseError: the name is not a run id.
        """
        return self.root / "results" / checked_run_id(run_id)


def file_address(path: Path) -> str:
    """Return the address of a file as a URL; the path may be one from the working folder."""
    return path.absolute().as_uri()


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
