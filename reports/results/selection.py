"""What is asked for: a run's layer or a file, and the thresholds of the fast path."""

from dataclasses import dataclass
from pathlib import Path

from gatehouse.reports.verdict.thresholds import DEFAULT, Thresholds
from gatehouse.warehouse.errors import GatehouseError, require


@dataclass(frozen=True)
class Selection:
    """What `validate`, `plot` and `report` look at: a run's layer or a file, and the thresholds.

    If `layer` is None, they look at every MoE layer of a run, or the only layer of a file.
    """

    input: Path | None = None
    run_id: str | None = None
    layer: int | None = 0
    thresholds: Thresholds = DEFAULT

    def __post_init__(self) -> None:
        if self.input and self.run_id:
            raise GatehouseError("--input and --run exclude each other: name one of them")

    @classmethod
    def of(
        cls,
        input: Path | None,
        run_id: str | None,
        layer: str | None,
        frequency_threshold: int,
        entropy_threshold: float,
    ) -> "Selection":
        """Return the selection of a command's options: a run's layer is 0 unless named."""
        chosen = parse_layer(layer or "0") if layer or input is None else None
        return cls(input, run_id, chosen, Thresholds(frequency_threshold, entropy_threshold))


def parse_layer(text: str) -> int | None:
    """Return the MoE layer's index, or None for `all`.

    Raises:
        GatehouseError: neither a number nor `all`.
    """
    if text == "all":
        return None
    require(text.isdecimal(), "layer", "an index among the MoE layers (0, 1, …) or `all`")
    return int(text)
