"""`python -m tests.tools.notebook [HOME]`: run docs/notebook.ipynb again and keep its outputs.

The home has the run of `make demo`; default: that of the checkout.
"""

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

PAGE = Path(__file__).resolve().parents[2] / "docs" / "notebook.ipynb"

LOCAL = Config({"KernelManager": {"transport": "ipc"}})
"""The kernel is spoken to through files of this user, not through ports."""


def executed(home: Path) -> nbformat.NotebookNode:
    """Return the notebook with what its cells say of the latest run of a home.

    Raises:
        CellExecutionError: a cell fails.
    """
    notebook = nbformat.read(PAGE, as_version=4)
    # times of the cells would change with every run of it
    client = NotebookClient(notebook, kernel_name="python3", record_timing=False, config=LOCAL)
    client.execute(env=os.environ | {"GATEHOUSE_HOME": str(home)})
    # what Python it was
    notebook.metadata.pop("language_info", None)
    return notebook


if __name__ == "__main__":
    from gatehouse.warehouse.paths import Paths

    nbformat.write(executed(Paths.resolve(*map(Path, sys.argv[1:])).root), PAGE)
