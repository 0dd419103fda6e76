"""Which Gatehouse this is."""

import tomllib
from importlib.metadata import PackageNotFoundError, version

from gatehouse.warehouse.paths import PACKAGE


def gatehouse_version() -> str:
    """Return the version of the installed package, else that in the checkout's pyproject.toml."""
    try:
        return version("gatehouse")
    except PackageNotFoundError:
        project = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))
        return str(project["project"]["version"])
