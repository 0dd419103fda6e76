"""Commands that show one text with its routing: trace, by a model, and show, as it landed."""

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatehouse.flows.cli import options, text_options
from gatehouse.flows.cli.options import paths_of
from gatehouse.flows.cli.run_options import OF_A_RUN
from gatehouse.flows.request import LOADING, RunRequest, takes_fields
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.notes.run_names import find_run
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.reserved import check_output_file

if TYPE_CHECKING:
    from gatehouse.reports.marts.traced_text import TracedText

TRACING = ("model", *LOADING, "max_length", "generate", "temperature", "seed")
"""The fields of a run that `trace` takes."""


@takes_fields(TRACING, OF_A_RUN)
def trace(
    text: text_options.TracedText,
    layer: text_options.ShownLayer = 0,
    output: text_options.TextPage = None,
    home: options.Home = None,
    **parameters: Any,
) -> None:
    """Route one text at once, and show which experts each of its tokens goes to."""
    paths = paths_of(home)
    _check(output, paths)
    request = RunRequest(**parameters, layer=str(layer))
    words = _read(text)
    from gatehouse.flows import trace as tracing

    _show(tracing.trace(request, words), layer, output)


def show(
    run: options.LatestRun = None,
    sample: text_options.ShownSample = 0,
    layer: text_options.ShownLayer = 0,
    output: text_options.TextPage = None,
    home: options.Home = None,
) -> None:
    """Show a sample that landed, and which experts its tokens went to; no model is run."""
    paths = paths_of(home)
    _check(output, paths)
    run = run and find_run(paths.lake, run)
    from gatehouse.reports.marts import resolve_run
    from gatehouse.reports.results.texts import landed_text
    from gatehouse.warehouse.connect import connect

    with closing(connect(paths)) as connection:
        run_id = resolve_run(connection, run)
        traced = landed_text(connection, run_id, sample, layer)
    _show(traced, layer, output)


def _check(output: Path | None, paths: Paths) -> None:
    if output is not None:
        check_output_file(output, paths)


def _read(text: str) -> str:
    """Return the text of the argument, or of standard input where that is `-`."""
    try:
        if text == "-":
            # as a capture reads a file
            words = sys.stdin.buffer.read().decode("utf-8-sig").replace("\r\n", "\n")
        else:
            words = text.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError as error:
        raise GatehouseError("the text is not in UTF-8: put it into UTF-8") from error
    if not words:
        raise GatehouseError('there is no text: gatehouse trace "some text", or - for a pipe')
    return words


def _show(traced: "TracedText", layer: int, output: Path | None) -> None:
    from gatehouse.flows.console import answer_coloured, say, short_path, terminal_width
    from gatehouse.reports.page.text_page import render_text
    from gatehouse.reports.results.coloured_text import pieces
    from gatehouse.warehouse.files import write_atomically

    if output is not None:
        page = render_text(traced, layer)
        write_atomically(output, lambda path: path.write_text(page, encoding="utf-8"))
    answer_coloured(pieces(traced, layer, terminal_width()))
    if output is not None:
        say(f"Page: {short_path(output)}")
