"""Settings of the user's own Prefect, where PREFECT_API_URL lets them hold."""

import pytest

from gatehouse.flows import prefect_run
from gatehouse.warehouse.errors import GatehouseError


@pytest.mark.parametrize(
    ("module", "is_prefects"),
    [("prefect.settings.sources", True), ("yaml.parser", False), ("gatehouse.flows.x", False)],
)
def test_settings_of_the_users_that_prefect_cannot_read_are_one_line(module, is_prefects):
    """A prefect.toml that is no TOML; an error of Gatehouse's own stays what it is."""
    expected = GatehouseError if is_prefects else ValueError
    with pytest.raises(expected) as caught, prefect_run._the_users_settings():
        exec("import tomllib; tomllib.loads('[[')", {"__name__": module})
    assert "\n" not in str(caught.value)
    assert is_prefects == ("unset PREFECT_API_URL to run with" in str(caught.value))
