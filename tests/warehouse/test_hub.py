"""A cause is named only where it was seen: nothing else of the environment is blamed."""

import errno
from types import SimpleNamespace

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

from gatehouse.warehouse.environment import CERTIFICATES
from gatehouse.warehouse.hub.causes import refusal, unkept, why_unanswered

BLAMED = {
    "HF_HUB_OFFLINE": "1",
    "HTTPS_PROXY": "http://name:word@proxy.corp:1",
    "ALL_PROXY": "socks5://proxy.corp:1",
    "SSL_CERT_FILE": "/nonexistent/ca.pem",
    "HF_ENDPOINT": "https://hub.corp",
    "HF_TOKEN": "hf_tök",
}


def raised(kind, said="", *, base=OSError, cause=None, **facts):
    """Return an error whose class has this name, as several HTTP libraries have one."""
    error = type(kind, (base,), {})(said)
    error.__cause__ = cause
    error.__dict__.update(facts)
    return error


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    names = [*BLAMED, *CERTIFICATES.names, "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"]
    names += ["NO_PROXY", "HTTP_PROXY"]
    for name in (*names, *(name.lower() for name in names)):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no such configuration"),
        raised("DatasetNotFoundError", "it is not there", base=FileNotFoundError),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "config.json"),
        ImportError("Loading it requires `pip install optimum`"),
        raised("HfHubHTTPError", response=SimpleNamespace(status_code=404)),
    ],
)
def test_nothing_between_here_and_the_hub_is_blamed_for_another_cause(monkeypatch, error):
    for name, value in BLAMED.items():
        monkeypatch.setenv(name, value)
    assert why_unanswered(error) == "" == refusal("owner/model", error) == unkept(error)


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"])
def test_the_variable_that_forbids_to_ask_the_hub_is_named(monkeypatch, name):
    assert why_unanswered(OfflineModeIsEnabled()) == "the hub's client is offline"
    monkeypatch.setenv(name, "yes")
    wrapped = raised("ConnectionError", cause=OfflineModeIsEnabled())
    assert why_unanswered(wrapped) == f"{name} is set, so the hub is not asked (unset it)"
    # this one is of data sets only
    said = why_unanswered(LocalEntryNotFoundError("not in the cache"))
    assert (name in said) == (name != "HF_DATASETS_OFFLINE")


@pytest.mark.parametrize(
    ("settings", "error", "why"),
    [
        ({}, raised("ConnectError", base=ConnectionError), "there is no network"),
        ({}, raised("ReadError", base=ConnectionError), "the connection to the hub broke off"),
        ({"HF_ENDPOINT": "http://x"}, TimeoutError(), "the hub that HF_ENDPOINT names does not"),
        ({"https_proxy": "http://x"}, TimeoutError(), "through the proxy that https_proxy names"),
        ({"HTTPS_PROXY": "http://x", "NO_PROXY": "*"}, TimeoutError(), "there is no network"),
        ({"HTTP_PROXY": "http://x"}, TimeoutError(), "there is no network"),
        (
            {"ALL_PROXY": "socks5://x"},
            ImportError("Using SOCKS proxy, but the 'socksio' package is not installed."),
            "ALL_PROXY is SOCKS, which needs a package (`pip install socksio`)",
        ),
        (
            {"SSL_CERT_FILE": "/nonexistent/ca.pem"},
            FileNotFoundError(errno.ENOENT, "No such file or directory"),
            "SSL_CERT_FILE names /nonexistent/ca.pem, which is not there",
        ),
        ({"SSL_CERT_FILE": "/nonexistent/ca.pem"}, TimeoutError(), "there is no network"),
        ({}, raised("ConnectError", "[SSL: CERTIFICATE_VERIFY_FAILED]", base=ConnectionError),
         "the hub's certificate is not trusted here"),
        ({"HF_TOKEN": "hf_tök"}, raised("LocalProtocolError", base=ConnectionError), "HF_TOKEN"),
    ],
)  # fmt: skip
def test_what_was_seen_is_what_is_said(monkeypatch, settings, error, why):
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert why in why_unanswered(raised("Wrapped", base=RuntimeError, cause=error))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (raised("GatedRepoError"), "asks for consent to owner/model"),
        (raised("RevisionNotFoundError"), "no such revision of owner/model"),
        (raised("Refused", response=SimpleNamespace(status_code=401)), "(401): set HF_TOKEN"),
        (raised("Refused", response=SimpleNamespace(status_code=429)), "(429): wait"),
        (raised("Refused", response=SimpleNamespace(status_code=503)), "out of order (503)"),
    ],
)
def test_a_refusal_of_the_hub_says_what_it_was(error, words):
    wrapped = raised("Wrapped", "check your connection", cause=error)
    assert words in refusal("owner/model", wrapped) and "owner/model" in refusal(
        "owner/model", error
    )


def test_a_full_or_closed_disk_is_named_and_not_the_model():
    full = raised("Wrapped", cause=OSError(errno.ENOSPC, "No space left on device"))
    assert unkept(full).startswith("No space left on device; make room, or name another folder")
    closed = OSError(errno.EROFS, "Read-only file system", "/cache/blob")
    assert unkept(closed).startswith("/cache/blob: Read-only file system; make it writable, or")
