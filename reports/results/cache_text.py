"""What `gatehouse cache` prints: the curve, the working set, and one sentence of advice."""

import math
from contextlib import closing

from gatehouse.reports.inference.cache_curve import USABLE, CacheCurves, cache_curves
from gatehouse.reports.inference.cache_sentences import (
    GIGABYTE,
    PHASES,
    Experts,
    advice,
    domains,
    experts_of,
    memory,
    working_set,
)
from gatehouse.reports.marts.caches import cache_transfers, cached_documents, shared_caches
from gatehouse.reports.marts.runs import layers, resolve_run, run_summary
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.plain_text import counted
from gatehouse.warehouse.records import precision

POLICIES = (*USABLE, "belady", "static_hindsight")
MOST_ROWS = 12


def cache_text(
    run_id: str | None,
    paths: Paths,
    *,
    slots: int | None = None,
    gigabytes: float | None = None,
    policy: str | None = None,
) -> str:
    """Return what caches of experts would do for a run.

    Args:
        run_id: the run; None for the latest one with events.
        paths: the warehouse.
        slots: of each MoE layer, for the sentence of advice.
        gigabytes: of memory for experts of all layers, in place of slots.
        policy: of POLICIES, to be shown alone and advised on.

    Raises:
        GatehouseError: there is no such run or policy, the run has no events, is of another build,
            or does not tell how large its experts are, or the memory holds no expert.
    """
    if slots is not None and gigabytes is not None:
        raise GatehouseError("give --gb or --slots, not both")
    if policy is not None and policy not in POLICIES:
        raise GatehouseError(f"no policy is called {policy!r}: name one of {', '.join(POLICIES)}")
    with closing(connect(paths)) as connection:
        run_id = resolve_run(connection, run_id)
        run = run_summary(connection, run_id)
        experts = experts_of(layers(connection, run_id))
        documents = cached_documents(connection, run_id)
        shared = shared_caches(connection, run_id)
        transfers = cache_transfers(connection, run_id)
    curves = cache_curves(documents, experts.num_experts)
    if not curves:
        raise GatehouseError(
            f"{run_id} has no events, only counts of experts: caches need the order of tokens; "
            "name another run"
        )
    if policy is not None and all(policy not in each.hits for each in curves):
        lacking = (
            "no generated text, which is what static_prompt serves"
            if policy == "static_prompt"
            else "no train split beside other text, which is what static_train learns from"
        )
        raise GatehouseError(f"{run_id} has {lacking}: name another policy")
    if gigabytes is not None:
        slots = _slots_in(gigabytes, experts, run_id)
    if slots is not None and not 1 <= slots <= experts.num_experts:
        raise GatehouseError(
            f"a layer of {run_id} has {experts.num_experts} experts: give --slots 1 to "
            f"{experts.num_experts}"
        )
    known = precision(run)
    known = "precision unknown" if known == "unknown" else known
    blocks = [[f"{run_id} ({known})", *_experts_lines(experts)]]
    for each in curves:
        if policy is None or policy in each.hits:
            place = each.most_telling if slots is None else each.place_of(slots)
            blocks += [
                _table(each, experts, policy, place),
                [
                    advice(each, experts, place, slots, policy),
                    *domains(
                        documents, transfers if each is curves[0] else None, each, place, policy
                    ),
                ],
                [working_set(shared[shared["phase"] == each.phase], experts)],
            ]
    return "\n\n".join("\n".join(block) for block in blocks)


def _slots_in(gigabytes: float, experts: Experts, run_id: str) -> int:
    if experts.slot_bytes is None:
        raise GatehouseError(
            f"{run_id} does not tell how large its experts are: give --slots, up to "
            f"{experts.num_experts} a layer"
        )
    if not 0 < gigabytes < math.inf:
        raise GatehouseError(f"--gb {gigabytes}: give a number of gigabytes, such as 8")
    slots = int(min(gigabytes * GIGABYTE / experts.slot_bytes, experts.num_experts))
    if slots < 1:
        raise GatehouseError(
            f"{gigabytes:g} GB hold less than one expert of each layer: give --gb "
            f"{experts.slot_bytes / GIGABYTE:.3g} or more"
        )
    return slots


def _experts_lines(experts: Experts) -> list[str]:
    line = (
        f"{counted(experts.layers, 'MoE layer')}, {experts.num_experts} experts each, "
        f"{experts.top_k} a token"
    )
    if experts.all_bytes is None:
        return [f"{line}; how large an expert is, the run does not tell"]
    return [f"{line}; all experts take {memory(experts.all_bytes)}"]


def _table(curves: CacheCurves, experts: Experts, policy: str | None, place: int) -> list[str]:
    """Return the curve: a row a size, that at `place` among them, hit rates in percent."""
    shown = [policy] if policy else curves.policies
    columns = ["slots a layer", *(["memory"] if experts.slot_bytes else []), *shown, "chance"]
    step = -(-len(curves.sizes) // MOST_ROWS)
    rows = []
    # from the largest size, so that all experts are among them
    for row in sorted({place, *range(len(curves.sizes) - 1, -1, -step)}):
        slots = int(curves.sizes[row])
        held = [memory(slots * experts.slot_bytes)] if experts.slot_bytes else []
        rates = [f"{curves.rates(each)[row]:.1%}" for each in shown]
        rows.append([f"{slots}", *held, *rates, f"{curves.chance(row):.1%}"])
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        for cells in (columns, *rows)
    ]
    of_sizes = f" at {len(rows)} of {len(curves.sizes)} sizes" if step > 1 else ""
    return [
        f"Hit rates of a cache for each layer{of_sizes}, on "
        f"{counted(curves.documents, 'document')} of {PHASES[curves.phase]}:",
        *lines,
    ]
