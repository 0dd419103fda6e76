"""What must hold for a sequence of any format, so that no engine's bug lands as routing."""

from dataclasses import dataclass

import numpy as np

from gatehouse.ingest.numbering import storable
from gatehouse.ingest.traces.laws.required import ANOTHER_MODEL, require
from gatehouse.ingest.traces.laws.scores import scored
from gatehouse.ingest.traces.laws.stale import stale_rows
from gatehouse.ingest.traces.laws.unrouted import (
    check_all_routed,
    check_dense_layers,
    of_moe_layers,
)
from gatehouse.ingest.traces.sequence import Layout, RoutedSequence
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import counted


@dataclass(frozen=True)
class Fitted:
    """A sequence that keeps every law: T routed tokens, L MoE layers, k experts.

    Attributes:
        name: where it is, for people.
        token_ids: [T] int32, None where they are unknown.
        experts: [T, L, k] uint16; in descending weight where `is_ordered`, else by id.
        weights: [T, L, k] float32, None where they are unknown.
        entropy: [T, L] float32, nats, None where the distribution is unknown.
        confidence: [T, L] float32, the largest probability, None with `entropy`.
        is_ordered: whether the order of the experts is that of their weights.
        prompt_tokens: how many of the tokens were given; None where all were.
        domain: the group that the file gives it, "" where it gives none.
        document: what it is a part of, None where it is a document by itself.
        expert_bytes: of an expert of each MoE layer, None where they are unknown.
        notes: what was left out or taken otherwise than the file says, a sentence each.
    """

    name: str
    token_ids: np.ndarray | None
    experts: np.ndarray
    weights: np.ndarray | None
    entropy: np.ndarray | None
    confidence: np.ndarray | None
    is_ordered: bool
    prompt_tokens: int | None
    domain: str
    document: str | None
    expert_bytes: tuple[int, ...] | None
    notes: tuple[str, ...] = ()


def fitted(sequence: RoutedSequence, layout: Layout, renormalised: bool = True) -> Fitted:
    """Return the sequence over its tokens with rows and the model's MoE layers.

    Rows belong to the last tokens, without the very last one where it has none: an engine
    leaves out the first tokens (`start`) of a prompt whose routing the user has, and does not
    route the last token, which nothing follows.

    Args:
        sequence: as a reader yields it.
        layout: of the model that was traced.
        renormalised: whether the model divides the weights of the chosen experts by their sum.
            It matters where there are logits alone.

    Raises:
        GatehouseError: a law does not hold. It names the sequence, the law with its numbers, the
            likely cause, and the way out.
    """
    if sequence.logits is None:
        experts, weights, is_ordered = _as_chosen(sequence, layout)
        entropy, confidence, on_scores = None, None, ""
    else:
        found = scored(sequence.name, sequence.logits, layout, renormalised)
        experts, weights, is_ordered = found.experts.astype(np.uint16), found.weights, True
        entropy, confidence = found.entropy, found.confidence
        on_scores = "its scores are probabilities" if found.of_probabilities else ""
    token_ids, prompt_tokens, notes = _beside_rows(sequence, len(experts))
    if token_ids is not None:
        _check_no_row_is_stale(sequence.name, experts, token_ids, layout)
    return Fitted(
        storable(sequence.name),
        token_ids,
        experts,
        weights,
        entropy,
        confidence,
        is_ordered,
        prompt_tokens,
        storable(sequence.domain),
        None if sequence.document is None else storable(sequence.document),
        sequence.expert_bytes,
        tuple(filter(None, (sequence.note, on_scores, *notes, _on_top_k(experts, layout)))),
    )


def _as_chosen(
    sequence: RoutedSequence, layout: Layout
) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """Return (experts [T, L, k], their weights, whether they are ordered), each in its order."""
    experts = _checked_experts(sequence, layout)
    if sequence.weights is not None:
        weights = _checked_weights(sequence, layout)
        if (weights[..., :-1] < weights[..., 1:]).any():
            by_rank = np.argsort(-weights, axis=2, kind="stable")
            experts = np.take_along_axis(experts, by_rank, 2)
            weights = np.take_along_axis(weights, by_rank, 2)
        return experts, weights, True
    if not sequence.is_ordered:
        experts = np.sort(experts, axis=2)
    return experts, None, sequence.is_ordered


def _checked_experts(sequence: RoutedSequence, layout: Layout) -> np.ndarray:
    """Return the experts of the MoE layers, [T, L, k] uint16."""
    name, experts = sequence.name, sequence.experts
    require(
        experts.ndim == 3 and np.issubdtype(experts.dtype, np.integer),
        f"{name} has experts of type {experts.dtype} and shape {list(experts.shape)}",
        "write integers of the shape [tokens, layers, experts of a token]",
    )
    require(
        experts.size > 0,
        f"{name} has no routing: a preempted request has none in vLLM 0.21",
        "leave out the sequence",
    )
    check_dense_layers(name, experts, layout)
    experts = of_moe_layers(name, experts, layout)
    _check_number_of_experts(name, experts.shape[2], layout)
    check_all_routed(name, experts, layout)
    _check_ids(name, experts, layout)
    return experts.astype(np.uint16)


def _checked_weights(sequence: RoutedSequence, layout: Layout) -> np.ndarray:
    """Return the weights of the MoE layers, [T, L, k] float32."""
    name, weights = sequence.name, np.asarray(sequence.weights)
    require(
        weights.shape == sequence.experts.shape,
        f"{name} has weights of the shape {list(weights.shape)} and experts of "
        f"{list(sequence.experts.shape)}",
        "write a weight for each expert",
    )
    weights = of_moe_layers(name, weights, layout).astype(np.float32)
    require(
        bool(np.isfinite(weights).all() and (weights >= 0).all()),
        f"{name} has weights that are negative or not finite",
        "write the weights as they are applied, after softmax or sigmoid",
    )
    return weights


def _check_number_of_experts(name: str, top_k: int, layout: Layout) -> None:
    require(
        top_k <= min(layout.top_k),
        f"{name} has {counted(top_k, 'expert')} a token where the model chooses "
        f"{min(layout.top_k)}: shared experts or padding are among them, or it is another model",
        f"leave them out, or {ANOTHER_MODEL}",
    )


def _check_ids(name: str, experts: np.ndarray, layout: Layout) -> None:
    """Ids below the number of experts, each once a token."""
    beyond = experts >= np.array(layout.num_experts)[:, None]
    if beyond.any():
        row, layer, rank = np.argwhere(beyond)[0]
        raise GatehouseError(
            f"{name} has expert {experts[row, layer, rank]} at row {row} in layer "
            f"{layout.blocks[layer]}, which has {layout.num_experts[layer]}: these are physical "
            "ids of experts kept twice (vLLM #49184), shared experts, a draft model's, or it is "
            f"another model; record logical ids, or {ANOTHER_MODEL}"
        )
    by_id = np.sort(experts, axis=2)
    twice = (by_id[..., :-1] == by_id[..., 1:]).any(axis=2)
    if twice.any():
        row, layer = np.argwhere(twice)[0]
        raise GatehouseError(
            f"{name} has an expert twice in {counted(int(twice.sum()), 'place')}, the first at row "
            f"{row} in layer {layout.blocks[layer]} "
            f"({', '.join(map(str, experts[row, layer]))}): a buffer that was not filled, or an "
            "array that was read in the wrong shape; check how it was saved, or leave out the "
            "sequence"
        )


def _beside_rows(
    sequence: RoutedSequence, rows: int
) -> tuple[np.ndarray | None, int | None, list[str]]:
    """Return (token ids [rows], prompt tokens of them, what is to be said)."""
    name, token_ids, prompt = sequence.name, sequence.token_ids, sequence.prompt_tokens
    tokens = rows + 1 if token_ids is None else len(token_ids)
    require(
        rows <= tokens,
        f"{name} has {counted(rows, 'row')} for {counted(tokens, 'token')}: the rows of padding or "
        "of rejected draft tokens are among them",
        "leave them out, or record again without speculative decoding",
    )
    start = max(tokens - 1 - rows, 0)
    require(
        prompt is None or start <= prompt <= tokens,
        f"{name} has {counted(rows, 'row')} of experts where {prompt} of its "
        f"{counted(tokens, 'token')} were given: the lengths do not match",
        "leave out the sequence, or record again",
    )
    note = f"its first {counted(start, 'token')} have no rows" if start else ""
    return (
        None if token_ids is None else _checked_ids(name, token_ids)[start : start + rows],
        None if prompt is None else min(prompt - start, rows),
        [note],
    )


def _checked_ids(name: str, token_ids: np.ndarray) -> np.ndarray:
    largest = np.iinfo(np.int32).max
    require(
        token_ids.ndim == 1
        and np.issubdtype(token_ids.dtype, np.integer)
        and bool(((token_ids >= 0) & (token_ids <= largest)).all()),
        f"{name} has token ids that are not integers of 0 or more in one list",
        "leave out padding, and write the ids of the tokenizer",
    )
    return token_ids.astype(np.int32)


def _check_no_row_is_stale(
    name: str, experts: np.ndarray, token_ids: np.ndarray, layout: Layout
) -> None:
    found = stale_rows(experts, token_ids, layout.num_experts)
    if found is not None:
        raise GatehouseError(
            f"{name} has the same experts in every layer in {len(found)} rows under different "
            f"tokens, from row {found[0]} to row {found[-1]}: stale rows of an earlier step, which "
            "padding kept (SGLang #36404); leave out the sequence, or record again with an engine "
            "that has this mended"
        )


def _on_top_k(experts: np.ndarray, layout: Layout) -> str:
    top_k, most = experts.shape[2], max(layout.top_k)
    if top_k == most:
        return ""
    return f"it holds {counted(top_k, 'expert')} a token where the model's config says {most}"
