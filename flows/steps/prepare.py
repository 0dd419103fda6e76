"""The text of a run: prepared once, ahead of the run or in it, with progress."""

from pathlib import Path

from gatehouse.flows.console import bar, say
from gatehouse.flows.request import RunRequest
from gatehouse.ingest.fields import Fields
from gatehouse.ingest.prepare import Prepared, prepare

_read_ahead: dict[tuple[RunRequest, Path], Prepared] = {}


def prepare_samples(request: RunRequest, folder: Path) -> Prepared:
    """Prepare the request's dataset under `folder`; say what is read and what is left out."""
    prepared = _read_ahead.pop((request, folder), None) or _read(request, folder)
    for line in prepared.notes:
        say(line)
    return prepared


def read_ahead(request: RunRequest, folder: Path) -> None:
    """Prepare the request's dataset now; `prepare_samples` for the same request finds it done."""
    _read_ahead[request, folder] = _read(request, folder)


def _read(request: RunRequest, folder: Path) -> Prepared:
    with bar("preparing samples", request.num_samples) as moved:
        return prepare(
            request.dataset,
            num_samples=request.num_samples,
            first_sample=request.first_sample,
            folder=folder,
            create_splits=request.create_splits,
            skip_broken=request.skip_broken,
            lines=request.lines,
            fields=Fields(
                request.text_field,
                request.domain_field,
                request.document_field,
                request.chat_as_text,
            ),
            progress=moved,
            say=say,
        )
