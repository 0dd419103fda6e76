"""From templates and assets to a page that fetches nothing and runs only its own scripts."""

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gatehouse.reports import colours

HERE = Path(__file__).parent
ASSETS = HERE / "assets"


@dataclass(frozen=True)
class Script:
    """The text of an inline script, and whether it is a module."""

    text: Markup
    module: bool

    @property
    def source(self) -> str:
        """The hash by which the page's content security policy allows it."""
        digest = hashlib.sha256(str(self.text).encode("utf-8")).digest()
        return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


@cache
def script(names: tuple[str, ...], module: bool = False) -> Script:
    """Return asset files joined into one script."""
    texts = [(ASSETS / name).read_text(encoding="utf-8") for name in names]
    return Script(Markup("\n".join(texts)), module)


def rendered(template: str, scripts: list[Script], data: str, **values: Any) -> str:
    """Return a template of `reports/page/templates` as HTML text.

    Args:
        template: its name.
        scripts: to put inline, in this order.
        data: JSON from `reports.page.packing.script_json`, for the page's script to read.
        values: for the names in the template.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (ASSETS / "page.css").read_text(encoding="utf-8") + _heat_map_colours()
    return environment.get_template(template).render(
        style=Markup(style),
        scripts=scripts,
        data=Markup(data),
        **values,
    )


def _heat_map_colours() -> str:
    """Return the colours that the page's heat maps share with the print figures, as CSS."""
    light, dark = (
        f"html {{ --shares: {', '.join(shares)}; --ratios: {', '.join(ratios)}; "
        f"--undefined: {undefined}; }}"
        for shares, ratios, undefined in (
            (colours.SHARES, colours.RATIOS, colours.UNDEFINED),
            (colours.SHARES_ON_DARK, colours.RATIOS_ON_DARK, colours.UNDEFINED_ON_DARK),
        )
    )
    return f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n"
