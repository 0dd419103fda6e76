"""What of the user's environment reaches what Gatehouse starts, and why: the one list of it.

A process that Gatehouse starts begins with the variables of LET_IN and no others. What runs in the
user's own process sees all of it but what is SET_ASIDE. `docs/environment.md` shows both lists.
"""

import os
import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path


@dataclass(frozen=True)
class Variables:
    """Some variables of the environment.

    Attributes:
        names: their names, as patterns of a shell.
        why: why they are let in, or set aside and for how long.
    """

    names: tuple[str, ...]
    why: str

    def hold(self, name: str) -> bool:
        """Return whether a variable is one of these."""
        return any(fnmatchcase(name, pattern) for pattern in self.names)


LET_IN = (
    Variables(("GATEHOUSE_*",), "Gatehouse's own settings"),
    Variables(("PATH", "HOME", "USER", "LOGNAME"), "who the user is, and where programs are"),
    Variables(
        ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "LD_LIBRARY_PATH"),
        "the same packages and libraries as in the command's own process",
    ),
    Variables(
        ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"), "where compiled Python may be written"
    ),
    Variables(("XDG_CACHE_HOME", "XDG_DATA_HOME"), "where Gatehouse's cache and home are"),
    Variables(("TMPDIR", "TEMP", "TMP"), "where temporary files may be written"),
    Variables(("LANG", "LC_*", "PYTHONUTF8"), "how names of files are encoded"),
    Variables(("DO_NOT_TRACK",), "no telemetry"),
)
"""What Prefect's own servers and the processes that parse the dbt project and draw begin with."""

PREFECT = Variables(
    ("PREFECT_*",),
    "during `gatehouse run` without `PREFECT_API_URL`: Prefect's client and its server have "
    "settings of Gatehouse's own, and read no `prefect.toml`, `pyproject.toml`, `.env` or profile; "
    "with `PREFECT_API_URL` all of it is the user's",
)
DBT = Variables(
    ("DBT_*",),
    "while Gatehouse runs dbt, on its own project with its own profile; `dbt` by hand has them",
)
MATPLOTLIB = Variables(
    ("MPLBACKEND",),
    "while matplotlib is imported: figures are files and need no backend; they begin from "
    "matplotlib's defaults, whatever a `matplotlibrc` says",
)
CERTIFICATES = Variables(
    ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    "while Prefect is imported, and for its client: it speaks plain HTTP with a server on this "
    "machine; downloads from the hub heed them",
)
PROXIES = Variables(
    ("*_PROXY", "*_proxy"),
    "for Prefect's client: it asks 127.0.0.1 directly; downloads from the hub heed them",
)
DASK = Variables(
    ("DASK_*",),
    "during `--workers`: the cluster on this machine has settings of Gatehouse's own, and reads no "
    "`~/.config/dask`; with `--scheduler` they are the user's",
)
WARNINGS = Variables(
    ("PYTHONWARNINGS",),
    "in a command's process: a warning of a library's is no reason to end it",
)
SET_ASIDE = (PREFECT, CERTIFICATES, PROXIES, DBT, DASK, MATPLOTLIB, WARNINGS)
"""What does not reach a library that runs in the user's own process; it is put back afterwards."""

LIBRARIES = {
    "datasets": "HF_*",
    "huggingface_hub": "HF_*",
    "prefect": "PREFECT_*",
    "torch": "*TORCH*",
    "transformers": "TRANSFORMERS_*",
}
"""Packages that read settings as they are imported -> the variables that these are in."""

LOOPBACK = "127.0.0.1"


def of_a_process() -> dict[str, str]:
    """Return what a process that Gatehouse starts begins with."""
    return {
        name: value
        for name, value in os.environ.items()
        if any(variables.hold(name) for variables in LET_IN)
    }


@contextmanager
def chosen(aside: Variables, settings: Mapping[str, str] | None = None) -> Iterator[None]:
    """Replace some variables of this process in the block; what was there is back after it.

    Args:
        aside: variables that the block does not see, unless it sets them itself.
        settings: what it sees instead.
    """
    settings = settings or {}

    def concerned() -> dict[str, str]:
        return {
            name: value
            for name, value in os.environ.items()
            if aside.hold(name) or name in settings
        }

    before = concerned()
    _replace(before, settings)
    try:
        yield
    finally:
        _replace(concerned(), before)


def _replace(old: Mapping[str, str], new: Mapping[str, str]) -> None:
    for name in old:
        os.environ.pop(name, None)
    os.environ.update(new)


def ask_this_machine_directly() -> None:
    """Let programs that heed NO_PROXY ask 127.0.0.1 without a proxy; other hosts are as before."""
    # where both are set, most programs read the one in small letters only
    names = [name for name in ("NO_PROXY", "no_proxy") if os.environ.get(name)] or ["no_proxy"]
    for name in names:
        hosts = os.environ.get(name, "")
        # a star among others is no pattern
        if hosts.strip() != "*" and LOOPBACK not in hosts.split(","):
            os.environ[name] = ",".join(filter(None, [hosts, LOOPBACK]))


def missing_certificates() -> str:
    """Return what names certificates that are not there; nothing where none does."""
    for name in CERTIFICATES.names:
        place = os.environ.get(name)
        if place and not Path(place).exists():
            return f"{name} names {place}, which is not there (unset it, or name what is there)"
    return ""


def unreadable(error: BaseException) -> str:
    """Return one line on a setting that a library cannot be imported with; nothing for others."""
    patterns = [
        LIBRARIES.get(str(frame.f_globals.get("__name__")).partition(".")[0], "")
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_name == "<module>"
    ]
    if not isinstance(error, ValueError):
        return ""
    # of pydantic, which also lists the values that it would take
    said = " ".join(re.findall(r"input_value=(\S+)", str(error))) or str(error)
    for name, value in os.environ.items():
        quotes = rf"(?<!\w){re.escape(value)}(?!\w)"
        concerned = any(fnmatchcase(name, pattern) for pattern in patterns)
        if concerned and value and re.search(quotes, said, re.IGNORECASE):
            return f"{name} holds what cannot be read: unset it, or correct it"
    return ""
