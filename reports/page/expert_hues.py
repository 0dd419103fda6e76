"""Which hue an expert has: experts that are often chosen together have one."""

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, ward

HUES = 8
"""As many as can be told apart with any kind of colour blindness; `page.css` has them."""


def hues(together: NDArray[np.float64] | None, experts: int) -> NDArray[np.intp]:
    """Return (experts,) the hue of each, below HUES; up to HUES experts have one each.

    More are grouped by Ward's method on the square roots of the shares with which the others are
    chosen beside them; hues are in the order of the smallest ids of their groups.

    Args:
        together: (experts, experts) how often the second was chosen beside the first, in any unit;
            None, or all 0, where a token has one expert: then neighbouring ids have one hue.
        experts: how many there are.
    """
    ids = np.arange(experts)
    if experts <= HUES:
        return ids
    if together is None or not together.any():
        return ids * HUES // experts
    total = together.sum(axis=1, keepdims=True)
    profiles = np.sqrt(np.divide(together, total, out=np.zeros_like(together), where=total > 0))
    groups = fcluster(ward(profiles), HUES, criterion="maxclust")
    _, first, which = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[which]
