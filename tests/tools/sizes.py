"""What runs of well-known models take, as docs/scaling.md lists it.

    python -m tests.tools.sizes

writes the table anew, from the builds that flows/sizing/measured.py has.
"""

import re
from pathlib import Path

from gatehouse.flows.sizing.measured import BUILDS, build_of
from gatehouse.warehouse.plain_text import in_bytes

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scaling.md"
TABLES = re.compile(r"(?<=<!-- python -m tests.tools.sizes -->\n).*?(?=\n\n)", re.DOTALL)

TOKENS = 512
"""Of each sample: the default of --max-length."""

MODELS = (
    ("Mixtral-8x7B", 32, 2),
    ("OLMoE-1B-7B", 16, 8),
    ("Qwen3-30B-A3B", 48, 8),
    ("DeepSeek-V3", 58, 8),
)
"""Name, MoE layers, experts that a token chooses."""

EVENT_BYTES = {2: 12.9, 8: 22.1}
"""As measured on the lakes that `make bench-warehouse` makes up."""

SAMPLES = (10_000, 100_000, 1_000_000)

HEAD = """| model | samples | events | lake | build, CPU hours |
|---|---|---|---|---|"""


def table() -> str:
    """Return the table in Markdown."""
    rows = [HEAD]
    for model, layers, top_k in MODELS:
        for samples in SAMPLES:
            events = samples * TOKENS * layers
            build = build_of(events, top_k)
            cells = (
                f"{model}, {layers} x top-{top_k}",
                f"{samples:,}",
                f"{events / 1e9:,.2g} G" if events < 1e10 else f"{events / 1e9:,.0f} G",
                in_bytes(events * EVENT_BYTES[top_k]),
                f"{build.cpu_seconds / 3600:,.{0 if build.cpu_seconds > 36_000 else 1}f}",
            )
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def measured() -> str:
    """Return the table of the builds that were measured, in Markdown."""
    head = """| experts of a token | events | build, CPU seconds | peak | database |
|---|---|---|---|---|"""
    rows = [
        f"| {each.top_k} | {each.events:,} | {each.cpu_seconds:,.0f} | "
        f"{in_bytes(each.peak_bytes)} | {in_bytes(each.database_bytes)} |"
        for each in BUILDS
    ]
    return "\n".join([head, *rows])


def page() -> str:
    """Return the page with both tables as they are now."""
    tables = iter((measured(), table()))
    return TABLES.sub(lambda _: next(tables), PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
