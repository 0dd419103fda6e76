"""The pair of thresholds that decides which tokens a lookup table could route."""

import math
from dataclasses import dataclass

from gatehouse.warehouse.errors import require


@dataclass(frozen=True)
class Thresholds:
    """A token is eligible when frequency > `frequency` and mean entropy < `entropy` (nats).

    Raises:
        GatehouseError: a threshold is negative or not finite: the criteria would mean nothing.
    """

    frequency: int = 50
    entropy: float = 0.5

    def __post_init__(self) -> None:
        require(self.frequency >= 0, "frequency_threshold", "0 or more")
        is_positive = math.isfinite(self.entropy) and self.entropy > 0
        require(is_positive, "entropy_threshold", "more than 0 nats")


DEFAULT = Thresholds()
"""Those of the original specification."""
