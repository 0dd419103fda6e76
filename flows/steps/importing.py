"""The import of any format: events of tokens, or counts of experts."""

from gatehouse.flows.steps.import_counts import CountsSummary, import_counts
from gatehouse.flows.steps.import_trace import ImportSummary, import_trace
from gatehouse.flows.steps.imported_run import ImportRequest
from gatehouse.ingest.traces.formats import COUNTS
from gatehouse.warehouse.paths import Paths


def import_files(request: ImportRequest, paths: Paths) -> ImportSummary | CountsSummary:
    """Land what another engine recorded as a run; return what the run holds.

    Raises:
        GatehouseError: as `import_trace` and `import_counts` say.
    """
    if request.format == COUNTS.name:
        return import_counts(request, paths)
    return import_trace(request, paths)
