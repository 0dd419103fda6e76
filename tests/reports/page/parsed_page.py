"""An HTML page taken apart: tags, attributes, text, scripts, and the data that it carries."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

VOID = {"meta", "img", "link", "br", "hr", "input"}


def _refused(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


class Page(HTMLParser):
    """Tags, attributes, text and scripts of a page; refuses tags that are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("script", "style"):
            self.scripts.append(data) if self.open[-1] == "script" else None
        else:
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))

    @property
    def data(self) -> dict:
        return json.loads(self.scripts[0], parse_constant=_refused)

    @property
    def policy(self) -> dict[str, str]:
        """The content security policy, by directive."""
        content = next(each["content"] for each in self.all("meta") if "http-equiv" in each)
        return dict(part.strip().split(" ", 1) for part in content.split(";"))

    @property
    def hashes(self) -> list[str]:
        """The hashes of the scripts that would run, as a policy names them."""
        digests = [hashlib.sha256(text.encode()).digest() for text in self.scripts[1:]]
        return [f"'sha256-{base64.b64encode(each).decode()}'" for each in digests]
