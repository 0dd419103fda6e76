"""How a trace is refused: what is broken and the likely cause, then the way out."""

from gatehouse.warehouse.errors import GatehouseError

ANOTHER_MODEL = "give the --model that was traced"


def require(holds: bool, broken: str, way_out: str) -> None:
    """Raise a GatehouseError of one line unless it holds."""
    if not holds:
        raise GatehouseError(f"{broken}; {way_out}")
