"""Settings of the user's own Prefect, where PREFECT_API_URL lets them hold."""

import pytest

from gatehouse.flows import prefect_run, prefect_settings
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


def test_a_flow_of_gatehouses_own_server_has_no_heartbeat(tmp_path):
    """Its end would wait for it; a user's flows in the same process keep theirs."""
    from prefect.settings import get_current_settings

    def beats() -> int | None:
        return get_current_settings().flows.heartbeat_frequency

    before = beats()
    with prefect_settings.own(tmp_path, {"PREFECT_API_URL": "http://127.0.0.1:9/api"}):
        assert beats() is None
    assert beats() == before is not None
