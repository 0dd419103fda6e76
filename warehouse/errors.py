"""The one error that users see."""

from warehouse.plain_text import printable, without_secrets


class GatehouseError(Exception):
    """Something the user can put right: one line that says what is wrong and the way out.

    Names and texts of other programs may stand in it as they are: line ends and control characters
    are escaped, secrets left out.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(without_secrets(str(message))))
