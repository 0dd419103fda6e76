"""The import of any format: events of tokens, or counts of experts."""

from gatehouse.flows.steps.importing.import_counts import CountsSummary, import_counts
from gatehouse.flows.steps.importing.import_trace import ImportSummary, import_trace
from gatehouse.flows.steps.importing.imported_run import ImportRequest
from gatehouse.flows.steps.workers.part import Part, PartSummary
from gatehouse.ingest.traces.formats import COUNTS
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths


def import_files(
    request: ImportRequest, paths: Paths, part: Part | None = None
) -> ImportSummary | CountsSummary | PartSummary:
    """Land what another engine recorded as a run; return what the run holds.

    Raises:
        GatehouseError: as `import_trace` and `import_counts` say.
    """
    if request.format != COUNTS.name:
        return import_trace(request, paths, part)
    if part or request.asked_workers:
        raise GatehouseError(
            "counts are one small table, which is not cut: leave out --workers, --scheduler and "
            "--rank"
        )
    return import_counts(request, paths)
