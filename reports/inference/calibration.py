"""How much text it takes until every expert has been selected often enough to be calibrated."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gatehouse.warehouse.plain_text import counted


@dataclass(frozen=True)
class Reached:
    """How many experts of a run, all layers together, at least so many tokens have selected.

    tokens: so many.
    samples: (steps,) rising numbers of samples; after each of them more experts have.
    experts: (steps,) how many experts have then.
    all_experts: how many experts there are.
    """

    tokens: int
    samples: NDArray[np.int64]
    experts: NDArray[np.int64]
    all_experts: int

    @property
    def shares(self) -> NDArray[np.float64]:
        """Return (steps,) experts as a share of all."""
        return self.experts / self.all_experts

    @property
    def never(self) -> int:
        """Return how many experts the whole text does not reach."""
        return self.all_experts - int(self.experts[-1] if self.experts.size else 0)


def reached(calibration: pd.DataFrame) -> list[Reached]:
    """Return the curves, the one of the fewest tokens first.

    Args:
        calibration: `reports.marts.caches.calibration`.
    """
    found = []
    for tokens, rows in calibration.groupby("tokens"):
        known = rows.dropna(subset="samples").sort_values("samples")
        found.append(
            Reached(
                tokens=int(str(tokens)),
                samples=known["samples"].to_numpy(np.int64),
                experts=known["experts"].cumsum().to_numpy(np.int64),
                all_experts=int(rows["experts"].sum()),
            )
        )
    return found


def never_reached(curves: Sequence[Reached]) -> str:
    """Return a sentence on the experts that the whole text does not reach.

    Args:
        curves: `reached`, not empty.
    """
    missed = [each for each in curves if each.never]
    number = curves[0].all_experts
    if not missed:
        last = curves[-1]
        tokens = "1 token has" if last.tokens == 1 else f"{last.tokens:,} tokens have"
        return (
            f"After {counted(int(last.samples[-1]), 'sample')} at least {tokens} selected "
            f"{'each of ' if number > 1 else ''}the {counted(number, 'expert')}."
        )
    parts, word = [], " tokens"
    for each in missed:
        if each.tokens == 1:
            parts.append(f"{each.never:,} without a token")
        else:
            parts.append(f"{each.never:,} with fewer than {each.tokens:,}{word}")
            word = ""
    *others, last_part = parts
    listed = f"{', '.join(others)} and {last_part}" if others else last_part
    return f"Of {counted(number, 'expert')} the whole text leaves {listed}."
