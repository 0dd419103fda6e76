"""By which rule tokens are in a lookup table that is exported."""

import math

from gatehouse.warehouse.errors import GatehouseError, require
from gatehouse.warehouse.replays import TOKENS, ReplayPolicy

OPTIONS = (
    "min_share",
    "min_frequency",
    "frequency_threshold",
    "entropy_threshold",
    "most_frequent",
)
"""The arguments of `rule_of`."""

MIN_SHARE = 0.9
FREQUENCY = 50
"""What both rules ask for unless the user says otherwise: this frequency or, VAR, more than it."""


def rule_of(
    min_share: float | None = None,
    min_frequency: int | None = None,
    frequency_threshold: int | None = None,
    entropy_threshold: float | None = None,
    most_frequent: int | None = None,
) -> ReplayPolicy:
    """Return the policy whose table it is; by default, the share of the most frequent set decides.

    Args:
        min_share: the least share of a token's occurrences with its most frequent set.
        min_frequency: the fewest occurrences.
        frequency_threshold: of VAR's rule: it occurs more often than this.
        entropy_threshold: of VAR's rule: its mean entropy is below this, in nats.
        most_frequent: this many most frequent tokens.

    Raises:
        GatehouseError: a value is out of range, or of two rules.
    """
    _check(min_share, min_frequency, frequency_threshold, entropy_threshold, most_frequent)
    if most_frequent is not None:
        return ReplayPolicy(TOKENS, table_size=most_frequent)
    if entropy_threshold is not None:
        frequency = FREQUENCY if frequency_threshold is None else frequency_threshold
        entropy = float(entropy_threshold)
        return ReplayPolicy(TOKENS, frequency_threshold=frequency, entropy_threshold=entropy)
    share = MIN_SHARE if min_share is None else float(min_share)
    return ReplayPolicy(TOKENS, min_share=share, min_frequency=min_frequency or FREQUENCY)


def _check(
    min_share: float | None,
    min_frequency: int | None,
    frequency_threshold: int | None,
    entropy_threshold: float | None,
    most_frequent: int | None,
) -> None:
    require(min_share is None or 0 <= min_share <= 1, "min_share", "a share from 0 to 1")
    least = {"min_frequency": (min_frequency, 1), "most_frequent": (most_frequent, 1)}
    least["frequency_threshold"] = (frequency_threshold, 0)
    for name, (value, at_least) in least.items():
        require(value is None or value >= at_least, name, f"{at_least} or more")
    fits = entropy_threshold is None or 0 < entropy_threshold < math.inf
    require(fits, "entropy_threshold", "more than 0 nats")
    by_share = min_share is not None or min_frequency is not None
    by_entropy = frequency_threshold is not None or entropy_threshold is not None
    if by_share + by_entropy + (most_frequent is not None) > 1:
        raise GatehouseError(
            "a table has one rule: give --min-share and --min-frequency, or --entropy-threshold "
            "and --frequency-threshold, or --most-frequent"
        )
    if by_entropy and entropy_threshold is None:
        raise GatehouseError(
            "--frequency-threshold is half of a rule: add --entropy-threshold NATS"
        )
