"""Articles that a corpus holds as one row a paragraph, as wikitext does: their rows are joined."""

import re
from collections.abc import Iterator
from itertools import chain

from gatehouse.ingest.rows import Broken, Document

TITLE = re.compile(r"\s*= (?!=)\S(.*\S)?(?<!=) =\s*")
"""A row that opens an article: ` = Title = `; ` = = Section = = ` does not."""


def joined_articles(rows: Iterator[Document | Broken]) -> Iterator[Document | Broken]:
    """Yield one document for each article where the first row with text is an article's title.

    An article has the name and the domain of its title's row, and the rows up to the next title.
    Any other corpus passes as it is, and so do broken rows.
    """
    opening: list[Document | Broken] = []
    for row in rows:
        opening.append(row)
        if not isinstance(row, Broken) and row.text.strip():
            break
    else:
        yield from opening
        return
    everything = chain(opening, rows)
    yield from _articles(everything) if TITLE.fullmatch(row.text) else everything


def _articles(rows: Iterator[Document | Broken]) -> Iterator[Document | Broken]:
    title: Document | None = None
    paragraphs: list[str] = []
    for row in rows:
        if isinstance(row, Broken):
            yield row
        elif TITLE.fullmatch(row.text):
            if title:
                yield title._replace(text="".join(paragraphs))
            title, paragraphs = row, [_line(row.text)]
        elif title:
            paragraphs.append(_line(row.text))
        else:
            # what stands before the first title has no text, but is counted
            yield row
    if title:
        yield title._replace(text="".join(paragraphs))


def _line(text: str) -> str:
    return text if text.endswith("\n") else f"{text}\n"
