"""The one error that users see, and a kind of it that the program reads too."""

from typing import TYPE_CHECKING

from gatehouse.warehouse.plain_text import printable, without_secrets

if TYPE_CHECKING:  # places raise these errors
    from gatehouse.warehouse.storage.addresses import Place

ANOTHER_HOME = "name another folder with --home or GATEHOUSE_HOME"

ENDINGS = (KeyboardInterrupt, SystemExit, GeneratorExit)
"""What ends a process; a panic of a library in Rust is no `Exception` either, but an error."""


class GatehouseError(Exception):
    """Something the user can put right: one line that says what is wrong and the way out.

    The message may quote names and other programs' output as they are: line ends and control
    characters are escaped, and secrets are left out.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(without_secrets(str(message))))


class BrokenLaw(GatehouseError):
    """A file of the lake, or a shard on its way there, that is not as it must be.

    Args:
        law: what is broken and the way out, without the path.
        path: the file, or None for a shard that has not landed.
    """

    def __init__(self, law: str, path: "Place | None" = None) -> None:
        super().__init__(f"refused to land a shard: {law}" if path is None else f"{path} {law}")
        # shown by itself too, so as safe as the whole message
        self.law = printable(without_secrets(law))
        self.path = path

    def __reduce__(self) -> tuple[type["BrokenLaw"], tuple[str, "Place | None"]]:
        # an exception is made again from its message otherwise, which is not what this one takes
        return type(self), (self.law, self.path)


def require(holds: bool, name: str, rule: str) -> None:
    """Raise a GatehouseError that names the option and its rule unless it holds."""
    if not holds:
        raise GatehouseError(f"--{name.replace('_', '-')} must be {rule}")
