"""What a first run would leave in the user's cache, made while Gatehouse is installed."""

from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from gatehouse.flows import prefect_database, prefect_settings
from gatehouse.flows.steps import build, dbt_runs
from gatehouse.warehouse import environment
from gatehouse.warehouse.paths import Paths


def fill_cache() -> None:
    """Let dbt parse the project and Prefect make an empty database, unless they are kept.

    They do not depend on a home: one that is thrown away serves.
    """
    with TemporaryDirectory(prefix="gatehouse-") as folder:
        paths = Paths(Path(folder))
        build.begin_to_parse(paths)
        settings = prefect_settings.of_a_home(paths.prefect)
        with environment.chosen(environment.PREFECT, settings):
            with prefect_settings.away_from_files(paths.prefect):
                import_module("prefect.context")
            prefect_database.make_database()
        dbt_runs.finish_parsing()


if __name__ == "__main__":
    fill_cache()
