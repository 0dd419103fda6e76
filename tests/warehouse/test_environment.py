"""What of the user's environment is let in is a list, which the documentation shows."""

import os

import pytest

from gatehouse.warehouse import environment
from tests.tools.environment_page import PAGE, page


def test_the_page_shows_the_lists():
    assert PAGE.read_text(encoding="utf-8") == page()


def test_a_process_begins_with_what_is_listed_and_nothing_else(monkeypatch):
    for name in ("PREFECT_API_KEY", "DBT_TARGET", "https_proxy", "PYTHONWARNINGS", "DOCKET_URL"):
        monkeypatch.setenv(name, "the user's")
    monkeypatch.setenv("GATEHOUSE_CACHE", "/somewhere")
    begun = environment.of_a_process()
    assert begun["GATEHOUSE_CACHE"] == "/somewhere" and "PATH" in begun
    assert "the user's" not in begun.values()


def test_what_is_set_aside_is_back_after_the_block_whatever_happened_in_it(monkeypatch):
    monkeypatch.setenv("DBT_TARGET", "prod")
    monkeypatch.delenv("DBT_STATE", raising=False)
    monkeypatch.delenv("OURS", raising=False)
    before = dict(os.environ)
    with pytest.raises(KeyError), environment.chosen(environment.DBT, {"OURS": "1", "HOME": "/h"}):
        assert "DBT_TARGET" not in os.environ
        assert os.environ["OURS"] == "1" and os.environ["HOME"] == "/h"
        os.environ["DBT_STATE"] = "left"
        raise KeyError
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"no_proxy": "127.0.0.1"}),
        ({"NO_PROXY": "localhost"}, {"NO_PROXY": "localhost,127.0.0.1"}),
        ({"no_proxy": "a.corp", "NO_PROXY": ""}, {"no_proxy": "a.corp,127.0.0.1", "NO_PROXY": ""}),
        ({"NO_PROXY": "*"}, {"NO_PROXY": "*"}),
        ({"no_proxy": "x,127.0.0.1"}, {"no_proxy": "x,127.0.0.1"}),
    ],
)
def test_this_machine_is_asked_directly_and_the_users_other_hosts_stay(monkeypatch, before, after):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    environment.ask_this_machine_directly()
    found = {name: os.environ[name] for name in ("NO_PROXY", "no_proxy") if name in os.environ}
    assert found == after
    # what this test set is not monkeypatch's to take away
    os.environ.pop("no_proxy", None)


def test_certificates_that_are_gone_are_named(monkeypatch, tmp_path):
    for name in environment.CERTIFICATES.names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert environment.missing_certificates() == ""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.pem"))
    assert environment.missing_certificates().startswith(f"SSL_CERT_FILE names {tmp_path}/gone.pem")


def raised_in(module, said):
    """Return a ValueError that was raised as a module of this name was imported."""
    with pytest.raises(ValueError) as caught:
        exec("raise ValueError(said)", {"__name__": module, "said": said})
    return caught.value


@pytest.mark.parametrize(
    ("module", "said", "named"),
    [
        ("huggingface_hub.constants", "invalid literal for int(): '1O'", "HF_HUB_ETAG_TIMEOUT"),
        ("torch._logging", "Invalid log settings: all-of-it, must be", "TORCH_LOGS"),
        ("prefect.settings", "'all-of-it' or [input_value='LOUD', more]", "PREFECT_LOGGING_LEVEL"),
        ("prefect.settings", "invalid literal for int(): '1O'", ""),
        ("huggingface_hub.constants", "no such module: 1O1", ""),
        ("gatehouse.flows", "invalid literal for int(): '1O'", ""),
    ],
)
def test_a_setting_that_a_library_cannot_be_imported_with_is_named(
    monkeypatch, module, said, named
):
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "1O")
    monkeypatch.setenv("TORCH_LOGS", "all-of-it")
    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "loud")
    line = environment.unreadable(raised_in(module, said))
    assert line.partition(" ")[0] == named
    assert environment.unreadable(ValueError(said)) == ""
