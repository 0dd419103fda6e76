"""Matplotlib, whatever backend the environment names: a figure is a file and needs none."""

import os
import sys
from contextlib import suppress

from gatehouse.warehouse import environment


def import_matplotlib() -> None:
    """Import matplotlib unless that is done; whoever imports it, or what imports it, calls this."""
    if "matplotlib" in sys.modules:
        return
    # a backend that this environment lacks, such as a notebook's, would end the import
    with environment.chosen(environment.MATPLOTLIB):
        import matplotlib
    # the notebook that has it draws with it later
    with suppress(KeyError, ValueError):
        matplotlib.rcParams["backend"] = os.environ["MPLBACKEND"]
