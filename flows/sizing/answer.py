"""What `--dry-run` answers."""

from gatehouse.flows.console import working
from gatehouse.flows.request import RunRequest
from gatehouse.flows.sizing.forecast import Forecast, free_bytes
from gatehouse.flows.sizing.trial import read_text, run_two_batches
from gatehouse.flows.steps.identity import plan_model, run_spec
from gatehouse.flows.steps.machine import share_of_machine
from gatehouse.flows.steps.prepare import prepare_samples
from gatehouse.ingest.prepare import shard_count
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.plain_text import in_bytes


def forecast(request: RunRequest, paths: Paths) -> Forecast:
    """Return what a run would take; its text is prepared, and nothing lands.

    Raises:
        GatehouseError: bad input, or routing that cannot be trusted.
    """
    plan = plan_model(request)
    prepared = prepare_samples(request, paths.prepared)
    run_id = run_spec(request, prepared, plan).run_id
    with working("counting tokens"):
        text = read_text(request, plan, prepared)
    with working(f"trying two batches on {plan.device_name}"):
        trial = run_two_batches(request, plan, text)
    shards = shard_count(prepared.path)
    return Forecast(
        name=f"{plan.name} on {prepared.dataset}",
        samples=prepared.num_samples,
        tokens=round(text.tokens_a_sample * prepared.num_samples),
        is_exact=text.shards == shards and not request.generate,
        shards=shards,
        landed=len(Lake(paths.lake).shards.finished(run_id)),
        trial=trial,
        batch=request.batch_size * request.max_length,
        device=plan.device_name,
        share=share_of_machine(),
        free_bytes=free_bytes(paths.root),
        bucket=paths.bucket,
    )


def check_room(found: Forecast, paths: Paths) -> None:
    """Refuse a run that the disk cannot hold.

    Raises:
        GatehouseError: it cannot.
    """
    if not found.fits:
        raise GatehouseError(
            f"the disk of {paths.root} has {in_bytes(found.free_bytes)} free, and the run needs "
            f"{in_bytes(found.disk_bytes)}: make room there, name another --home, or take fewer "
            "samples"
        )
