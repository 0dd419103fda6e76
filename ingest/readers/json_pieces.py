"""JSON that goes over lines, as a stream: an array's elements, or values one after the other."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

from gatehouse.ingest.readers.whole_files import NOT_UTF8
from gatehouse.warehouse.contents.opened import Contents

BLOCK_BYTES = 1 << 18
SPACE = re.compile(r"[ \t\n\r]*")
LONGEST_TOKEN = 16
"""Characters: so far from the end a word or an escape that is cut there may be reported."""

DECODER = json.JSONDecoder()


class NotJson(Exception):
    """From a `line` (from 1) on a text is no JSON: its `problem`, and the `remedy`."""

    def __init__(self, line: int, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.line, self.problem, self.remedy = line, problem, remedy


def array_elements(contents: Contents) -> Iterator[Any]:
    """Yield the elements of an array; no more than one, and a block, is in memory.

    Raises:
        NotJson: behind the elements that are whole, the text is no array.
    """
    text = _Text(contents)
    text.expect("[")
    if text.next_character() != "]":
        yield text.value()
        while text.next_character() == ",":
            text.expect(",")
            yield text.value()
    text.expect("]")
    text.expect("")


def values(contents: Contents) -> Iterator[Any]:
    """Yield values of JSON that stand one after the other, or the only one.

    Raises:
        NotJson: behind the values that are whole, the text is none.
    """
    text = _Text(contents)
    while text.next_character():
        yield text.value()


class _Text:
    """A text that is read as far as it is needed, and forgotten behind that."""

    def __init__(self, contents: Contents) -> None:
        self._stream = contents.stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text, self._at, self._line = "", 0, 1
        self._ended = self._not_utf8 = False

    def next_character(self) -> str:
        """Return the next character that is no space, nothing at the end."""
        while True:
            space = SPACE.match(self._text, self._at)
            assert space is not None
            self._at = space.end()
            if self._at < len(self._text) or self._ended:
                if self._at == len(self._text) and self._not_utf8:
                    raise self._problem(self._at, "")
                return self._text[self._at : self._at + 1]
            self._read(BLOCK_BYTES)

    def expect(self, character: str) -> None:
        """Pass over a character, or over nothing at the end."""
        if self.next_character() != character:
            expected = repr(character) if character else "the end"
            raise self._problem(self._at, f"Expecting {expected}")
        self._at += len(character)

    def value(self) -> Any:
        """Return the next value."""
        self.next_character()
        size = BLOCK_BYTES
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
                # more digits may follow
                if end < len(self._text) or self._ended:
                    self._at = end
                    return value
            except json.JSONDecodeError as error:
                if self._ended or not self._is_cut(error):
                    raise self._problem(error.pos, error.msg) from error
            except (ValueError, RecursionError) as error:
                raise self._problem(self._at, type(error).__name__) from error
            self._read(size)
            # a long value is not tried again for every block
            size *= 2

    def _is_cut(self, error: json.JSONDecodeError) -> bool:
        near_the_end = error.pos > len(self._text) - LONGEST_TOKEN
        return near_the_end or error.msg.startswith("Unterminated string")

    def _read(self, size: int) -> None:
        self._line += self._text.count("\n", 0, self._at)
        block = self._stream.read(size)
        try:
            self._ended = not block
            more = self._decoder.decode(block, final=self._ended)
        except UnicodeDecodeError as error:
            self._ended = self._not_utf8 = True
            more = error.object[: error.start].decode("utf-8-sig")
        self._text, self._at = self._text[self._at :] + more, 0

    def _problem(self, position: int, reason: str) -> NotJson:
        if self._not_utf8:
            position = len(self._text)
        line = self._line + self._text.count("\n", 0, position)
        if self._not_utf8:
            return NotJson(line, "is not UTF-8", NOT_UTF8)
        return NotJson(line, f"is not JSON ({reason})", "mend the file")
