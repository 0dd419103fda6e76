"""The one error that users see."""

from warehouse.plain_text import printable, without_secrets


class GatehouseError(Exception):
    """Something the user can put right: one line that says what is wrong and the way out.

    The message may quote names and other programs' output as they are: line ends and control
    characters are escaped, and secrets are left out.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(without_secrets(str(message))))


def require(holds: bool, name: str, rule: str) -> None:
    """Raise a GatehouseError that names the option and its rule unless it holds."""
    if not holds:
        raise GatehouseError(f"--{name.replace('_', '-')} must be {rule}")
