"""What a first run would leave in the user's cache, made while Gatehouse is installed."""

from pathlib import Path
from tempfile import TemporaryDirectory

from gatehouse.flows import prefect_run
from gatehouse.flows.steps import build, dbt_runs
from gatehouse.warehouse.paths import Paths


def fill_cache() -> None:
    """Let dbt parse the project and Prefect make an empty database, unless they are kept.

    They do not depend on a home: one that is thrown away serves.
    """
    with TemporaryDirectory(prefix="gatehouse-") as folder:
        paths = Paths(Path(folder))
        prefect_run.settle(paths, serves_itself=True)
        build.begin_to_parse(paths)
        from gatehouse.flows import prefect_server

        prefect_server.make_database()
        dbt_runs.finish_parsing()


if __name__ == "__main__":
    fill_cache()
