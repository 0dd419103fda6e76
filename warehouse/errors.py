"""The one error that users see."""


class GatehouseError(Exception):
    """Something the user can put right: one line that says what is wrong and the way out."""
