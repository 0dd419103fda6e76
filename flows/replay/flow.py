"""The replay of a run as a Prefect flow: measure what is missing, then build the marts with it."""

from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from gatehouse.flows.console import say
from gatehouse.flows.pipeline import build_task
from gatehouse.flows.replay.answer import replay_parts, replayed_text
from gatehouse.flows.replay.planned import Part
from gatehouse.flows.replay.request import ReplayRequest
from gatehouse.flows.replay.session import ReplaySession
from gatehouse.flows.request import takes_fields
from gatehouse.warehouse.notes.run_names import find_run
from gatehouse.warehouse.paths import Paths


@task(name="replay part", cache_policy=NO_CACHE)
def replay_part_task(session: ReplaySession, part: Part) -> int:
    """Replay some samples and land what it cost."""
    return session.measure(part)


@flow(name="gatehouse-replay", flow_run_name="replay {run}")
@takes_fields(request=ReplayRequest)
def replay_flow(run: str, **parameters: Any) -> str:
    """Replay a run's held-out text under policies, and build the marts; return what it cost.

    Args:
        run: a finished run's id or name.
        num_samples: held-out samples to replay.
        table: tokens and bigrams: lookup tables in the place of routers.
        min_share: of a table: least share of the most frequent set of experts; several are tried.
        min_frequency: of a table: fewest occurrences in the train split.
        frequency_threshold: of VAR's rule: a token occurs more often than this.
        entropy_threshold: of VAR's rule: its mean entropy is below this, in nats.
        most_frequent: of a table: this many most frequent tokens.
        ids_only: the router weights the experts that the table names.
        layer: MoE layers to overrule: an index, several as 0,2, or all.
        drop_below: experts with a smaller share of their token's weights are not used.
        drop_entropy: tokens whose entropy is below this have one expert.
        mask: experts of each layer to switch off, as load:2, gate-mass:2 or reap:2.
        routing_of: runs whose routing of the same text is used.
        batch_size: memory of a batch; default: as the run was captured.
        device_map: as in the flow `gatehouse`.
        trust_remote_code: whether code from the model's repository may run.
        workers: replay with this many processes of this machine.
        scheduler: replay with the workers of the Dask scheduler at this address.
    """
    paths = Paths.resolve()
    request = ReplayRequest(**parameters)
    run_id = find_run(paths.lake, run)
    say(build_task(paths))
    with ReplaySession(run_id, request, paths) as session:
        replay_parts(session, replay_part_task)
    say(build_task(paths))
    return replayed_text(session, paths)
