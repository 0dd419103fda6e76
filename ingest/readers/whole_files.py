"""Files that hold one document each: plain text, Markdown, reStructuredText, and HTML's text."""

import codecs
import re
from collections.abc import Iterator
from contextlib import suppress
from html.parser import HTMLParser

from gatehouse.ingest.fields import Fields
from gatehouse.ingest.rows import Broken, Document
from gatehouse.warehouse.contents.opened import Contents

NOT_UTF8 = "re-encode it from the encoding that it was written in, `iconv -f ENCODING -t utf-8`"
"""The way out of a text that is not UTF-8."""

CHARSET = re.compile(
    rb"""<(?:meta\b[^>]*?\bcharset|\?xml\b[^>]*?\bencoding)\s*=\s*["']?([\w:.-]+)""", re.IGNORECASE
)
"""How a page names its encoding, in its beginning."""
CHARSET_BYTES = 4096

UNSEEN = {"script", "style"}
"""Elements whose content is no text."""

WITHIN_A_LINE = set(
    "a abbr b bdi bdo big cite code data del dfn em font i img ins kbd label mark q rp rt ruby s "
    "samp small span strong sub sup time tt u var wbr".split()
)
"""Elements that do not begin a line of their own."""


def read_whole(
    contents: Contents, name: str, domain: str, fields: Fields
) -> Iterator[Document | Broken]:
    """Yield the file as one document, without byte order mark and with `\\n` line ends."""
    text = _text(contents)
    yield text if isinstance(text, Broken) else Document(name, domain, text)


def read_html(
    contents: Contents, name: str, domain: str, fields: Fields
) -> Iterator[Document | Broken]:
    """Yield the text of an HTML file as one document, without scripts and styles."""
    source = _text(contents, CHARSET)
    if isinstance(source, Broken):
        yield source
        return
    page = _Page()
    try:
        page.feed(source)
        page.close()
    except (AssertionError, ValueError):  # the parser's own, on a marked section that it lacks
        yield Broken(f"{contents.where} is not HTML", "mend or remove the file")
        return
    yield Document(name, domain, page.text)


class _Page(HTMLParser):
    """Collects the text of a page: a line for each block, white space as a browser shows it."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[str] = []
        self._unseen = 0
        self._preformatted = 0

    @property
    def text(self) -> str:
        joined = re.sub(r"[ \t]+\n", "\n", "".join(self._parts))
        return re.sub(r"\n{3,}", "\n\n", joined).strip("\n") + "\n"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._unseen += tag in UNSEEN
        self._preformatted += tag == "pre"
        self._begin_line(tag)

    def handle_endtag(self, tag: str) -> None:
        self._unseen = max(self._unseen - (tag in UNSEEN), 0)
        self._preformatted = max(self._preformatted - (tag == "pre"), 0)
        self._begin_line(tag)

    def handle_data(self, data: str) -> None:
        if self._unseen:
            return
        if not self._preformatted:
            data = re.sub(r"\s+", " ", data)
            if not self._parts or self._parts[-1].endswith((" ", "\n")):
                data = data.lstrip(" ")
        if data:
            self._parts.append(data)

    def _begin_line(self, tag: str) -> None:
        if tag not in WITHIN_A_LINE | UNSEEN and self._parts:
            self._parts.append("\n")


def _text(contents: Contents, charset: re.Pattern[bytes] | None = None) -> str | Broken:
    """Return the text of a file in UTF-8, or in the encoding that the pattern finds in its head."""
    content = contents.stream.read().removeprefix(codecs.BOM_UTF8)
    named = charset.search(contents.head[:CHARSET_BYTES]) if charset else None
    try:
        return content.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        if named:
            # the encoding may be unknown, or not the true one
            with suppress(LookupError, ValueError):
                return content.decode(_encoding(named[1])).replace("\r\n", "\n")
        line = content.count(b"\n", 0, error.start) + 1
        return Broken(f"{contents.where} line {line} is not UTF-8", NOT_UTF8)


def _encoding(name: bytes) -> str:
    """Return the encoding that a browser takes for one that a page names."""
    encoding = codecs.lookup(name.decode("ascii")).name
    if encoding.startswith("utf-16"):  # a page that could say so in single bytes is not
        return "utf-8"
    return "cp1252" if encoding in ("iso8859-1", "ascii") else encoding
