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


def test_what_stands_between_here_and_the_hub_is_named_without_its_value(monkeypatch):
    for name in (*environment.CERTIFICATES.names, *environment.PROXIED):
        monkeypatch.delenv(name, raising=False)
    assert environment.way_to_the_hub() == ""
    monkeypatch.setenv("ALL_PROXY", "socks5://name:word@proxy.corp:1080")
    assert "ALL_PROXY" in environment.way_to_the_hub()
    assert "corp" not in environment.way_to_the_hub()
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent/ca.pem")
    assert "SSL_CERT_FILE names /nonexistent/ca.pem" in environment.way_to_the_hub()
