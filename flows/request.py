"""What a user asks for: every parameter of a run, with its default, checked once."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warehouse.errors import GatehouseError


@dataclass(frozen=True)
class RunRequest:
    """The parameters of a run, as the command line and the deployment name them.

    `layer` is an index among the MoE layers, or `all`; `output` is a folder, or a path that
    ends in .parquet whose folder takes everything else; entropies are in nats.

    Raises:
        GatehouseError: a number is out of range.
    """

    model: str = "demo"
    revision: str | None = None
    dataset: str = "pydoc"
    num_samples: int = 10_000
    first_sample: int = 0
    batch_size: int = 4
    max_length: int = 512
    windows: bool = False
    create_splits: bool = False
    skip_broken: bool = False
    dtype: str = "auto"
    quantize: str = "auto"
    device_map: str | None = None
    attn_implementation: str | None = None
    trust_remote_code: bool = False
    num_experts: int | None = None
    layer: str = "0"
    frequency_threshold: int = 50
    entropy_threshold: float = 0.5
    output: Path | None = None

    def __post_init__(self) -> None:
        for name in ("num_samples", "batch_size", "max_length"):
            require(getattr(self, name) >= 1, name, "1 or more")
        require(self.first_sample >= 0, "first_sample", "0 or more")
        check_thresholds(self.frequency_threshold, self.entropy_threshold)
        parse_layer(self.layer)

    @property
    def loading(self) -> dict[str, Any]:
        """How the model is loaded: the parameters that `models.zoo.resolve` takes."""
        return {
            "revision": self.revision,
            "dtype": self.dtype,
            "quantize": self.quantize,
            "device_map": self.device_map,
            "attn_implementation": self.attn_implementation,
            "trust_remote_code": self.trust_remote_code,
        }

    @property
    def moe_index(self) -> int | None:
        """`layer` as a number, None for all."""
        return parse_layer(self.layer)


def check_thresholds(frequency_threshold: int, entropy_threshold: float) -> None:
    """Refuse thresholds under which the criteria would mean nothing.

    Raises:
        GatehouseError: a threshold is negative or not finite.
    """
    require(frequency_threshold >= 0, "frequency_threshold", "0 or more")
    require(
        math.isfinite(entropy_threshold) and entropy_threshold > 0,
        "entropy_threshold",
        "more than 0 nats",
    )


def parse_layer(text: str) -> int | None:
    """Return the MoE layer's index, or None for `all`.

    Raises:
        GatehouseError: neither a number nor `all`.
    """
    if text == "all":
        return None
    require(text.isdecimal(), "layer", "an index among the MoE layers (0, 1, …) or `all`")
    return int(text)


def require(holds: bool, name: str, rule: str) -> None:
    """Raise a GatehouseError that names the option and its rule unless it holds."""
    if not holds:
        raise GatehouseError(f"--{name.replace('_', '-')} must be {rule}")


@dataclass(frozen=True)
class Selection:
    """What `validate`, `plot` and `report` look at: a run's layer or a file, and the thresholds.

    If `layer` is None, they look at every MoE layer of a run, or the only layer of a file.
    """

    input: Path | None = None
    run_id: str | None = None
    layer: int | None = 0
    frequency_threshold: int = 50
    entropy_threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.input and self.run_id:
            raise GatehouseError("--input and --run exclude each other: name one of them")
        check_thresholds(self.frequency_threshold, self.entropy_threshold)

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
        return cls(input, run_id, chosen, frequency_threshold, entropy_threshold)
