"""Known vulnerabilities of the pinned packages, as pip-audit reports them.

    python -m tests.tools.audit [REPORT]

runs pip-audit on constraints.txt, or reads a JSON report that it wrote. If pip-audit cannot reach
its services, it finds nothing and reports success; this program says that nothing was audited.
"""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
LISTED = 8
COMMAND = "-m pip_audit --requirement constraints.txt --no-deps --disable-pip --format json"


def main(report: Path | None = None) -> int:
    """Print one line per vulnerability found; return 1 if there is any."""
    text = report.read_text(encoding="utf-8") if report else ask()
    if text is None:
        print("audit: pip-audit is not installed, nothing was audited")
        return 0
    try:
        dependencies = json.loads(text)["dependencies"]
    except ValueError:
        print("audit: pip-audit did not reach its service, nothing was audited")
        return 0
    found = vulnerabilities(dependencies)
    print("\n".join([*found, summary(dependencies)]))
    return 1 if found else 0


def ask() -> str | None:
    """Return pip-audit's report on constraints.txt, None where it is not installed."""
    if find_spec("pip_audit") is None:
        return None
    command = [sys.executable, *COMMAND.split(), "--progress-spinner", "off"]
    return subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT).stdout


def vulnerabilities(dependencies: list[dict[str, Any]]) -> list[str]:
    """Return a line for each known vulnerability: package, id, and the versions that fix it."""
    return [
        f"audit: {package['name']} {package['version']} has {each['id']}: "
        f"{', '.join(each.get('fix_versions') or ['no version'])} fixes it"
        for package in dependencies
        for each in package.get("vulns", [])
    ]


def summary(dependencies: list[dict[str, Any]]) -> str:
    """Return how many packages were audited, and which were not."""
    skipped = [each["name"] for each in dependencies if "skip_reason" in each]
    audited = len(dependencies) - len(skipped)
    if not audited:
        return f"audit: nothing was audited, the service knew none of {len(skipped)} packages"
    line = f"audit: {audited} packages audited"
    if skipped:
        more = f" and {len(skipped) - LISTED} more" if len(skipped) > LISTED else ""
        line += f", the service did not know {', '.join(skipped[:LISTED])}{more}"
    return line


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
