"""One dbt command on one database, in this process; what fails is one line."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from gatehouse.flows.steps.dbt_runs import BASE, LAYERS, PARTIALS, project_files, run_dbt
from gatehouse.flows.steps.machine import Share
from gatehouse.warehouse import environment
from gatehouse.warehouse.connect import DAMAGED
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import DBT_PROJECT
from gatehouse.warehouse.records import LAKE_VERSION
from gatehouse.warehouse.storage.addresses import Place

UNTOUCHED = "what was built before is untouched"
OF_WORKERS = dict.fromkeys((BASE, LAYERS, PARTIALS), "")
"""What the user's environment says there would make other tables."""

FAILED = ("error", "fail", "runtime error")


@dataclass(frozen=True)
class Dbt:
    """dbt on one database.

    Attributes:
        lake: that it reads.
        database: that it writes; its name is gatehouse.duckdb.
        target: folder for what dbt writes beside it.
        share: of the machine.
        settings: more variables that the project reads.
    """

    lake: Place
    database: Path
    target: Path
    share: Share
    settings: Mapping[str, str] = field(default_factory=dict)

    def run(self, *command: str) -> list[Any]:
        """Run one command quietly; return the models and tests that it ran, as dbt describes them.

        Raises:
            GatehouseError: a model or test failed, which the message names, or dbt itself.
        """
        name_home(self.database)
        at_once = ("--threads", str(self.share.models_at_once))
        lake = {"GATEHOUSE_LAKE": str(self.lake)}
        seen = {**OF_WORKERS, **lake, **self.share.as_environment(), **self.settings}
        with environment.chosen(environment.DBT, seen):
            outcome = run_dbt((*command, *at_once), self.target)
        # dbt writes its graph as a pickle and never reads it
        (self.target / "graph.gpickle").unlink(missing_ok=True)
        if not outcome.success:
            reason = _reason(outcome)
            way_out = "put that right and run the same command again"
            if DAMAGED.search(reason):
                way_out = "`gatehouse verify --repair` builds it afresh"
            raise GatehouseError(f"dbt {command[0]} failed: {reason}; {UNTOUCHED}: {way_out}")
        # another command's result is a catalogue
        results = getattr(outcome.result, "results", [])
        return [result.node for result in results if hasattr(result, "node")]


def name_home(database: Path) -> None:
    """Let dbt in this process write this database."""
    os.environ["GATEHOUSE_DATABASE"] = str(database)
    os.environ["GATEHOUSE_BUILD"] = fingerprint()
    os.environ["DO_NOT_TRACK"] = "1"


def fingerprint() -> str:
    """Return a hash of everything that the numbers depend on, except the lake."""
    digest = hashlib.sha256(f"{duckdb.__version__} {LAKE_VERSION}".encode())
    for path in project_files():
        if path.suffix in (".sql", ".yml"):
            digest.update(path.relative_to(DBT_PROJECT).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _reason(outcome: Any) -> str:
    """Name the first node that failed, and how, on one line."""
    for node in getattr(outcome.result, "results", []):
        if node.status in FAILED:
            return f"{node.node.name}: {' '.join(str(node.message).split())[:200]}"
    # some exceptions, as that of Ctrl-C, have no words
    words = str(outcome.exception) or type(outcome.exception).__name__
    return " ".join(words.split())[:300]
