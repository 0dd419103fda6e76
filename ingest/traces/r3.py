"""Routing of reinforcement learning's rollouts: what slime and miles save to debug them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gatehouse.ingest.traces.arrays import count, integers, token_ids
from gatehouse.ingest.traces.likeness import of_another_format
from gatehouse.ingest.traces.sequence import Format, Layout, RoutedSequence
from gatehouse.ingest.traces.torch_files import as_array, loaded
from gatehouse.warehouse.errors import GatehouseError

SUFFIXES = (".pt", ".pth")


def read(paths: list[Path], layout: Layout) -> Iterator[RoutedSequence]:
    """Yield the sequence of each sample of files of `--save-debug-rollout-data`.

    The samples of a group share a prompt, so a group is a document. All of a file but tensors is
    in memory, as its format has it.

    Raises:
        GatehouseError: a file is no such dump; a sample has no routing, or of another length.
    """
    for path in paths:
        if path.suffix.lower() not in SUFFIXES:
            raise of_another_format(path, "r3", SUFFIXES)
        dump = loaded(path)
        samples = dump.get("samples") if isinstance(dump, Mapping) else None
        if not isinstance(samples, list):
            raise GatehouseError(
                f"{path} is no rollout of slime or miles, which has `samples`: save one with "
                "--save-debug-rollout-data"
            )
        for index, sample in enumerate(samples):
            if not isinstance(sample, Mapping):
                raise GatehouseError(f"{path} sample {index} is no dictionary: save it as it came")
            yield _sequence(sample, f"{path} sample {index}", f"{path.name} sample {index}")


def _sequence(sample: Mapping[str, Any], where: str, name: str) -> RoutedSequence:
    routed, tokens = sample.get("rollout_routed_experts"), sample.get("tokens")
    if routed is None or tokens is None:
        missing = "tokens" if tokens is None else "rollout_routed_experts"
        raise GatehouseError(
            f"{where} has no `{missing}`: roll out with routing replay (R3), or leave it out"
        )
    place = f"{where} `rollout_routed_experts`"
    experts = integers(as_array(routed, place), place, 3)
    ids = token_ids(as_array(tokens, where), f"{where} `tokens`")
    assert ids is not None
    made = count(sample.get("response_length"), f"{where} `response_length`")
    if len(experts) != len(ids) - 1 or made > len(ids):
        raise GatehouseError(
            f"{where} has {len(ids):,} tokens, {made:,} of them its response, and {len(experts):,} "
            "rows of routing, where all tokens but the last have one: leave it out"
        )
    group = sample.get("group_index")
    return RoutedSequence(
        name=name,
        token_ids=ids,
        experts=experts,
        prompt_tokens=len(ids) - made,
        document=None if group is None else f"group {group}",
    )


FORMAT = Format(
    "r3",
    "slime and miles: rollouts of --save-debug-rollout-data with routing replay (R3)",
    SUFFIXES,
    read,
    """python train.py … --use-rollout-routing-replay \\
  --save-debug-rollout-data rollout_{rollout_id}.pt""",
)
