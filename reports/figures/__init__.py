"""An assessed run or table in, matplotlib figures out; nothing is read or saved here."""

import os
import sys
from contextlib import suppress

from gatehouse.warehouse import environment

if "matplotlib" not in sys.modules:
    # a backend that this environment lacks, such as a notebook's, would end the import
    with environment.chosen(environment.MATPLOTLIB):
        import matplotlib
    # the notebook that has it draws with it later
    with suppress(KeyError, ValueError):
        matplotlib.rcParams["backend"] = os.environ["MPLBACKEND"]
