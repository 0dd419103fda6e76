"""Why the Hugging Face hub was not asked, did not answer or refused: the cause that an error shows.

The clients of models and of datasets raise errors of several HTTP libraries, which change with the
client's version, so an error is known by its class's name, and by the errors that led to it.
"""

import errno
import os
from collections.abc import Iterator
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

from gatehouse.warehouse.environment import missing_certificates
from gatehouse.warehouse.files import way_out

OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
SWITCHED_ON = ("1", "ON", "YES", "TRUE")
UNANSWERED = {"ConnectionError", "TimeoutError", "TransportError", "LocalEntryNotFoundError"}
BROKEN_OFF = {"ConnectionResetError", "ReadError", "ReadTimeout", "RemoteProtocolError"}
NO_TOKEN = {"LocalProtocolError", "UnicodeEncodeError"}
"""What is raised for a token that cannot be sent."""

MAY_PASS = ("does not answer", " names", "broke off", "no network")
"""How those reasons end that somebody may put right meanwhile, without touching this run."""

PUBLIC_HUB = "https://huggingface.co"


def led_to(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and those that led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def kinds_of(error: BaseException) -> set[str]:
    """Return the names of the classes, and their bases, of an error and those that led to it."""
    return {kind.__name__ for each in led_to(error) for kind in type(each).__mro__}


def why_unanswered(error: BaseException) -> str:
    """Return why the hub was not asked or did not answer, as a clause; nothing if it did."""
    kinds, said = kinds_of(error), " ".join(map(str, led_to(error)))
    if "OfflineModeIsEnabled" in kinds or "OfflineModeIsEnabled" in said:
        return _offline(OFFLINE) or "the hub's client is offline"
    if "LocalEntryNotFoundError" in kinds and (offline := _offline(OFFLINE[:2])):
        return offline
    if not os.environ.get("HF_TOKEN", "").isascii() and kinds & NO_TOKEN:
        return "HF_TOKEN holds letters that no token has (set it again, or unset it)"
    if _lacks_certificates(error, said) and (missing := missing_certificates()):
        return missing
    if "ImportError" in kinds and "SOCKS" in said:
        return f"{_proxy() or 'a proxy'} is SOCKS, which needs a package (`pip install socksio`)"
    if not kinds & UNANSWERED:
        return ""
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return "the hub's certificate is not trusted here (name your network's in SSL_CERT_FILE)"
    if proxy := _proxy():
        return f"the hub does not answer through the proxy that {proxy} names"
    if os.environ.get("HF_ENDPOINT"):
        return "the hub that HF_ENDPOINT names does not answer"
    broken_off = kinds & BROKEN_OFF
    return "the connection to the hub broke off" if broken_off else "there is no network"


def may_pass(error: BaseException) -> bool:
    """Return whether asking the hub again later may do: it did not answer, or is out of order."""
    said = why_unanswered(error)
    if said:
        return said.endswith(MAY_PASS)
    answers = (getattr(each, "response", None) for each in led_to(error))
    status = next((each.status_code for each in answers if each is not None), 0)
    return isinstance(status, int) and (status == 429 or status >= 500)


def refusal(name: str, error: BaseException) -> str:
    """Return one line on how the hub refused something that it knows, nothing if it did not.

    Args:
        name: of the model or dataset, as it is shown.
        error: what was raised.
    """
    kinds = kinds_of(error)
    if "GatedRepoError" in kinds:
        return f"the hub asks for consent to {name}: accept its terms there and set HF_TOKEN"
    if "RevisionNotFoundError" in kinds:
        return f"the hub has no such revision of {name}: check the branch, tag or commit"
    answers = (getattr(each, "response", None) for each in led_to(error))
    status = next((each.status_code for each in answers if each is not None), 0)
    if "RepositoryNotFoundError" in kinds or not isinstance(status, int):
        return ""
    if status in (401, 403):
        return f"the hub refuses {name} ({status}): set HF_TOKEN to a token that may read it"
    if status == 429:
        return f"the hub refuses {name} for too many requests ({status}): wait, or set HF_TOKEN"
    if status >= 500:
        return f"the hub is out of order ({status}) and does not give {name}: try again later"
    return ""


def unkept(error: BaseException) -> str:
    """Return what of this machine's disk stood in the way, and the way out; nothing if none did."""
    numbers = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
    for each in led_to(error):
        if isinstance(each, OSError) and each.errno in numbers:
            place = f"{each.filename}: " if each.filename else ""
            return f"{place}{each.strerror}; {way_out(each)}, or name another folder with HF_HOME"
    return ""


def _offline(names: tuple[str, ...]) -> str:
    found = [name for name in names if os.environ.get(name, "").upper() in SWITCHED_ON]
    return f"{found[0]} is set, so the hub is not asked (unset it)" if found else ""


def _lacks_certificates(error: BaseException, said: str) -> bool:
    # Python's TLS does not say which file it did not find
    unnamed = any(
        isinstance(each, FileNotFoundError) and each.errno and not each.filename
        for each in led_to(error)
    )
    return unnamed or "CA certificate bundle" in said


def _proxy() -> str:
    """Return which variable names the proxy to the hub; nothing if the hub is asked directly."""
    hub = urlsplit(os.environ.get("HF_ENDPOINT") or PUBLIC_HUB)
    if proxy_bypass(hub.netloc):
        return ""
    names = [f"{hub.scheme}_proxy", "all_proxy"]
    either = [each for name in names for each in (name, name.upper())]
    return next((name for name in either if os.environ.get(name)), "")
