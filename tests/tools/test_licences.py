"""docs/licences.md lists every package of constraints.txt at its version, and what is carried."""

import json

from tests.tools.licences import CHECKOUT, TARGET, document, pins

TEXT = TARGET.read_text(encoding="utf-8")


def test_every_pinned_package_is_listed_at_its_version():
    rows = [line.strip("| ").split(" | ") for line in TEXT.splitlines() if line.startswith("| ")]
    packages = rows[rows.index(["package", "version", "licence"]) + 1 :]
    assert [(name, version) for name, version, _ in packages] == pins()
    assert all(licence and licence != "not stated" for *_, licence in packages)
    assert document([(name, version, licence) for name, version, licence in packages]) == TEXT


def test_what_is_vendored_is_listed():
    vendored = json.loads((CHECKOUT / "reports" / "page" / "assets" / "vendored.json").read_text())
    assert vendored["echarts.min.js"]["version"] in TEXT and "the bundled model" in TEXT


def test_copyleft_is_called_out():
    assert "of which one is copyleft:\nmine. They" in document(
        [("mine", "1", "LGPL-3.0-only"), ("yours", "1", "MIT")]
    )
    assert "None is under a copyleft" in document([("yours", "1", "MIT")])
