"""Text in CSV that no spreadsheet takes for a formula, for those who ask for it."""

import pyarrow as pa
import pyarrow.compute as pc

FORMULA = "^'*[=+@\t\r\n-]"
"""Text that a spreadsheet may run, or such text with quotes before it (OWASP, CSV injection)."""

NUMBER = r"^'*-([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
"""Text that begins with a minus but is not a formula."""


def guarded(texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return strings with a `'` before each that FORMULA matches and NUMBER does not.

    No two texts become one: without its first `'`, a guarded text is what it was.

    `reports/page/assets/scripts/core/format.js` has the same rule for the page's downloads.
    """
    found = pc.match_substring_regex(texts, FORMULA)
    formula = pc.and_not(found, pc.match_substring_regex(texts, NUMBER))
    return pc.if_else(formula, pc.binary_join_element_wise("'", texts, ""), texts)
