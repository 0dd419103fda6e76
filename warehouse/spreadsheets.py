"""Text in CSV that no spreadsheet takes for a formula and that reads back unchanged."""

import pyarrow as pa
import pyarrow.compute as pc

FORMULA = "^'*[=+@\t\r\n-]"
"""Text that a spreadsheet may run, or such text with quotes before it (OWASP, CSV injection)."""

NUMBER = r"^'*-([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
"""Text that begins with a minus but is not a formula."""


def guarded(texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return strings with a `'` before each that FORMULA matches and NUMBER does not.

    `reports/page/assets/scripts/core/format.js` has the same rule for the page's downloads.
    """
    return pc.if_else(_is_formula(texts), pc.binary_join_element_wise("'", texts, ""), texts)


def unguarded(texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return the strings that `guarded` was given."""
    quoted = pc.and_(pc.starts_with(texts, "'"), _is_formula(texts))
    return pc.if_else(quoted, pc.utf8_slice_codeunits(texts, 1), texts)


def _is_formula(texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    found = pc.match_substring_regex(texts, FORMULA)
    return pc.and_not(found, pc.match_substring_regex(texts, NUMBER))
