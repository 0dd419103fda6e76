"""What the modules of statistics share: the type of an array, and how few tokens are too few."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEAST_TOKENS = 3
"""A p value needs n - 2 > 0 degrees of freedom."""
