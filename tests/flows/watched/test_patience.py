"""What is worth another try, and what is not."""

import pytest

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.hub.causes import OFFLINE, may_pass


class Response:
    def __init__(self, status_code: int) -> None:
        self.status_code = status_code


def told(cause: Exception) -> GatehouseError:
    """The one line that a user sees, with what led to it."""
    try:
        raise GatehouseError("the hub does not give it") from cause
    except GatehouseError as error:
        return error


def refused(status: int) -> Exception:
    error = Exception(status)
    error.response = Response(status)
    return error


@pytest.fixture(autouse=True)
def online(monkeypatch):
    for name in (*OFFLINE, "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "cause", [ConnectionResetError(), ConnectionError(), TimeoutError(), refused(503), refused(429)]
)
def test_a_network_that_may_come_back_is_worth_it(cause):
    assert may_pass(told(cause))


@pytest.mark.parametrize(
    "cause",
    [OSError(28, "No space left on device"), ValueError("not JSON"), refused(401), refused(404)],
)
def test_no_other_fault_is_hidden_by_another_try(cause):
    assert not may_pass(told(cause))


def test_a_client_that_is_offline_on_purpose_stays_so(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    offline = type("OfflineModeIsEnabled", (ConnectionError,), {})
    assert not may_pass(told(offline()))
