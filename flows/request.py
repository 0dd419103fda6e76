"""What a user asks for: every parameter of a run, with its default, checked once."""

import inspect
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar

from gatehouse.reports.results.selection import parse_layer
from gatehouse.reports.verdict.thresholds import Thresholds
from gatehouse.warehouse.errors import GatehouseError, require
from gatehouse.warehouse.notes.run_names import check_name

Function = TypeVar("Function", bound=Callable[..., Any])

LOADING = (
    "revision",
    "dtype",
    "quantize",
    "device_map",
    "attn_implementation",
    "trust_remote_code",
)
"""The fields of a run that say how its model is loaded: parameters of `models.zoo.resolve`."""


@dataclass(frozen=True)
class Workers:
    """What a command's options say.

    Attributes:
        number: how many processes of this machine.
        scheduler: the address of a Dask scheduler, or its scheduler file, in place of a number.
    """

    number: int | None = None
    scheduler: str | None = None

    @classmethod
    def asked(cls, number: int | None, scheduler: str | None) -> "Workers | None":
        """Return the workers that two options ask for; none if neither is given.

        Raises:
            GatehouseError: both are given, or a number is less than one.
        """
        if number is None and scheduler is None:
            return None
        if number is not None and scheduler is not None:
            raise GatehouseError(
                "--workers starts workers on this machine, and --scheduler has its own: leave one "
                "of them out"
            )
        if number is not None and number < 1:
            raise GatehouseError(f"--workers {number}: give a number of processes, 1 or more")
        return cls(number, scheduler)


@dataclass(frozen=True)
class RunRequest:
    """The parameters of a run, as the command line and the deployment name them.

    `layer` is an index among the MoE layers, or `all`; `output` is a folder, or a path that
    ends in .parquet whose folder takes everything else; entropies are in nats.

    Raises:
        GatehouseError: a number is out of range, or two options exclude each other.
    """

    model: str = "demo"
    revision: str | None = None
    dataset: str = "pydoc"
    num_samples: int = 10_000
    first_sample: int = 0
    batch_size: int = 4
    max_length: int = 512
    windows: bool = False
    generate: int = 0
    temperature: float = 0.0
    seed: int = 0
    output_norms: bool = False
    create_splits: bool = False
    skip_broken: bool = False
    lines: bool = False
    text_field: str | None = None
    domain_field: str | None = None
    document_field: str | None = None
    chat_as_text: bool = False
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
    spreadsheet_safe: bool = False
    name: str | None = None
    metrics: Path | None = None
    workers: int | None = None
    scheduler: str | None = None

    def __post_init__(self) -> None:
        for name in ("num_samples", "batch_size", "max_length"):
            require(getattr(self, name) >= 1, name, "1 or more")
        for name in ("first_sample", "generate", "seed"):
            require(getattr(self, name) >= 0, name, "0 or more")
        require(self.seed < 2**63, "seed", "below 2^63")
        require(0 <= self.temperature < math.inf, "temperature", "0 or more")
        self._check_generation()
        if self.workers is not None:
            require(self.workers >= 1, "workers", "1 or more")
        check_name(self.name)
        # each refuses what it cannot be
        _ = self.thresholds, self.moe_index, self.asked_workers

    def _check_generation(self) -> None:
        if self.generate == 0:
            for name in ("temperature", "seed"):
                if getattr(self, name):
                    raise GatehouseError(
                        f"--{name} applies only to generated text: add --generate N"
                    )
            return
        if self.seed and not self.temperature:
            raise GatehouseError(
                "--seed applies only to drawn tokens: add --temperature T, or leave it out"
            )
        if self.windows:
            raise GatehouseError(
                "--generate continues one prompt, and --windows cuts a sample into several: "
                "leave one of them out"
            )
        if self.generate >= self.max_length:
            raise GatehouseError(
                f"--generate {self.generate}: --max-length {self.max_length} counts the prompt and "
                "what is added, and leaves the prompt no token; make it larger, or add fewer"
            )

    @property
    def asked_workers(self) -> Workers | None:
        """The processes that capture the shards, None where this one does."""
        return Workers.asked(self.workers, self.scheduler)

    @property
    def loading(self) -> dict[str, Any]:
        """How the model is loaded: the parameters that `models.zoo.resolve` takes."""
        return {name: getattr(self, name) for name in LOADING}

    @property
    def thresholds(self) -> Thresholds:
        """The pair of thresholds of the fast path."""
        return Thresholds(self.frequency_threshold, self.entropy_threshold)

    @property
    def moe_index(self) -> int | None:
        """`layer` as a number, None for all."""
        return parse_layer(self.layer)


def takes_fields(
    names: Collection[str] | None = None,
    options: Mapping[str, Any] | None = None,
    request: type = RunRequest,
) -> Callable[[Function], Function]:
    """Declare which fields of a request a function takes as its `**parameters`.

    Typer makes options from a function's signature, and Prefect a form. Both get the names, types
    and defaults from the dataclass, so that a parameter of a run is declared once.

    Args:
        names: the fields, in any order; default: all.
        options: field -> Typer's option; default: the types are left plain.
        request: the dataclass of the fields.
    """

    def declare(function: Function) -> Function:
        taken = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=Annotated[field.type, options[field.name]] if options else field.type,
            )
            for field in fields(request)
            if names is None or field.name in names
        ]
        own = [
            each
            for each in inspect.signature(function).parameters.values()
            if each.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        needed = [each for each in own if each.default is each.empty]
        others = [
            each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own if each not in needed
        ]
        signature = inspect.Signature([*needed, *taken, *others])
        function.__signature__ = signature  # type: ignore[attr-defined]
        return function

    return declare
