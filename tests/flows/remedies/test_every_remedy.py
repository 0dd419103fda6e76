"""No remedy is forgotten: what the sources print is in the table, or stands aside with a reason."""

import re
import tomllib
from importlib import metadata

from tests.flows.remedies.elsewhere import ELSEWHERE
from tests.flows.remedies.printed import CHECKOUT, remedies
from tests.flows.remedies.table import PAGE, TABLE, section

PRINTED = remedies()
LINES = [row.says for row in TABLE]


def test_what_is_printed_is_carried_out():
    known = (*LINES, *ELSEWHERE)
    assert len(PRINTED) > 150
    assert [each for each in PRINTED if not any(map(each.is_in, known))] == []


def test_the_page_shows_the_table():
    assert PAGE.read_text(encoding="utf-8").endswith(f"\n\n{section()}")


def test_what_stands_aside_is_printed_and_its_test_is_there():
    for line, where in ELSEWHERE.items():
        assert any(printed.is_in(line) for printed in PRINTED), line
        if "::" in where:
            path, name = where.split("::")
            assert re.search(rf"^def {name}\(", (CHECKOUT / path).read_text(), re.M), where


def test_a_package_to_install_is_the_one_that_lacks():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "bitsandbytes" in project["optional-dependencies"]["quantize"]
    # the hub's client speaks through httpx
    assert any(each.startswith("socksio") for each in metadata.requires("httpx") or [])
    named = {name for each in PRINTED for name in re.findall(r"`pip install (\w+)`", each.text)}
    assert named == {"bitsandbytes", "socksio"}
