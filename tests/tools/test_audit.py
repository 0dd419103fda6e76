"""The check of known vulnerabilities can fail, and says when it has checked nothing."""

import json

import pytest

from tests.tools.audit import main

CLEAN = {"name": "duckdb", "version": "2.0.0", "vulns": []}
BAD = {
    "name": "rich",
    "version": "15.0.0",
    "vulns": [{"id": "PYSEC-2026-1", "fix_versions": ["15.0.1"], "aliases": ["CVE-2026-1"]}],
}
SKIPPED = {"name": "torch", "skip_reason": "not found on PyPI"}


@pytest.mark.parametrize(
    ("dependencies", "code", "last"),
    [
        ([CLEAN], 0, "audit: 1 packages audited"),
        ([CLEAN, SKIPPED], 0, "audit: 1 packages audited, the service did not know torch"),
        ([SKIPPED] * 2, 0, "audit: nothing was audited, the service knew none of 2 packages"),
        ([], 0, "audit: nothing was audited, the service knew none of 0 packages"),
        ([BAD, CLEAN, SKIPPED], 1, "audit: 2 packages audited, the service did not know torch"),
    ],
)
def test_a_report_fails_by_its_vulnerabilities(tmp_path, capsys, dependencies, code, last):
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"dependencies": dependencies, "fixes": []}))
    assert main(report) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == last
    assert lines[:-1] == ["audit: rich 15.0.0 has PYSEC-2026-1: 15.0.1 fixes it"] * code


@pytest.mark.parametrize("text", ["", "Traceback (most recent call last):\n"])
def test_no_report_is_said(tmp_path, capsys, text):
    report = tmp_path / "report.json"
    report.write_text(text)
    assert main(report) == 0
    assert "nothing was audited" in capsys.readouterr().out
